/**
 * The shape of a topology file, version 1: which keys there are, and what each may hold. What it
 * means beyond that is checked in lint.ts. `docs/topology.md` is the same for people.
 *
 * All that the format will have is here from the start; available.ts tells what this version of
 * Cascade does not do yet.
 *
 * @module
 */
import * as z from "zod";
import {
  addressesSchema,
  adminSchema,
  cronSchema,
  durationSchema,
  flagSchema,
  hookSchema,
  nameSchema,
  oftenSchema,
  pathSchema,
  secretSchema,
  sizeSchema,
  timezoneSchema,
  transportsSchema,
  windowSchema,
} from "./scalars.ts";
import { bandwidthSchema, compressSchema } from "./line_scalars.ts";

/** The version of the format: the value of `cascade:`. */
export const TOPOLOGY_FORMAT = 1;

/** What a link's `timeout` is when it is left out. */
export const TIMEOUT_DEFAULT = "5s";
/** How long an upstream node may be away, with `parents`: a reboot is over by then, and little log is spent. */
export const REPARENT_AFTER_DEFAULT = "1m";
/** Long enough for a snapshot on a busy host. */
const HOOK_TIMEOUT_DEFAULT = "5m";

const volumeSchema = z.strictObject({
  size: sizeSchema.describe("Size of the volume, the same on every node: 10GiB"),
}, { error: "a mapping such as { size: 10GiB }" });

const logSchema = z.strictObject({
  budget: sizeSchema.prefault("1GiB").describe(
    "Room for the log on disk; a peer that is away can be caught up from it for as long as it lasts",
  ),
  segment: sizeSchema.optional().describe(
    "Size of one file of the log, 4MiB to 1GiB; 64MiB, or a quarter of the budget if that is less",
  ),
  deltaBudget: sizeSchema.optional().describe(
    "Room beside the log for deltas that are received, or that nodes below still want; as much as " +
      "the budget of the log if left out",
  ),
}, { error: "a mapping such as { budget: 1GiB }" });

const tlsSchema = z.strictObject({
  ca: pathSchema.optional().describe("Certificates (PEM) of whom this node believes"),
  cert: pathSchema.optional().describe(
    "This node's certificate (PEM), with those between it and ca",
  ),
  key: pathSchema.optional().describe("Its private key (PEM), readable by its owner alone"),
}, { error: "a mapping such as { ca: ca.crt, cert: hq.crt, key: hq.key }" });

