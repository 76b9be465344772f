/**
 * The words of a schedule: a cron time of five fields, a window of the day, a time zone. When they
 * are due is decided in core/link/schedule.ts.
 *
 * @module
 */
import { Cron } from "croner";
import type { DayWindow } from "../config.ts";
import { nearest } from "./nearest.ts";
import { quote } from "./problem.ts";

export const CRON_EXPECTED =
  'five cron fields (minute hour day month weekday), such as "0 */6 * * *"';
export const WINDOW_EXPECTED = "a daily window such as 22:00-06:00";
export const TIMEZONE_EXPECTED = "a time zone such as Europe/Berlin or UTC";

/** Longer text is refused before it is looked at. */
const TEXT_LENGTH_MAX = 200;

/** Times of this long ago are as good as any to see whether a cron time comes at all. */
const SOME_TIME = new Date(0);

/** The five fields, in their order. */
const FIELDS = [
  "a minute from 0 to 59",
  "an hour from 0 to 23",
  "a day from 1 to 31",
  "a month from 1 to 12 or jan to dec",
  "a weekday from 0 to 7 or sun to sat",
] as const;

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

/** Windows that are looked at to see whether a cron time comes within one: more than a year of days. */
const WINDOWS_MAX = 400;

/** Whether `text` is a cron time, and one that comes: `0 0 30 2 *` never does. */
export function isCron(text: string): boolean {
  return cronExpected(text) === null;
}

/** What was expected in place of `text`, or null if it is a cron time. */
export function cronExpected(text: string): string | null {
  if (text.length > TEXT_LENGTH_MAX || text.trim().split(/\s+/).length !== 5) return CRON_EXPECTED;
  try {
    return cronOf(text, "UTC").nextRun(SOME_TIME) === null ? "a time that comes some day" : null;
  } catch {
    // The library tells it in its own terms.
    return wrongField(text.trim().split(/\s+/)) ?? CRON_EXPECTED;
  }
}

/** What was expected in place of the first field that is none, each taken alone. */
function wrongField(fields: readonly string[]): string | null {
  for (const [place, field] of fields.entries()) {
    try {
      cronOf(fields.map((_, index) => index === place ? field : "*").join(" "), "UTC");
    } catch {
      return `${FIELDS[place]} in place of ${quote(field)}`;
    }
  }
  return null;
}

/** Whether a cron time ever comes within the window; both are told in one zone, so any will do. */
export function comesWithin(cron: string, window: DayWindow): boolean {
  const job = cronOf(cron, "UTC");
  const lengthMs = windowMs(window);
  const beginMs = window.fromMinute * MINUTE_MS;
  let afterMs = 0;
  for (let turn = 0; turn < WINDOWS_MAX; turn++) {
    const next = job.nextRun(new Date(afterMs));
    if (next === null) return true;
    const sinceBeginMs = (next.getTime() - beginMs + DAY_MS) % DAY_MS;
    if (sinceBeginMs < lengthMs) return true;
    // On to where the next window begins: the library looks for times behind the one given.
    afterMs = next.getTime() - sinceBeginMs + DAY_MS - 1;
  }
  return false;
}

/** How long a window lasts. */
export function windowMs({ fromMinute, toMinute }: DayWindow): number {
  const lasts = (toMinute - fromMinute) * MINUTE_MS;
  return lasts > 0 ? lasts : lasts + DAY_MS;
}

/**
 * A cron time, read by the library: to be asked with a time alone, since the library would take the
 * present one otherwise. `timezone` as in `Schedule`. Throws what the library throws.
 */
export function cronOf(text: string, timezone: string | null): Cron {
  return new Cron(text.trim(), {
    mode: "5-part",
    paused: true,
    ...(timezone === null ? {} : { timezone }),
  });
}

/** Reads a window of the day: two times that differ; the second may be tomorrow's. Or null. */
export function parseWindow(text: string): DayWindow | null {
  const match = /^([01]\d|2[0-3]):([0-5]\d) ?- ?([01]\d|2[0-3]):([0-5]\d)$/.exec(text.trim());
  if (match === null) return null;
  const fromMinute = Number(match[1]) * 60 + Number(match[2]);
  const toMinute = Number(match[3]) * 60 + Number(match[4]);
  return fromMinute === toMinute ? null : { fromMinute, toMinute };
}

/** Writes a window so that {@linkcode parseWindow} reads the same. */
export function formatWindow({ fromMinute, toMinute }: DayWindow): string {
  return `${clockText(fromMinute)}-${clockText(toMinute)}`;
}

function clockText(minute: number): string {
  const two = (value: number) => String(value).padStart(2, "0");
  return `${two(Math.floor(minute / 60))}:${two(minute % 60)}`;
}

/** What was expected in place of `text`, or null if it names a time zone that this machine knows. */
export function timezoneExpected(text: string): string | null {
  if (text.length > TEXT_LENGTH_MAX) return TIMEZONE_EXPECTED;
  try {
    new Intl.DateTimeFormat("en", { timeZone: text });
    return null;
  } catch { // A RangeError is the only way to be told.
    const meant = nearest(text, Intl.supportedValuesOf("timeZone"));
    return TIMEZONE_EXPECTED + (meant === null ? "" : `. Did you mean ${quote(meant)}?`);
  }
}
