/**
 * What is said of marks and of what a node holds back from its volumes on purpose: the schemas behind the
 * status, `cascade mark`, `cascade marks` and `cascade export`.
 *
 * @module
 */
import * as z from "zod";

const lsn = z.number().int().nonnegative();
const bytes = z.number().int().nonnegative();
const when = z.number().describe("ms since 1970");

/** A mark. */
export const markSchema = z.object({
  name: z.string(),
  lsn: lsn.describe("where its record begins"),
  endLsn: lsn.describe(
    "where it ends: the image of a node that has applied up to here is the mark's",
  ),
  timeMs: when.describe("the primary's time when it was set, ms since 1970"),
});

/** The marks in a node's log, oldest first. */
export const markListSchema = z.object({
  node: z.string(),
  appliedLsn: lsn,
  marks: z.array(markSchema.extend({
    applied: z.boolean().describe("the node's volumes are past it, or at it"),
  })),
});

/** A read-only export of an image that a node has not applied yet. */
export const viewSchema = z.object({
  id: z.string(),
  lsn: lsn.describe("its image holds all below"),
  of: z.string().describe("what was asked for"),
  address: z.string().describe("where it listens"),
  uris: z.array(z.string()).describe("one a volume"),
  clients: z.number().int(),
  openedAtMs: when,
  closesAtMs: when.nullable().describe(
    "unless whoever opened it is heard of before; null: never by itself",
  ),
});

/** What is held back from the volumes on purpose. */
export const applyStatusSchema = z.object({
  delaySeconds: z.number().nullable().describe("applyDelay; null: there is none"),
  heldBytes: bytes.describe("stable here and not applied: held back on purpose"),
  dueBytes: bytes.describe("stable here and not applied, although nothing holds it back"),
  behindSeconds: z.number().nonnegative().nullable()
    .describe(
      "age by the primary's clock of the oldest record that is not applied; null if unknown",
    ),
  earlyBytes: bytes
    .describe("applied before their time since the node started: the log budget was spent"),
  frozenAt: markSchema.extend({ sinceMs: when }).nullable()
    .describe("the mark at which applying waits for the hook onMark"),
  lastHook: z.object({
    mark: z.string(),
    lsn,
    startedAtMs: when,
    endedAtMs: when,
    outcome: z.enum(["done", "failed", "missed"])
      .describe("missed: the volumes came past the mark without standing at it"),
    reason: z.string().nullable(),
  }).nullable().describe("the last run of onMark since the node started"),
  hookFailures: z.number().int().describe(
    "of onMark since the node started, missed marks included",
  ),
  views: z.array(viewSchema),
});

export type MarkList = z.infer<typeof markListSchema>;
export type ViewStatus = z.infer<typeof viewSchema>;
export type ApplyStatus = z.infer<typeof applyStatusSchema>;