const nodeSchema = z.strictObject({
  role: z.enum(["primary", "intermediate", "secondary"]).describe(
    "primary takes writes; intermediate forwards what it receives; secondary is an end",
  ),
  dir: pathSchema.describe("The node's own folder: log, state, lock"),
  listen: addressesSchema.default([]).describe(
    "Where other nodes reach this one: tls://host:port, quic://host:port, unix:/path, or tcp://host:port. " +
      "Needed by the end of a link " +
      "that does not dial",
  ),
  advertise: addressesSchema.optional().describe(
    "Where others dial this node, if that is not where it listens (behind NAT, in a container)",
  ),
  volumes: z.record(nameSchema, pathSchema, {
    error: "a path for each volume, such as { data: ./data.img }",
  }).optional().describe(
    "File or block device for each volume. Left out: an intermediate that keeps only the log",
  ),
  log: logSchema.prefault({}).describe("Sizes of this node's log"),
  nbd: addressesSchema.default([]).describe(
    "Where NBD clients find the volumes: unix:/path or tcp://host:port; read-only below the primary",
  ),
  admin: adminSchema.optional().describe(
    "Status, metrics and health over HTTP: http://127.0.0.1:7421 or unix:/path",
  ),
  adminToken: secretSchema.optional().describe(
    "The token that requests to admin must bear: a file, or env:NAME",
  ),
  tls: tlsSchema.optional().describe(
    "This node's certificate files, where they are not in the folder of certs",
  ),
  nbdTls: z.enum(["off", "allowed", "required"]).default("off").describe(
    "TLS for NBD clients over TCP, who show a certificate. allowed: whoever does not ask goes on in plain",
  ),
  nbdClients: z.array(nameSchema, { error: "a list of names: [backup, vm1]" }).optional().describe(
    "The clients that are let in over TLS, by the names in their certificates; all that the CA has certified " +
      "if left out",
  ),
  nbdCerts: tlsSchema.optional().describe(
    "Certificate files for NBD clients, where they are not those of the node",
  ),
  insecure: flagSchema.default(false).describe(
    "Accept that data travels in the clear when listen is plain TCP off loopback",
  ),
  startAlone: z.enum(["never", "ask", "always"]).default("ask").describe(
    "When this node was the primary and starts again, and no other node answers that could tell of a " +
      "promotion. ask: wait for one, or for `cascade promote`; never: wait; always: serve",
  ),
  parents: z.array(nameSchema, { error: "a list of names, the preferred first: [metro, hq]" })
    .optional().describe(
      "Nodes that may feed this one, the preferred first, which is the one that it is linked below. It goes to the next " +
        "by itself when its upstream stays away, and back",
    ),
  reparentAfter: durationSchema.optional().describe(
    `With parents: how long the upstream node may stay away, and how long a better one has to be well; ${REPARENT_AFTER_DEFAULT} ` +
      "if left out",
  ),
  capture: z.enum(["nbd", "scan"]).default("nbd").describe(
    "Where the primary's writes come from. nbd: its clients; scan: something else writes the " +
      "volumes, and each sync looks for what changed",
  ),
  beforeScan: hookSchema.optional().describe(
    "Command to run before a scan, such as one that makes a snapshot; it prints what to scan",
  ),
  afterScan: hookSchema.optional().describe("Command to run after a scan, however it ended"),
  allowInconsistent: flagSchema.default(false).describe(
    "When there is no room to stage a delta, apply it in place: until it is whole, the volumes of " +
      "this node are no image that ever existed",
  ),
  beforeInconsistent: hookSchema.optional().describe(
    "Command to run before that, such as one that makes a snapshot; if it fails, nothing is applied",
  ),
  applyDelay: durationSchema.optional().describe(
    "Apply what comes this much later than it was written on the primary, such as 1h; it is received and " +
      "durable at once",
  ),
  onMark: hookSchema.optional().describe(
    "Command to run when a mark is reached, with the volumes exactly as of it; applying waits for it",
  ),
  hookTimeout: durationSchema.prefault(HOOK_TIMEOUT_DEFAULT).describe(
    "How long any of these commands may take: then it is killed, and has failed",
  ),
});

const commonLinkShape = {
  name: nameSchema.optional().describe("Name of the link; FROM-TO if left out"),
  from: z.string({ error: "the name of a node" }).describe("The upstream node"),
  to: z.string({ error: "the name of a node" }).describe("The downstream node"),
  transport: transportsSchema.optional().describe(
    "What carries the link: tcp, unix, tls, quic or exec, or a list in order of preference, such as " +
      "[quic, tls]; the addresses of the other node in their order if left out",
  ),
  exec: hookSchema.optional().describe(
    "Command whose input and output are the link, such as [ssh, dr1.example, cascade, attach, --node, hq]; " +
      "started by the end that dials",
  ),
  dial: z.enum(["to", "from"]).default("to").describe(
    "Which end dials the other. to: the downstream node dials its upstream",
  ),
  paused: flagSchema.default(false).describe("Keep the link in the topology but do not connect it"),
  bandwidth: bandwidthSchema.optional().describe(
    "Send at most this much, such as 20MiB/s; or by the hours of the day: " +
      '{ "08:00-18:00": 5MiB/s, otherwise: 50MiB/s }',
  ),
  compress: compressSchema.prefault("auto").describe(
    "Compress what is sent, where that makes it smaller: none, zstd, { zstd: LEVEL }, or auto: zstd " +
      "while a limit of bandwidth holds",
  ),
  onOverflow: z.enum(["map", "stall", "fail"]).default("map").describe(
    "When the log budget is spent on a peer that is away. map: go on, and give it the blocks that " +
      "it lacks when it is back; stall: slow clients down before; fail: clients get errors",
  ),
  verify: oftenSchema.optional().describe(
    'Compare both sides this often: daily, weekly, a duration, or a cron time such as "0 3 * * 0"',
  ),
};

