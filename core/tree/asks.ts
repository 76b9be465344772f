/**
 * What one node asks of another beside their link, over a connection of its own: where it stands, and the steps of
 * a change that more than one node takes part in. Both ends have proved themselves before.
 *
 * @module
 */
import * as z from "zod";
import { CascadeError, type ErrorCode } from "../errors.ts";
import { epochSchema } from "../epoch_schema.ts";
import { NODE_STATES } from "../status.ts";
import { reparentReportSchema, treeReportSchema } from "./tree_report.ts";
import { viewSchema } from "./view.ts";

const name = z.string().min(1).max(128);
const lsn = z.number().int().nonnegative();
const ms = z.number().nonnegative();

/** How long a client is kept waiting at the most for a hand-over that does not end, ms. */
export const HOLD_MS_MAX = 60_000;

const asOfSchema = z.union([
  z.object({ mark: z.string().min(1).max(255) }),
  z.object({ lsn }),
  z.object({ timeMs: ms }),
]);

/** What an operator orders; any node passes it on to the one that is meant. */
export const orderSchema = z.discriminatedUnion("order", [
  z.object({
    order: z.literal("promote"),
    dryRun: z.boolean(),
    force: z.boolean(),
    /** As of a mark, an LSN or a time, and without what came after. */
    at: asOfSchema.nullable().default(null),
  }),
  z.object({ order: z.literal("migrate"), dryRun: z.boolean(), timeoutMs: ms.max(86_400_000) }),
  z.object({ order: z.literal("reparent"), dryRun: z.boolean(), to: name }),
  z.object({ order: z.literal("resolve"), dryRun: z.boolean() }),
  /** The roles and links as they are go into the topology files of all nodes that are reached. */
  z.object({ order: z.literal("write"), dryRun: z.boolean() }),
]);
export type Order = z.infer<typeof orderSchema>;

const plainAskSchema = z.discriminatedUnion("ask", [
  /** What the asking node knows of the tree; the answer is the same of the other: {@linkcode toldSchema}. */
  z.object({ ask: z.literal("view"), node: name, view: viewSchema.nullable() }),
  /** Where the node stands: a {@linkcode Standing}. */
  z.object({ ask: z.literal("standing") }),
  /** The primary takes nothing more from clients for so long, and says where its log ends then. */
  z.object({ ask: z.literal("hold"), leaseMs: ms.max(HOLD_MS_MAX) }),
  /** Clients go on. */
  z.object({ ask: z.literal("release") }),
  /** A primary that is held, and whose log ends here, hands its reign to `to`. */
  z.object({ ask: z.literal("yield"), to: name, endLsn: lsn }),
  /** The node reigns, without those that are away, and holds its clients for a hand-over that follows. */
  z.object({
    ask: z.literal("reign"),
    away: z.array(name).max(128),
    holdMs: ms.max(HOLD_MS_MAX),
    /** The reign that this was decided under: not over a later one. Older versions do not say. */
    reignId: z.string().max(32).optional(),
  }),
  /** How far the order is that the node carries out: an {@linkcode OrderProgress}, or null. */
  z.object({ ask: z.literal("progress") }),
  /** Ships what is pending on its link to a node below: a periodic one does not wait for its time. */
  z.object({ ask: z.literal("ship"), to: name }),
  /** What it would send to a node that stands here, were it fed by this one. */
  z.object({ ask: z.literal("offer"), to: name, lsn, epochId: z.string().max(32) }),
  z.object({ ask: z.literal("order"), order: orderSchema }),
  /** Once the node has heard of this view it writes it into the file that it runs on: a {@linkcode FileOutcome}. */
  z.object({ ask: z.literal("write"), view: viewSchema, id: z.string().max(32) }),
]);
/** The question is for another node, which only its neighbour reaches. */
const passSchema = z.object({
  ask: z.literal("pass"),
  to: name,
  question: plainAskSchema,
  timeoutMs: ms.max(86_400_000),
  hops: z.number().int().min(0).max(8),
});
export const askSchema = z.union([plainAskSchema, passSchema]);
export type PlainAsk = z.infer<typeof plainAskSchema>;
export type Ask = z.infer<typeof askSchema>;

/** How a node stands, as it tells another one. */
export const standingSchema = z.object({
  node: name,
  state: z.enum(NODE_STATES),
  reigns: z.boolean(),
  /** It reigned before it started, and waits for word of others. */
  isWaiting: z.boolean(),
  hasVolumes: z.boolean(),
  /** Its volumes hold an image, or its log goes on from one. */
  isWhole: z.boolean(),
  /** The order that it carries out, where that decides who reigns. Older versions do not say. */
  deciding: z.enum(["promote", "migrate", "resolve"]).nullable().default(null),
  /** Nodes that it feeds over links that somebody has paused. */
  paused: z.array(name).max(128).default([]),
  view: viewSchema,
  /** Of the history the last reigns. */
  history: z.array(epochSchema).max(100),
  endLsn: lsn,
  stableLsn: lsn,
  appliedLsn: lsn,
  /** Where the log of the primary ended when it was heard last, and at what time of its own; 0: never heard. */
  primaryEndLsn: lsn,
  primaryTimeMs: ms,
  /** Since then. */
  silenceMs: ms,
  /** How far behind that the node is, in seconds; null: not known. */
  lagSeconds: ms.nullable(),
});
export type Standing = z.infer<typeof standingSchema>;

/** The answer to `view`. */
export const toldSchema = z.object({ view: viewSchema.nullable() });
/** The answer to `hold`. */
export const heldSchema = z.object({ endLsn: lsn, epochId: z.string().max(32) });
/** The answer to `yield`. */
export const yieldedSchema = z.object({ view: viewSchema });
/** The answer to `offer`. */
export const offerSchema = reparentReportSchema.pick({ by: true, bytes: true });
export type Offer = z.infer<typeof offerSchema>;
export { treeReportSchema };

/** ANSWER: what was asked for, or why not. */
export const answerSchema = z.discriminatedUnion("ok", [
  z.object({ ok: z.literal(true), value: z.unknown() }),
  z.object({
    ok: z.literal(false),
    code: z.string().max(64),
    message: z.string().max(2000),
    hint: z.string().max(2000).nullable(),
    retryable: z.boolean(),
  }),
]);
export type AskAnswer = z.infer<typeof answerSchema>;

/** ASK and ANSWER on the connection of a link, where several may be open. */
const id = z.number().int().nonnegative();
export const linkAskSchema = z.object({ id, question: askSchema });
export const linkAnswerSchema = z.object({ id, answer: answerSchema });

/** What another node may say; everything else is a refusal. */
const CODES = [
  "usage",
  "refused",
  "not-found",
  "unreachable",
  "timed-out",
  "connection-lost",
] as const;

/** What was answered. Throws what came in place of an answer. */
export function valueOf(answer: AskAnswer): unknown {
  if (answer.ok) return answer.value;
  const code: ErrorCode = CODES.find((known) => known === answer.code) ?? "refused";
  throw new CascadeError(code, answer.message, {
    ...(answer.hint === null ? {} : { hint: answer.hint }),
    retryable: answer.retryable,
  });
}
