/**
 * A sync in words, as a document, and as an exit code. Pure.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { SyncLinkReport, SyncOutcome, SyncReport } from "../core/sync_report.ts";
import { approximateDuration, approximateSize } from "../core/topology/units.ts";
import { escapeControls } from "../io/journal.ts";
import { EXIT, type ExitCode } from "./exit.ts";

/** How each outcome is headed, in the order of the line. */
const HEADS: Readonly<Record<SyncOutcome, string>> = {
  done: "synced",
  planned: "to sync",
  nothing: "nothing to sync",
  failed: "failed",
};

/** All of it on one line: `synced: hq-metro 12MiB of 80MiB written, in 3s; failed: hq-dr`. */
export function summaryLine({ links }: SyncReport): string {
  const parts = Object.entries(HEADS).flatMap(([outcome, head]) => {
    const which = links.filter((link) => link.outcome === outcome);
    return which.length === 0 ? [] : [`${head}: ${which.map(linkText).join(", ")}`];
  });
  return parts.length === 0 ? "nothing to sync" : escapeControls(parts.join("; "));
}

function linkText(report: SyncLinkReport): string {
  const { link, outcome, deltaBytes, logBytes, durationMs } = report;
  const sizes = `${approximateSize(deltaBytes)} of ${approximateSize(logBytes)} written`;
  switch (outcome) {
    case "done":
      return `${link} ${sizes} in ${approximateDuration(durationMs)}`;
    case "planned":
      return `${link} ${sizes}`;
    case "nothing":
    case "failed":
      return link;
  }
}

/** A line for each link that failed. */
export function failureLines({ links }: SyncReport): string[] {
  return links.filter(({ outcome }) => outcome === "failed").map(({ link, reason }) =>
    escapeControls(`${link} was not synced: ${reason ?? "no reason was told"}`)
  );
}

/** 0 unless a link failed; 4 when each that did could not even be reached. */
export function verdictOf({ links }: SyncReport): ExitCode {
  const failed = links.filter(({ outcome }) => outcome === "failed");
  if (failed.length === 0) return EXIT.done;
  return failed.every(({ fromLsn }) => fromLsn === null) ? EXIT.unreachable : EXIT.failed;
}

/** How a sync came about. */
export interface SyncHow {
  /** Whether a node that runs did it. */
  readonly isBeside: boolean;
  /** Why nothing was done; null: it was. */
  readonly skipped: string | null;
}

/** The document of `--json`; docs/sync.md describes it. Fields are only ever added. */
export function syncJson(
  report: SyncReport,
  options: { readonly node: string; readonly dryRun: boolean },
  how: SyncHow,
) {
  return {
    node: options.node,
    dryRun: options.dryRun,
    beside: how.isBeside,
    skipped: how.skipped,
    links: report.links,
  };
}

/** What `--timeout` means. */
export function timedOut(
  { node, timeoutMs }: { readonly node: string; readonly timeoutMs: number | null },
  hint: string,
): CascadeError {
  const within = approximateDuration(timeoutMs ?? Infinity);
  const message = `the sync of ${node} has not ended within ${within}`;
  return new CascadeError("timed-out", message, { hint, retryable: true });
}
