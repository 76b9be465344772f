/**
 * What is told of a change of the tree, before and after it: by nodes to each other, on the admin side, and by
 * the command line with `--json`.
 *
 * @module
 */
import * as z from "zod";
import { epochSchema } from "../epoch_schema.ts";
import { fileReportSchema } from "./file_report.ts";
import { viewSchema } from "./view.ts";

const name = z.string();
const lsn = z.number().int().nonnegative();
const bytes = z.number().int().nonnegative();
const seconds = z.number().nonnegative();

/** How one node stands, as whoever plans has learnt. */
export const planNodeSchema = z.object({
  name,
  isReachable: z.boolean(),
  reason: z.string().nullable().describe(
    "why it was not reached, or cannot go on with the history",
  ),
  endLsn: lsn.nullable().describe("where its log ends"),
  behindBytes: bytes.nullable().describe("of what the primary had when it was heard last"),
  behindSeconds: seconds.nullable(),
  from: name.nullable().describe("which node feeds it now; null: it is the primary"),
  to: name.nullable().describe("which node is to feed it; null: it is to be the primary"),
});
export type PlanNode = z.infer<typeof planNodeSchema>;

/** What a promotion, or a hand-over, does and costs. */
export const treePlanSchema = z.object({
  node: name.describe("which node is to be the primary"),
  primary: name.describe("which node is it now"),
  isPrimaryReachable: z.boolean(),
  furthest: name.describe("the reachable node with most of the history"),
  fetchBytes: bytes.describe("what the node to be promoted lacks of it, and is given first"),
  lostBytes: bytes.nullable().describe(
    "of what the primary is known to have had, what no reachable node has; null: nothing is known of it",
  ),
  lostSeconds: seconds.nullable(),
  heardSecondsAgo: seconds.nullable().describe(
    "since then nothing is known of what the primary wrote; null: it was never heard",
  ),
  blocked: z.string().nullable().describe("why it would not be done"),
  asOfLsn: lsn.optional().describe("of a promotion as of an earlier moment: where that is"),
  keptBytes: bytes.optional().describe("of what is lost then, what the node itself keeps"),
  nodes: z.array(planNodeSchema),
});
export type TreePlan = z.infer<typeof treePlanSchema>;

/** By what a node goes on under another parent. */
export const REPARENT_MEANS = ["log", "delta", "map", "all", "nothing"] as const;

export const reparentReportSchema = z.object({
  node: name,
  from: name.nullable(),
  to: name,
  by: z.enum(REPARENT_MEANS).describe(
    "log: record by record; delta: a delta that is kept; map: the blocks that were touched since; all: " +
      "all blocks that differ, found by their hashes: so many bytes at the most; nothing: it has all",
  ),
  bytes: bytes,
  isDone: z.boolean(),
});
export type ReparentReport = z.infer<typeof reparentReportSchema>;

/** What one node has that the node to be kept does not have. */
export const conflictNodeSchema = z.object({
  name,
  endLsn: lsn.describe("where its log ends"),
  forkLsn: lsn.nullable().describe("up to where it has the same as the node to be kept; null: all"),
  lostBytes: bytes.describe("of its log, what the history goes on without"),
  keptIn: z.string().nullable().describe(
    "the folder in the node's own `dir` where that is kept, as it stands now; null: there is nothing to keep",
  ),
});
export type ConflictNode = z.infer<typeof conflictNodeSchema>;

/** Nodes that follow the same of two promotions. */
export const conflictHalfSchema = z.object({
  primary: name,
  reign: lsn,
  reignId: z.string(),
  isKept: z.boolean(),
  epochs: z.array(epochSchema).describe("what its history has since the fork"),
  nodes: z.array(conflictNodeSchema),
});

export const conflictReportSchema = z.object({
  forkLsn: lsn.nullable().describe("where the halves part; null: not known"),
  halves: z.array(conflictHalfSchema).describe("first the one that is kept"),
  silent: z.array(name).describe("nodes that do not answer: what they have is not known"),
});
/** What is kept and what is left behind when somebody decides between two promotions. */
export type ConflictReport = z.infer<typeof conflictReportSchema>;

export const treeReportSchema = z.object({
  plan: treePlanSchema.nullable(),
  reparent: reparentReportSchema.nullable(),
  isDone: z.boolean(),
  conflict: conflictReportSchema.optional().describe("of `resolve`: the halves, side by side"),
  lsn: lsn.nullable().describe("where the new reign begins"),
  durationMs: z.number().nonnegative(),
  files: z.array(fileReportSchema).optional().describe(
    "what became of the topology files; left out unless they were to be written",
  ),
  view: viewSchema.optional().describe("the roles and links that were written into them"),
});
export type TreeReport = z.infer<typeof treeReportSchema>;
