/**
 * Human sizes, durations and rates: `10GiB`, `1h30m`, `20MiB/s`, to whole bytes, milliseconds and
 * bytes a second, and back. Reading is exact: what is not a whole number of the small unit is
 * refused rather than rounded. `formatX` always reads back as the same number.
 *
 * @module
 */

/** A number, or what was expected in its place. */
export type UnitResult =
  | { readonly ok: true; readonly value: number }
  | { readonly ok: false; readonly expected: string };

/** Longer text is refused before it is looked at. */
const TEXT_LENGTH_MAX = 64;

const BINARY_UNITS = ["KiB", "MiB", "GiB", "TiB", "PiB"] as const;
const DECIMAL_UNITS = ["kB", "MB", "GB", "TB", "PB"] as const;

const SIZE_UNITS: ReadonlyMap<string, bigint> = new Map([
  ["", 1n],
  ["B", 1n],
  ...BINARY_UNITS.map((unit, index) => [unit, 1024n ** BigInt(index + 1)] as const),
  ...DECIMAL_UNITS.map((unit, index) => [unit, 1000n ** BigInt(index + 1)] as const),
]);

const DURATION_UNITS: ReadonlyMap<string, bigint> = new Map([
  ["d", 86_400_000n],
  ["h", 3_600_000n],
  ["m", 60_000n],
  ["s", 1_000n],
  ["ms", 1n],
]);

const SIZE_EXPECTED = "a size such as 10GiB, 512MiB, 10GB or 4096 (bytes)";
const RATE_EXPECTED = "a rate such as 20MiB/s or 500kB/s";
const DURATION_EXPECTED = "a duration such as 500ms, 30s, 15m, 1h30m or 7d";

/** Reads a size in bytes: `10GiB`, `1.5GiB`, `10GB`, `4096`. */
export function parseSize(text: string): UnitResult {
  const match = text.length > TEXT_LENGTH_MAX
    ? null
    : /^(\d+)(?:\.(\d+))? ?([A-Za-z]*)$/.exec(text.trim());
  if (match === null) return expected(SIZE_EXPECTED);
  const [, whole = "", fraction = "", unit = ""] = match;
  const factor = SIZE_UNITS.get(unit);
  if (factor === undefined) return expected(sizeUnitHint(whole, fraction, unit));
  return wholeNumber(whole, fraction, factor, "bytes");
}

/** Reads a rate in bytes a second: `20MiB/s`. */
export function parseRate(text: string): UnitResult {
  const match = /^(.*[A-Za-z]) ?\/ ?s$/.exec(text.trim());
  const size = match === null ? null : parseSize(match[1] ?? "");
  return size?.ok === true ? size : expected(RATE_EXPECTED);
}

/** Reads a duration in milliseconds: `500ms`, `1.5h`, `1h30m`; each unit once, the larger first. */
export function parseDuration(text: string): UnitResult {
  const trimmed = text.trim();
  if (trimmed.length > TEXT_LENGTH_MAX || !/^(?:\d+(?:\.\d+)?(?:ms|[dhms]))+$/.test(trimmed)) {
    return expected(DURATION_EXPECTED);
  }
  let totalMs = 0;
  let lastFactor: bigint | null = null;
  for (const match of trimmed.matchAll(/(\d+)(?:\.(\d+))?(ms|[dhms])/g)) {
    const factor = DURATION_UNITS.get(match[3] ?? "") ?? 1n;
    if (lastFactor !== null && factor >= lastFactor) {
      return expected("each unit once and the larger first, such as 1h30m");
    }
    lastFactor = factor;
    const part = wholeNumber(match[1] ?? "", match[2] ?? "", factor, "milliseconds");
    if (!part.ok) return part;
    totalMs += part.value;
  }
  return Number.isSafeInteger(totalMs) ? { ok: true, value: totalMs } : expected(DURATION_EXPECTED);
}

