/**
 * The status of a node: the one document that `status --json`, the live view, the admin page and
 * the metrics are drawn from. Fields are only ever added.
 *
 * Positions are LSNs (bytes in the primary's record stream), ends exclusive.
 *
 * @module
 */
import * as z from "zod";
import { applyStatusSchema } from "./marks/apply_status.ts";

/** What a link is doing. */
export const LINK_STATES = [
  "connecting",
  "streaming",
  "catching-up",
  "delta",
  "waiting",
  "degraded",
  "paused",
  "overflowed",
  "disconnected",
  "refused",
] as const;

/** What a node is doing. */
export const NODE_STATES = [
  "starting",
  "running",
  "draining",
  "stopped",
  "failed",
  "abandoned-tail",
] as const;

const lsn = z.number().int().nonnegative().describe("an LSN: byte position in the record stream");
const bytes = z.number().int().nonnegative().describe("bytes");

const when = z.number().describe("ms since 1970");

/** A delta that is on its way over a link. */
export const deltaStatusSchema = z.object({
  id: z.string().describe("the same on every node that it passes"),
  fromLsn: lsn.describe("where the peer stands without it"),
  toLsn: lsn.nullable().describe("where the peer stands with it; null until its end is known"),
  bytesTotal: bytes.nullable().describe("what there is to send; null while that is being planned"),
  bytesSent: bytes.describe("of those, since the delta began, over every connection"),
  bytesStaged: bytes.describe("of those, durable at the downstream node"),
  phase: z.enum(["planning", "shipping", "committing", "applying"]),
  startedAtMs: when,
});

/** A run of a periodic link, or one that was asked for, once it has ended. */
export const linkRunSchema = z.object({
  startedAtMs: when,
  endedAtMs: when,
  fromLsn: lsn,
  toLsn: lsn,
  logBytes: bytes.describe("what clients wrote in that range"),
  deltaBytes: bytes.describe("what was left of it to send: last writer wins"),
  outcome: z.enum(["done", "failed", "nothing"]).describe("nothing: there was nothing to send"),
  reason: z.string().nullable().describe("why it failed"),
});

/** What a link does by itself, and how it went. */
export const linkScheduleSchema = z.object({
  nextRunAtMs: when.nullable().describe("null: none is planned, since the link is paused or runs"),
  lastRun: linkRunSchema.nullable().describe("null: none has ended yet"),
  failures: z.number().int().nonnegative().describe("runs that failed since one went well"),
});

/** What a verification of a link found. */
export const verifiedSchema = z.object({
  startedAtMs: when,
  endedAtMs: when,
  comparedBytes: bytes,
  busyBytes: bytes.describe("not compared: written again and again meanwhile"),
  differentBytes: bytes,
  repairedBytes: bytes,
});

/** How the two ends of a link are compared. */
export const linkVerifySchema = z.object({
  nextAtMs: when.nullable().describe("null: the topology has no `verify` for the link"),
  running: z.object({ startedAtMs: when, comparedBytes: bytes, totalBytes: bytes }).nullable(),
  last: verifiedSchema.nullable().describe("null: none has ended yet"),
  reason: z.string().nullable().describe("why the last try could not be done, if it could not"),
});

/** What a link makes of its line, as its upstream node knows it. */
export const lineStatusSchema = z.object({
  limit: bytes.nullable().describe("bytes a second that it may send now; null: no limit"),
  limitedBy: z.enum(["topology", "operator"]).nullable()
    .describe("operator: `cascade limit` holds in place of the topology, also if it set none"),
  compress: z.enum(["none", "zstd"]).describe("what is tried now"),
  level: z.number().int().nullable().describe("of zstd"),
  shrinks: z.boolean().describe("the last records that were compressed became smaller"),
  rawBytes: bytes.describe("records sent since this node started, as they are in the log"),
  wireBytes: bytes.describe("the same, as they were sent; rawBytes / wireBytes is the ratio"),
  throttledMs: z.number().nonnegative().describe("time that the limit held up what could be sent"),
  roundTripMs: z.number().nonnegative().nullable().describe("the least of this connection"),
  latencyMs: z.number().nonnegative().nullable()
    .describe("from sending to the peer's word that it has it: what clients of a sync link wait"),
  windowBytes: bytes.nullable().describe("what may be on its way"),
  inFlightBytes: bytes.nullable().describe("sent, and not acknowledged as received"),
});

