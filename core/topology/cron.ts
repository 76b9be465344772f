/**
 * The shape of a cron time (five fields) and of a daily window, checked as far as a typing mistake
 * can be told. When they are due is not decided here.
 *
 * @module
 */

export const CRON_EXPECTED =
  'five cron fields (minute hour day month weekday), such as "0 */6 * * *"';
export const WINDOW_EXPECTED = "a daily window such as 22:00-06:00";

const MONTHS = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const WEEKDAYS = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

interface Field {
  readonly min: number;
  readonly max: number;
  readonly names: readonly string[];
}

const FIELDS: readonly Field[] = [
  { min: 0, max: 59, names: [] },
  { min: 0, max: 23, names: [] },
  { min: 1, max: 31, names: [] },
  { min: 1, max: 12, names: MONTHS },
  { min: 0, max: 7, names: WEEKDAYS },
];

/** Whether `text` is a cron time. */
export function isCron(text: string): boolean {
  const parts = text.length > 200 ? [] : text.trim().split(/\s+/);
  return parts.length === FIELDS.length &&
    FIELDS.every((field, index) => (parts[index] ?? "").split(",").every((p) => isPart(p, field)));
}

/** One of the comma-separated parts of a field: `*`, `5`, `1-5`, each with a step or without. */
function isPart(part: string, field: Field): boolean {
  const match = /^(\*|\w+(?:-\w+)?)(?:\/(\d{1,2}))?$/.exec(part);
  if (match === null || match[2] === "0" || match[2] === "00") return false;
  if (match[1] === "*") return true;
  const [from, to] = (match[1] ?? "").split("-").map((word) => valueOf(word, field));
  if (from === undefined || Number.isNaN(from)) return false;
  return to === undefined || (!Number.isNaN(to) && from <= to);
}

function valueOf(word: string, field: Field): number {
  const named = field.names.indexOf(word.toLowerCase());
  if (named >= 0) return named + field.min;
  const value = /^\d{1,2}$/.test(word) ? Number(word) : NaN;
  return value >= field.min && value <= field.max ? value : NaN;
}

/** Whether `text` is a window of the day: two times that differ; the second may be tomorrow's. */
export function isWindow(text: string): boolean {
  const match = /^([01]\d|2[0-3]):([0-5]\d) ?- ?([01]\d|2[0-3]):([0-5]\d)$/.exec(text.trim());
  return match !== null && `${match[1]}${match[2]}` !== `${match[3]}${match[4]}`;
}
