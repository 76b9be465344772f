/**
 * Schedules as systemd's calendar events: `*-*-* 02:00:00`. Not every schedule can be said as one.
 *
 * @module
 */
import type { Schedule } from "../config.ts";

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
const DAY_MS = 24 * HOUR_MS;
const DAYS = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"] as const;
const MONTHS = "JAN FEB MAR APR MAY JUN JUL AUG SEP OCT NOV DEC".split(" ");

interface Field {
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const MINUTES: Field = { min: 0, max: 59, names: [] };
const HOURS: Field = { min: 0, max: 23, names: [] };
const DAYS_OF_MONTH: Field = { min: 1, max: 31, names: [] };
const MONTHS_OF_YEAR: Field = { min: 1, max: 12, names: MONTHS };
/** Sunday is 0 and 7. */
const DAYS_OF_WEEK: Field = { min: 0, max: 7, names: DAYS.map((day) => day.toUpperCase()) };

/** The `OnCalendar` lines that mean `schedule`; null: it cannot be said so. */
export function calendarOf(schedule: Schedule): string[] | null {
  if (schedule.window !== null) return null;
  const zone = schedule.timezone === null ? "" : ` ${schedule.timezone}`;
  const events = schedule.cron !== null
    ? calendarOfCron(schedule.cron)
    : schedule.everyMs !== null
    ? calendarOfInterval(schedule.everyMs)
    : null;
  return events?.map((event) => event + zone) ?? null;
}

/** Intervals that go up in a minute, an hour, a day or a week; others would be uneven. */
function calendarOfInterval(everyMs: number): string[] | null {
  const seconds = everyMs / 1000;
  if (!Number.isInteger(seconds) || seconds < 1) return null;
  if (everyMs < MINUTE_MS) return divides(seconds, 60) ? [`*-*-* *:*:0/${seconds}`] : null;
  const minutes = everyMs / MINUTE_MS;
  if (everyMs < HOUR_MS) return divides(minutes, 60) ? [`*-*-* *:0/${minutes}:00`] : null;
  const hours = everyMs / HOUR_MS;
  if (everyMs < DAY_MS) return divides(hours, 24) ? [`*-*-* 0/${hours}:00:00`] : null;
  if (everyMs === DAY_MS) return ["*-*-* 00:00:00"];
  return everyMs === 7 * DAY_MS ? ["Mon *-*-* 00:00:00"] : null;
}

function divides(step: number, whole: number): boolean {
  return Number.isInteger(step) && whole % step === 0;
}

function calendarOfCron(cron: string): string[] | null {
  const fields = cron.trim().split(/\s+/);
  if (fields.length !== 5) return null;
  const minutes = values(fields[0]!, MINUTES);
  const hours = values(fields[1]!, HOURS);
  const days = values(fields[2]!, DAYS_OF_MONTH);
  const months = values(fields[3]!, MONTHS_OF_YEAR);
  const weekdays = values(fields[4]!, DAYS_OF_WEEK);
  if (minutes === null || hours === null || days === null) return null;
  if (months === null || weekdays === null) return null;
  const time = `${list(hours, HOURS)}:${list(minutes, MINUTES)}:00`;
  const month = list(months, MONTHS_OF_YEAR);
  const day = list(days, DAYS_OF_MONTH);
  const names = [...new Set(weekdays.map((weekday) => weekday % 7))].sort()
    .map((weekday) => DAYS[weekday]!);
  const weekday = names.length === 7 ? "" : `${names.join(",")} `;
  // Cron runs on a day that is named by either of two restricted fields; a calendar event wants both.
  if (fields[2] !== "*" && fields[4] !== "*") {
    return [`*-${month}-${day} ${time}`, `${weekday}*-${month}-* ${time}`];
  }
  return [`${weekday}*-${month}-${day} ${time}`];
}

/** The numbers that a field of cron stands for, in order; null: it says more than a list of numbers. */
function values(text: string, field: Field): number[] | null {
  const found = new Set<number>();
  for (const part of text.split(",")) {
    const match = /^(?:(\*)|([A-Za-z]{3}|\d{1,2})(?:-([A-Za-z]{3}|\d{1,2}))?)(?:\/(\d{1,2}))?$/
      .exec(part);
    if (match === null) return null;
    const step = match[4] === undefined ? 1 : Number(match[4]);
    const isAll = match[1] !== undefined;
    const first = isAll ? field.min : number(match[2]!, field);
    const single = match[4] === undefined ? first : field.max;
    const last = isAll ? field.max : match[3] === undefined ? single : number(match[3], field);
    if (first === null || last === null || last < first || step < 1) return null;
    for (let at = first; at <= last; at += step) found.add(at);
  }
  return [...found].sort((a, b) => a - b);
}

function number(text: string, { min, max, names }: Field): number | null {
  const named = names.indexOf(text.toUpperCase());
  const value = named >= 0 ? named + min : Number(text);
  return Number.isInteger(value) && value >= min && value <= max ? value : null;
}

function list(found: readonly number[], { min, max }: Field): string {
  if (found.length === max - min + 1) return "*";
  return found.map((value) => String(value).padStart(2, "0")).join(",");
}