/** One link, as the node that reports it sees it. */
export const linkStatusSchema = z.object({
  name: z.string(),
  from: z.string(),
  to: z.string(),
  mode: z.enum(["sync", "async", "periodic"]),
  state: z.enum(LINK_STATES),
  reason: z.string().nullable().describe("why it is in this state, when that is not plain"),
  received: lsn.nullable().describe("appended at the downstream node; null while unknown"),
  durable: lsn.nullable().describe("durable at the downstream node"),
  applied: lsn.nullable().describe("applied at the downstream node"),
  epochId: z.string().nullable().default(null)
    .describe("the epoch that `received` lies in; null: told by the downstream node"),
  lagBytes: bytes.nullable().describe("upstream's end less what is durable downstream"),
  lagSeconds: z.number().nonnegative().nullable()
    .describe("age, by the primary's clock, of the oldest record that is not durable downstream"),
  sentBytes: bytes.describe("since this node started, frames included"),
  connectedSince: z.number().nullable().describe("ms since 1970"),
  transport: z.string().nullable().default(null)
    .describe("what carries it: tcp, unix, tls, quic, exec; null: it is not connected"),
  fallback: z.string().nullable().default(null)
    .describe("why it is not what the dialling end prefers; null: it is, or this end did not dial"),
  delta: deltaStatusSchema.nullable().default(null).describe("the delta that is on its way"),
  schedule: linkScheduleSchema.nullable().default(null)
    .describe("null unless the link is periodic"),
  mapBytes: bytes.nullable().default(null)
    .describe("bytes of the dirty map of an overflowed link; null: it has not overflowed"),
  verify: linkVerifySchema.nullable().default(null)
    .describe("null: its ends were never compared, and are not to be"),
  line: lineStatusSchema.nullable().default(null)
    .describe("null: told by another node than the upstream one of the link"),
});

/** By what a node below would go on if this one fed it. */
export const KEPT_MEANS = ["nothing", "log", "map", "all", "none"] as const;

/** What is kept for a node below, at any depth. */
export const keptStatusSchema = z.object({
  node: z.string(),
  durable: lsn.nullable().describe("what it had durably when it told last; null: it never did"),
  by: z.enum(KEPT_MEANS).describe(
    "nothing: it has all; log: all since is in the log and in kept deltas; map: the log is gone, and a dirty " +
      "map has what was touched; all: that is not known, and all blocks are compared; none: nor are there volumes",
  ),
  fromLsn: lsn.nullable().describe("where the log, or the map, begins for it"),
  bytes: bytes.describe("of log, or of blocks"),
});

/** A scan of volumes that others write, once it has gone to its end. */
export const scanLastSchema = z.object({
  startedAtMs: when,
  endedAtMs: when,
  lsn: lsn.describe("where the log ended with what it found"),
  readBytes: bytes.describe("what was read and hashed; the rest was holes"),
  changedBytes: bytes.describe("blocks that were not what they had been"),
});

/** The scans of a node with `capture: scan`. */
export const scanStatusSchema = z.object({
  state: z.enum(["idle", "scanning", "open"])
    .describe("open: what was scanned is kept open for links that read from it"),
  startedAtMs: when.nullable().describe("of the one under way"),
  bytesTotal: bytes.describe("sizes of the volumes"),
  bytesDone: bytes.describe("looked at by the scan under way"),
  last: scanLastSchema.nullable().describe("null: none has gone to its end yet"),
  reason: z.string().nullable().describe("why the last try failed"),
});

/** A certificate that a node shows, or believes by. */
export const certificateStatusSchema = z.object({
  kind: z.enum(["node", "ca", "nbd", "nbd-ca"])
    .describe("nbd and nbd-ca: for NBD clients, if those are others"),
  subject: z.string(),
  notBeforeMs: when,
  notAfterMs: when.describe("exclusive"),
  fingerprint: z.string().describe("SHA-256"),
});

/** How a node chooses among its parents. */
export const parentChoiceSchema = z.object({
  parents: z.array(z.string()).describe("as in the topology, the preferred first"),
  afterMs: z.number().nonnegative().describe("`reparentAfter`"),
  by: z.enum(["topology", "operator", "promotion", "itself"]).nullable()
    .describe("who has said whom it is fed by; null: it is the primary"),
  since: when.nullable().describe("when it chose the node that feeds it now; null: it did not"),
  reason: z.string().nullable().describe("why it did"),
  awaySince: when.nullable().describe("since when the node above is away; null: it is there"),
  candidates: z.array(z.object({
    name: z.string(),
    reason: z.string().nullable().describe("why it is not gone to; null: nothing is in the way"),
    wellSince: when.nullable()
      .describe("it is gone to once it has been well for `afterMs`; null: it is not yet"),
  })).describe("what others answered that were asked last; none: the node is where it is to be"),
});