const syncLinkSchema = z.strictObject({
  mode: z.literal("sync").describe("A write is answered when the peer has it too"),
  ...commonLinkShape,
  onDisconnect: z.enum(["degrade", "fail"]).default("degrade").describe(
    "While the peer is away. degrade: go on without it; fail: clients get errors",
  ),
  timeout: durationSchema.prefault(TIMEOUT_DEFAULT).describe(
    "How long the peer may be away or silent before onDisconnect takes effect",
  ),
});

const asyncLinkSchema = z.strictObject({
  mode: z.literal("async").describe("Writes follow as soon as they are durable upstream"),
  ...commonLinkShape,
});

const periodicLinkSchema = z.strictObject({
  mode: z.literal("periodic").describe("What changed is sent now and then"),
  ...commonLinkShape,
  every: durationSchema.optional().describe("Send this often, such as 15m"),
  cron: cronSchema.optional().describe('Send at these times, such as "0 */6 * * *"'),
  window: windowSchema.optional().describe("Send only within these hours, such as 22:00-06:00"),
  jitter: durationSchema.optional().describe("Wait a random time up to this before each sending"),
});

/** A topology file, as Zod checks it; see {@linkcode TopologySpec} for what comes out. */
export const topologySchema = z.strictObject({
  cascade: z.literal(TOPOLOGY_FORMAT).describe("Version of this format: 1"),
  name: nameSchema.describe("Name of the cascade; a node of another name is refused"),
  timezone: timezoneSchema.optional().describe(
    "The zone of cron times and windows, such as Europe/Berlin; the local one of the upstream node " +
      "if left out",
  ),
  secret: secretSchema.describe("The secret that all nodes share: a file, or env:NAME"),
  certs: pathSchema.optional().describe(
    "Folder of certificates: ca.crt, and NODE.crt and NODE.key for each node",
  ),
  volumes: z.record(nameSchema, volumeSchema).describe("The volumes, replicated in one order"),
  nodes: z.record(nameSchema, nodeSchema).describe("The nodes, by name"),
  links: z.array(
    z.discriminatedUnion("mode", [syncLinkSchema, asyncLinkSchema, periodicLinkSchema]),
  ).default([]).describe("Who feeds whom, and how"),
});

/** What {@linkcode topologySchema} makes of a file: numbers for sizes and durations, defaults set. */
export type TopologySpec = z.output<typeof topologySchema>;
export type NodeSpec = TopologySpec["nodes"][string];
export type LinkSpec = TopologySpec["links"][number];

/** The modes of a link, and which keys each takes. */
export const LINK_KEYS: ReadonlyMap<string, readonly string[]> = new Map([
  ["sync", Object.keys(syncLinkSchema.shape)],
  ["async", Object.keys(asyncLinkSchema.shape)],
  ["periodic", Object.keys(periodicLinkSchema.shape)],
]);

const TOP_KEYS = Object.keys(topologySchema.shape);
const VOLUME_KEYS = Object.keys(volumeSchema.shape);
const NODE_KEYS = Object.keys(nodeSchema.shape);
const TLS_KEYS = Object.keys(tlsSchema.shape);
const LOG_KEYS = Object.keys(logSchema.shape);

/** The keys that the mapping at `path` may have; empty where any name may stand. */
export function keysAt(path: readonly (string | number)[], mode: string | null): readonly string[] {
  const [top] = path;
  if (top === undefined) return TOP_KEYS;
  if (top === "volumes" && path.length === 2) return VOLUME_KEYS;
  if (top === "nodes" && path.length === 2) return NODE_KEYS;
  if (top === "nodes" && path.length === 3 && path[2] === "log") return LOG_KEYS;
  if (top === "nodes" && path.length === 3 && path[2] === "tls") return TLS_KEYS;
  if (top === "nodes" && path.length === 3 && path[2] === "nbdCerts") return TLS_KEYS;
  if (top === "links" && path.length === 2) return LINK_KEYS.get(mode ?? "") ?? [];
  return [];
}
