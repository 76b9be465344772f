/**
 * What `cascade sync` asks of a node, and what the node tells of it: one document, shown as a line for
 * cron, printed by `--json`, and sent by the admin side. Fields are only ever added.
 *
 * @module
 */

/** How a link's sync ended. `planned`: a dry run, nothing was sent. */
export const SYNC_OUTCOMES = ["done", "nothing", "failed", "planned"] as const;

export type SyncOutcome = (typeof SYNC_OUTCOMES)[number];

/** What became of one link. */
export interface SyncLinkReport {
  readonly link: string;
  readonly outcome: SyncOutcome;
  /** Where the peer stood; null if it was never reached. */
  readonly fromLsn: number | null;
  /** Where it stands now, or would. */
  readonly toLsn: number | null;
  /** What clients wrote in that range. */
  readonly logBytes: number;
  /** What had to be sent of it: the last writer wins, and what was staged before is not sent again. */
  readonly deltaBytes: number;
  /** What was sent meanwhile, frames included. */
  readonly sentBytes: number;
  readonly durationMs: number;
  /** Why it failed, or why there was nothing to do. */
  readonly reason: string | null;
}

/** One run over one or more links of a node. */
export interface SyncReport {
  readonly links: readonly SyncLinkReport[];
}

const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0;

/** What each field of a link has to be. */
const FIELDS: Readonly<Record<keyof SyncLinkReport, (value: unknown) => boolean>> = {
  link: (value) => typeof value === "string",
  outcome: (value) => SYNC_OUTCOMES.some((outcome) => outcome === value),
  fromLsn: (value) => value === null || isCount(value),
  toLsn: (value) => value === null || isCount(value),
  logBytes: isCount,
  deltaBytes: isCount,
  sentBytes: isCount,
  durationMs: (value) => typeof value === "number" && value >= 0,
  reason: (value) => value === null || typeof value === "string",
};

/**
 * A report as it came from a node; fields that are not known are left out. Throws when it is none. (By hand: to load the
 * schemas of the rest takes longer than to be answered.)
 */
export function parseSyncReport(value: unknown): SyncReport {
  const links = (value as { links?: unknown } | null)?.links;
  if (!Array.isArray(links)) throw new TypeError("a sync report has a list of links");
  return { links: links.map(parseLink) };
}

function parseLink(value: unknown): SyncLinkReport {
  const link = (value ?? {}) as Record<string, unknown>;
  const fields = Object.entries(FIELDS).map(([name, isRight]) => {
    if (isRight(link[name])) return [name, link[name]];
    throw new TypeError(`a link of a sync report has no ${name}, or a wrong one`);
  });
  return Object.fromEntries(fields);
}

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
