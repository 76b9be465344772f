/**
 * What became of the topology files, when the roles and links as they are by now were to be written into them.
 *
 * @module
 */
import * as z from "zod";

/** What became of one file. */
export const fileOutcomeSchema = z.object({
  outcome: z.enum(["written", "unchanged", "failed"]).describe(
    "unchanged: it said so already; failed: see reason",
  ),
  file: z.string().max(4096).nullable().describe("its path there; null: it is not known"),
  before: z.string().max(4096).nullable().describe("where it is kept as it was; null: nowhere"),
  reason: z.string().max(4000).nullable(),
});
export type FileOutcome = z.infer<typeof fileOutcomeSchema>;

export const fileReportSchema = fileOutcomeSchema.extend({
  node: z.string().nullable().describe("whose file; null: that of the command itself"),
  outcome: z.enum(["written", "unchanged", "failed", "unreachable"]),
});
export type FileReport = z.infer<typeof fileReportSchema>;

/** Of a file that was not written. */
export function failedOutcome(file: string | null, reason: string): FileOutcome {
  return { outcome: "failed", file, before: null, reason };
}
