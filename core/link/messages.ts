/**
 * The JSON bodies of control frames, version 1, with their schemas: nothing of a peer's message is
 * believed before it has passed one.
 *
 * @module
 */
import * as z from "zod";
import { CascadeError } from "../errors.ts";
import { deltaHeaderSchema } from "../delta/delta_format.ts";
import { epochSchema } from "../epoch_schema.ts";
import { viewSchema } from "../tree/view.ts";
import { linkStatusSchema } from "../status.ts";

const name = z.string().min(1).max(128);
const lsn = z.number().int().nonnegative();
const hex32 = z.string().regex(/^[0-9a-f]{32}$/);
const hex64 = z.string().regex(/^[0-9a-f]{64}$/);

/** Reigns that a hello tells of: enough to see where two halves part. */
export const HELLO_EPOCHS_MAX = 8;

/** HELLO (by the end that dials) and WELCOME (its answer). */
export const helloSchema = z.object({
  protocol: z.number().int(),
  cluster: name,
  node: name,
  /** Whom the speaker believes to speak to. */
  peer: name,
  /** Random for each run of a process: tells a reconnect from a second process of one name. */
  instance: hex32,
  nonce: hex64,
  /** Who reigns and who feeds whom, as the speaker knows; null: as in the topology file. */
  view: viewSchema.nullable().default(null),
  /** Of its history the last reigns, where more than the file says is known of the tree. */
  epochs: z.array(epochSchema).max(HELLO_EPOCHS_MAX).optional(),
  /** `view`: nothing but that is wanted; `ask`: an answer to one question. */
  purpose: z.enum(["link", "view", "ask"]).default("link"),
});
export type Hello = z.infer<typeof helloSchema>;

export const proofSchema = z.object({ mac: hex64 });

/** How far the body of a delta is; see delta/delta_body.ts. */
const bodyCursorSchema = z.object({ pass: lsn, volume: lsn, offset: lsn });

/** What a node has of a delta that was cut off. */
export const stagedSchema = z.object({
  header: deltaHeaderSchema,
  position: lsn,
  cursor: bodyCursorSchema,
});
export type StagedMessage = z.infer<typeof stagedSchema>;

/** POSITION: the downstream node says where it stands. */
export const positionSchema = z.object({
  history: z.array(epochSchema).max(1000),
  endLsn: lsn,
  stableLsn: lsn,
  volumes: z.array(z.object({ name, sizeBytes: lsn })).max(1024),
  base: z.record(name, z.string().max(64)).nullable(),
  /** It never held anything: its volumes are blank, or a first copy of them was begun. */
  fresh: z.boolean().default(false),
  /** Its volumes hold a part of a delta that was taken in place. */
  inPlace: z.boolean().default(false),
  staged: stagedSchema.nullable().default(null),
  /** Its volumes hold blocks of an abandoned epoch, which it tells in TOUCHED frames behind this. */
  rejoins: z.boolean().default(false),
});
export type PositionMessage = z.infer<typeof positionSchema>;

/** TOUCHED: blocks that the peer wrote in an abandoned epoch, as [volume, offset, length]. */
export const touchedSchema = z.object({
  extents: z.array(z.tuple([lsn, lsn, lsn])).max(2000),
  isLast: z.boolean(),
});

/** ACCEPT: the upstream node streams from `fromLsn`. */
export const acceptSchema = z.object({
  fromLsn: lsn,
  base: z.record(name, z.string().max(64)).nullable(),
});
export type AcceptMessage = z.infer<typeof acceptSchema>;

/** DELTA: a delta begins, or goes on at `position`. */
export const deltaSchema = z.object({
  header: deltaHeaderSchema,
  position: lsn,
  /** Of the body, as far as can be told. */
  bytesExpected: lsn,
  /** What the volumes were at LSN 0: a fresh node takes it over. */
  base: z.record(name, z.string().max(64)).nullable(),
});
export type DeltaMessage = z.infer<typeof deltaSchema>;

/** DELTA_ACK: what the receiver has of the body; or why it takes no more of it. */
export const deltaAckSchema = z.object({
  id: hex32,
  position: lsn,
  /** The part of it that survives a power cut for sure. */
  durable: lsn,
  cursor: bodyCursorSchema,
  refused: z.string().max(1000).nullable(),
});
export type DeltaAck = z.infer<typeof deltaAckSchema>;

/** ADVANCE: a node below asks for the history to go on beyond `lsn`, if only by a mark. */
export const advanceSchema = z.object({ lsn });

/** FETCH: a primary that lost its tail in a crash asks for the peer's provisional records. */
export const fetchSchema = z.object({ fromLsn: lsn, toLsn: lsn });

/** Why a peer is not served. */
export const REFUSALS = [
  "wrong-version",
  "wrong-cluster",
  "unknown-node",
  "no-link",
  "wrong-certificate",
  "wrong-secret",
  "already-connected",
  "paused",
  "wrong-volumes",
  "other-image",
  "abandoned-tail",
  "conflict",
  "delta-needed",
  "not-ready",
] as const;
export const refuseSchema = z.object({
  code: z.enum(REFUSALS),
  message: z.string().max(1000),
  forkLsn: lsn.optional(),
  /** Of an abandoned tail: the epoch that won, which began by a promotion. */
  wonBy: lsn.optional(),
});
export type Refusal = z.infer<typeof refuseSchema>;

/** SUBTREE: what the sender knows of the links at and below it. */
export const subtreeSchema = z.object({ links: z.array(linkStatusSchema).max(256) });

/** Of what is wrong with a message, what is told. */
const FAULT_LENGTH_MAX = 300;

const decoder = new TextDecoder("utf-8", { fatal: true });

/** Decodes a JSON body by its schema. Throws `protocol`. */
export function decodeMessage<T>(schema: z.ZodType<T>, body: Uint8Array, what: string): T {
  let value: unknown;
  try {
    value = JSON.parse(decoder.decode(body));
  } catch (cause) {
    throw new CascadeError("protocol", `the peer sent a ${what} that is no JSON`, { cause });
  }
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  // As many faults as the peer likes, and keys of its own: a line has room for the first.
  const fault = z.prettifyError(parsed.error).slice(0, FAULT_LENGTH_MAX);
  throw new CascadeError("protocol", `the peer sent a wrong ${what}: ${fault}`);
}