/** Writes a size so that {@linkcode parseSize} reads the same number: the shortest exact form. */
export function formatSize(bytes: number): string {
  let best = String(bytes);
  for (const units of [DECIMAL_UNITS, BINARY_UNITS]) {
    for (const unit of units) {
      const text = exactly(bytes, SIZE_UNITS.get(unit) ?? 1n);
      if (text !== null && text.length + unit.length <= best.length) best = text + unit;
    }
  }
  return best;
}

/** Writes a rate so that {@linkcode parseRate} reads the same number. */
export function formatRate(bytesPerSecond: number): string {
  const size = formatSize(bytesPerSecond);
  return /[A-Za-z]$/.test(size) ? `${size}/s` : `${size}B/s`;
}

/** Writes a duration so that {@linkcode parseDuration} reads the same number: `1h30m`. */
export function formatDuration(ms: number): string {
  let rest = BigInt(ms);
  let text = "";
  for (const [unit, factor] of DURATION_UNITS) {
    if (rest >= factor) text += `${rest / factor}${unit}`;
    rest %= factor;
  }
  return text === "" ? "0s" : text;
}

/** A size for the eye, to three digits: `9.31GiB`, `512MiB`. Does not read back exactly. */
export function approximateSize(bytes: number): string {
  let value = bytes;
  let unit = "B";
  for (const next of BINARY_UNITS) {
    if (value < 999.5) break;
    value /= 1024;
    unit = next;
  }
  const digits = value >= 99.95 || Number.isInteger(value) ? 0 : value >= 9.995 ? 1 : 2;
  return value.toFixed(digits).replace(/(\.\d*?)0+$/, "$1").replace(/\.$/, "") + unit;
}

/** A duration for the eye, in its two largest units: `2d3h`, `12m30s`. */
export function approximateDuration(ms: number): string {
  if (!Number.isFinite(ms)) return "forever";
  if (ms < 1000) return `${Math.round(ms)}ms`;
  // Rounding to the smaller of the two units may carry into the larger, so it comes first.
  const smaller = ms < 3_600_000 ? 1000 : ms < 86_400_000 ? 60_000 : 3_600_000;
  return formatDuration(Math.round(ms / smaller) * smaller);
}

function expected(what: string): UnitResult {
  return { ok: false, expected: what };
}

/** `whole.fraction * factor`, if that is a whole number that a double holds exactly. */
function wholeNumber(whole: string, fraction: string, factor: bigint, unit: string): UnitResult {
  const scale = 10n ** BigInt(fraction.length);
  const scaled = BigInt(whole + fraction) * factor;
  if (scaled % scale !== 0n) return expected(`a whole number of ${unit}`);
  const value = scaled / scale;
  if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
    return expected(`at most ${Number.MAX_SAFE_INTEGER} ${unit}`);
  }
  return { ok: true, value: Number(value) };
}

/** `bytes / factor` in at most three decimals and at least 1, or null when that is not exact. */
function exactly(bytes: number, factor: bigint): string | null {
  const thousandths = BigInt(bytes) * 1000n;
  if (BigInt(bytes) < factor || thousandths % factor !== 0n) return null;
  const digits = String(thousandths / factor);
  const fraction = digits.slice(-3).replace(/0+$/, "");
  return digits.slice(0, -3) + (fraction === "" ? "" : `.${fraction}`);
}

/** Tells somebody who wrote `10G` or `10gib` what the two meanings of that would be. */
function sizeUnitHint(whole: string, fraction: string, unit: string): string {
  const number = whole + (fraction === "" ? "" : `.${fraction}`);
  const letter = unit.charAt(0).toLowerCase();
  const index = BINARY_UNITS.findIndex((name) => name.charAt(0).toLowerCase() === letter);
  const binary = BINARY_UNITS[index];
  const decimal = DECIMAL_UNITS[index];
  if (binary === undefined || decimal === undefined || unit.length > 3) return SIZE_EXPECTED;
  return `${number}${binary} (powers of 1024) or ${number}${decimal} (powers of 1000)`;
}
