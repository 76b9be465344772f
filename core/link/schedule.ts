/**
 * When a schedule is due next: every so often or at cron times, within a window of the day, with
 * some jitter. Pure: the present time and chance are given.
 *
 * Zones and their changes of summer time are the cron library's: a window begins and ends when the
 * cron times of its two ends come. So a time that does not exist on some day comes at the end of
 * the gap, and one that exists twice is the first of the two; a cron time with lists, ranges or
 * steps in hour or minute comes at every one of its occurrences. A window that lies in a gap as a
 * whole is left out that day.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { DayWindow, Schedule } from "../config.ts";
import { cronOf } from "../topology/cron.ts";

/** Summer time changes seldom: a window that is empty on so many days in a row is no window. */
const DAYS_MAX = 7;

/**
 * When the next run is due, in ms since 1970: never before `nowMs`, which means at once. Ask once for
 * each run, and keep the answer until then.
 *
 * `every` counts from the start of the last run; with none yet (`lastStartedMs` null) the first is due at
 * once, or at the next cron time. A run whose time has passed is due at once; however many were
 * missed, it is one. What falls outside of the window waits for its beginning. Jitter, of which
 * `random01` (0 to 1) is the part to take, is added last, and stays within the window.
 */
export function nextRun(
  schedule: Schedule,
  lastStartedMs: number | null,
  nowMs: number,
  random01: number,
): number {
  assert(random01 >= 0 && random01 <= 1, "a part of the jitter");
  // A clock that was put back must not hold up a run for as long as it was wrong.
  const lastMs = lastStartedMs === null ? null : Math.min(lastStartedMs, nowMs);
  const dueMs = Math.max(nowMs, dueTime(schedule, lastMs, nowMs));
  const { window, timezone, jitterMs } = schedule;
  if (window === null) return Math.ceil(dueMs + random01 * jitterMs);
  const beginMs = intoWindow(window, timezone, dueMs);
  const lastMsOfWindow = nextClock(window.toMinute, timezone, beginMs) - 1;
  return Math.max(beginMs, Math.min(Math.ceil(beginMs + random01 * jitterMs), lastMsOfWindow));
}

/** When it is due by `every` or `cron` alone; may have passed. */
function dueTime({ everyMs, cron, timezone }: Schedule, lastMs: number | null, nowMs: number) {
  if (everyMs !== null) return lastMs === null ? nowMs : lastMs + everyMs;
  assert(cron !== null, "a schedule says when");
  // The library looks for times after the one given: a first run may be due this very moment.
  return nextCron(cron, timezone, lastMs ?? nowMs - 1);
}

/** Whether `atMs` is in the window: its beginning is, its end is not. */
export function isWithin(window: DayWindow, timezone: string | null, atMs: number): boolean {
  return nextClock(window.toMinute, timezone, atMs) < nextClock(window.fromMinute, timezone, atMs);
}

/** `atMs`, or the next beginning of the window if that is outside. */
function intoWindow(window: DayWindow, timezone: string | null, atMs: number): number {
  let foundMs = atMs;
  for (let day = 0; day < DAYS_MAX; day++) {
    if (isWithin(window, timezone, foundMs)) return foundMs;
    foundMs = nextClock(window.fromMinute, timezone, foundMs);
  }
  return foundMs;
}

/** When the clock on the wall shows this minute of the day next, after `atMs`. */
function nextClock(minute: number, timezone: string | null, atMs: number): number {
  return nextCron(`${minute % 60} ${Math.floor(minute / 60)} * * *`, timezone, atMs);
}

function nextCron(cron: string, timezone: string | null, afterMs: number): number {
  const next = cronOf(cron, timezone).nextRun(new Date(Math.floor(afterMs)));
  // Times that never come were refused with the topology.
  assert(next !== null, `${cron} never comes`);
  return next.getTime();
}