/** The tree of the cascade, as a node knows it. */
export const treeStatusSchema = z.object({
  primary: z.string(),
  reign: z.number().int().nonnegative()
    .describe("the epoch with which it began to reign; 0: it is the primary of the file"),
  parents: z.record(z.string(), z.string()).describe(
    "each node but the primary, and which one feeds it",
  ),
  isDeclared: z.boolean().describe(
    "the tree is as the topology file says, but for what nodes have chosen for the time being",
  ),
  conflict: z.string().nullable().describe("two nodes were promoted at once"),
  isWaiting: z.boolean().describe(
    "the node reigned, and waits for word of any other before it serves",
  ),
  isRejoining: z.boolean()
    .describe("the volumes are the image of an abandoned epoch until what leads from it is taken"),
  declared: z.record(z.string(), z.string()).default({})
    .describe("each node but the primary of the file, and which one feeds it there"),
  chosen: z.record(z.string(), z.string()).default({}).describe(
    "nodes that have chosen another parent by themselves for the time being, and where each is at home",
  ),
  choice: parentChoiceSchema.nullable().default(null)
    .describe("null: the topology gives this node no list of parents"),
  moves: z.object({
    operator: z.number().int().nonnegative(),
    promotion: z.number().int().nonnegative(),
    itself: z.number().int().nonnegative(),
  }).default({ operator: 0, promotion: 0, itself: 0 })
    .describe(
      "how often another node came to feed this one since it started in its role, by who said so",
    ),
  upstreamSilenceSeconds: z.number().nonnegative().nullable().default(null)
    .describe("since the node above was heard; null: there is none"),
  primarySilenceSeconds: z.number().nonnegative().nullable().default(null)
    .describe("since the primary was heard, through all nodes between; null: never"),
});

/** One node. */
export const nodeStatusSchema = z.object({
  cluster: z.string(),
  name: z.string(),
  role: z.enum(["primary", "intermediate", "secondary"]),
  state: z.enum(NODE_STATES),
  reason: z.string().nullable(),
  epoch: z.object({ number: z.number().int(), id: z.string(), firstLsn: lsn, node: z.string() })
    .nullable(),
  consistent: z.boolean().describe("the volumes are (with the log) an image that existed"),
  inconsistentUntil: z.object({
    lsn: lsn.nullable().describe("null: not known yet"),
    reason: z.string(),
  }).nullable().default(null)
    .describe("when the volumes are an image that existed again; null: they are one now"),
  lsn: z.object({ appended: lsn, durable: lsn, stable: lsn, applied: lsn, checkpointed: lsn }),
  lagBytes: bytes.nullable().describe("primary's end less what is durable here; null if unknown"),
  lagSeconds: z.number().nonnegative().nullable(),
  log: z.object({ start: lsn, bytes, budget: bytes, segments: z.number().int() }),
  volumes: z.array(z.object({ name: z.string(), size: bytes, path: z.string().nullable() })),
  tree: treeStatusSchema.nullable().default(null).describe("null: it knows no other node"),
  history: z.array(z.object({ number: z.number().int(), firstLsn: lsn, node: z.string() })).default(
    [],
  )
    .describe("the last epochs: their numbers, where they begin, and who reigned"),
  scan: scanStatusSchema.nullable().default(null)
    .describe("null: clients write the volumes, not something else"),
  apply: applyStatusSchema.nullable().default(null)
    .describe("what is held back from the volumes on purpose; null: nothing is, or is set to be"),
  certificates: z.array(certificateStatusSchema).default([])
    .describe("those that links and NBD clients over TLS or QUIC meet; none: it needs none"),
  exports: z.array(z.object({ address: z.string(), clients: z.number().int() })),
  kept: z.array(keptStatusSchema).default([])
    .describe("what is kept for each node below, in case this one is to feed it"),
  links: z.array(linkStatusSchema)
    .describe("own links (up and down), then those of the subtree as acks tell of them"),
  counters: z.object({
    writes: z.number().int(),
    writeBytes: bytes,
    reads: z.number().int(),
    readBytes: bytes,
    flushes: z.number().int().describe("FLUSH requests of clients"),
    fuaWrites: z.number().int().default(0).describe("writes, zeroes and trims with FUA"),
    logFlushes: z.number().int().describe("flushes of the log (group commits)"),
  }),
  pid: z.number().int().nullable(),
  version: z.string(),
  build: z.string().nullable().default(null)
    .describe("commit and time that it was built from; null: it runs from its sources"),
  startedAt: z.number().describe("ms since 1970"),
  nowMs: z.number(),
});

export type ParentChoiceStatus = z.infer<typeof parentChoiceSchema>;
export type TreeStatus = z.infer<typeof treeStatusSchema>;
export type CertificateStatus = z.infer<typeof certificateStatusSchema>;
export type DeltaStatus = z.infer<typeof deltaStatusSchema>;
export type LineStatus = z.infer<typeof lineStatusSchema>;
export type ScanLast = z.infer<typeof scanLastSchema>;
export type ScanStatus = z.infer<typeof scanStatusSchema>;
export type KeptStatus = z.infer<typeof keptStatusSchema>;
export type LinkRun = z.infer<typeof linkRunSchema>;
export type LinkSchedule = z.infer<typeof linkScheduleSchema>;
export type Verified = z.infer<typeof verifiedSchema>;
export type LinkVerify = z.infer<typeof linkVerifySchema>;
export type LinkState = (typeof LINK_STATES)[number];
export type LinkStatus = z.infer<typeof linkStatusSchema>;
export type NodeStatus = z.infer<typeof nodeStatusSchema>;
