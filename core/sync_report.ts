/**
 * What `cascade sync` asks of a node, and what the node tells of it: one document, shown as a line for
 * cron, printed by `--json`, and sent by the admin side. Fields are only ever added.
 *
 * @module
 */
import * as z from "zod";

const lsn = z.number().int().nonnegative();
const bytes = z.number().int().nonnegative();

/** How a link's sync ended. `planned`: a dry run, nothing was sent. */
export const SYNC_OUTCOMES = ["done", "nothing", "failed", "planned"] as const;

/** What became of one link. */
export const syncLinkSchema = z.object({
  link: z.string(),
  outcome: z.enum(SYNC_OUTCOMES),
  fromLsn: lsn.nullable().describe("where the peer stood; null if it was never reached"),
  toLsn: lsn.nullable().describe("where it stands now, or would"),
  logBytes: bytes.describe("what clients wrote in that range"),
  deltaBytes: bytes.describe(
    "what had to be sent of it: the last writer wins, and what was staged before is not sent again",
  ),
  sentBytes: bytes.describe("what was sent meanwhile, frames included"),
  durationMs: z.number().nonnegative(),
  reason: z.string().nullable().describe("why it failed, or why there was nothing to do"),
});

/** One run over one or more links of a node. */
export const syncReportSchema = z.object({ links: z.array(syncLinkSchema) });

export type SyncOutcome = (typeof SYNC_OUTCOMES)[number];
export type SyncLinkReport = z.infer<typeof syncLinkSchema>;
export type SyncReport = z.infer<typeof syncReportSchema>;

/** What one sync is to do. */
export interface SyncOptions {
  /** Tell what there would be to send, and send nothing. */
  readonly dryRun: boolean;
  /** With `capture: scan`: compare with what the peers hold as well, and send what differs. */
  readonly full: boolean;
}

/** What can sync: a node that runs. */
export interface SyncRunner {
  /**
   * Ships over `links` (null: every link to a node below) what is pending, and settles when it is durable
   * there or has failed: a failure of a link is in the report. Throws `not-found` for a link that the node
   * does not feed, and `locked` when a sync runs already.
   */
  sync(links: readonly string[] | null, options: SyncOptions): Promise<SyncReport>;
}
