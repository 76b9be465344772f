/**
 * What a topology asks for of the lines: rates that can work, hours that do not overlap.
 *
 * @module
 */
import type { DayWindow } from "../config.ts";
import { OTHERWISE } from "./line_scalars.ts";
import { quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { TopologyLink } from "./topology.ts";
import { formatDuration, formatRate } from "./units.ts";

/** The largest record takes a quarter of a minute then. */
export const RATE_MIN = 64 * 1024;
const DAY_MINUTES = 24 * 60;
/** The largest record, and the way back. */
const RECORD_BYTES = 1024 * 1024;

/** Reports rates and hours of a link that cannot be, or that its author may not have meant. */
export function lintLine(link: TopologyLink, reporter: Reporter): void {
  if (link.bandwidthEntries === null) return;
  const path = ["links", link.index, "bandwidth"];
  const isMap = link.bandwidthEntries.some(({ key }) => key !== OTHERWISE);
  const owners = new Array<string | undefined>(DAY_MINUTES);
  for (const { key, window, rate } of link.bandwidthEntries) {
    const entry = isMap ? [...path, key] : path;
    if (rate !== null && rate < RATE_MIN) {
      const expected = `at least ${formatRate(RATE_MIN)}, or none`;
      reporter.report(entry, "value", {
        message: `${formatRate(rate)} is too slow for a link; expected ${expected}`,
        found: formatRate(rate),
        expected,
      });
    } else if (rate !== null) lintSync(link, rate, entry, reporter);
    if (key === OTHERWISE) continue;
    if (window === null) {
      const expected = `hours such as "08:00-18:00", or ${OTHERWISE}`;
      const message = `${quote(key)} is no window of the day; expected ${expected}`;
      reporter.report(entry, "key", { message, found: key, expected });
      continue;
    }
    const other = claim(window, key, owners);
    if (other === null) continue;
    const message = `the hours ${quote(key)} overlap with ${
      quote(other)
    }; expected each minute once`;
    reporter.report(entry, "key", { message, found: key, expected: "hours that do not overlap" });
  }
}

/** Notes the minutes of a window; who has one of them already, or null. */
function claim(
  { fromMinute, toMinute }: DayWindow,
  key: string,
  owners: (string | undefined)[],
): string | null {
  let other: string | null = null;
  for (let minute = fromMinute; minute !== toMinute; minute = (minute + 1) % DAY_MINUTES) {
    other ??= owners[minute] ?? null;
    owners[minute] ??= key;
  }
  return other;
}

/** A write of the largest size must come through before a sync link gives its peer up. */
function lintSync(
  link: TopologyLink,
  rate: number,
  path: (string | number)[],
  reporter: Reporter,
): void {
  const needsMs = Math.ceil(RECORD_BYTES * 1000 / rate);
  if (link.mode !== "sync" || needsMs < link.timeoutMs) return;
  reporter.report(path, "value", {
    severity: "warning",
    message: `at ${formatRate(rate)} a write of 1 MiB takes ${formatDuration(needsMs)}: ` +
      `longer than the timeout of this sync link, ${formatDuration(link.timeoutMs)}`,
  });
}
