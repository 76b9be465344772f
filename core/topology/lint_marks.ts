/**
 * What a topology asks for of marks and of applying late.
 *
 * @module
 */
import type { DocumentPath } from "./problem.ts";
import { quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { TopologyNode } from "./topology.ts";
import { formatDuration, formatRate, formatSize } from "./units.ts";

/** It is looked once a second what is due. */
const DELAY_MS_MIN = 1_000;
/** Times past this are no delay but an archive, and no log holds as much. */
const DELAY_MS_MAX = 90 * 86_400_000;
/** A budget that holds less than this for as long as the delay is likely to be spent before. */
const LIKELY_RATE = 1024 * 1024;

/** Reports delays and hooks where there is no volume, and a budget that a delay is likely to spend. */
export function lintMarks(node: TopologyNode, reporter: Reporter): void {
  const path = (key: string): DocumentPath => ["nodes", node.name, key];
  const { applyDelayMs: delayMs, onMark, volumes, log } = node;
  if (volumes === null) {
    for (
      const [key, isSet] of [["applyDelay", delayMs > 0], ["onMark", onMark !== null]] as const
    ) {
      if (!isSet) continue;
      const message = `${
        quote(node.name)
      } has no volumes: there is nothing that ${key} could hold back`;
      reporter.report(path(key), "key", { message });
    }
    return;
  }
  if (node.capture === "scan" && onMark !== null) {
    reporter.report(path("onMark"), "key", {
      severity: "warning",
      message: "onMark never runs with capture: scan, where there are no marks",
    });
  }
  if (delayMs === 0) return;
  if (delayMs < DELAY_MS_MIN || delayMs > DELAY_MS_MAX) {
    const expected = `${formatDuration(DELAY_MS_MIN)} to ${formatDuration(DELAY_MS_MAX)}`;
    reporter.report(path("applyDelay"), "value", {
      message: `the delay ${formatDuration(delayMs)} is none; expected ${expected}`,
      found: formatDuration(delayMs),
      expected,
    });
    return;
  }
  if (node.role === "intermediate") {
    reporter.report(path("applyDelay"), "key", {
      severity: "warning",
      message: `${quote(node.name)} feeds others: copies of its late volumes wait for the delay; ` +
        `expected applyDelay at an end of the tree`,
    });
  }
  const rate = Math.floor(log.budgetBytes / (delayMs / 1000));
  if (rate >= LIKELY_RATE) return;
  reporter.report(path("applyDelay"), "value", {
    severity: "warning",
    message:
      `the log budget ${formatSize(log.budgetBytes)} holds ${
        formatDuration(delayMs)
      } of no more than ` +
      `${formatRate(rate)}: if more is written, records are applied before their time; ` +
      `a larger log.budget keeps the delay`,
  });
}
