/**
 * What a link says of its line, as Zod schemas: how fast it may send, and what it compresses.
 *
 * @module
 */
import * as z from "zod";
import type { CompressSetting, DayWindow } from "../config.ts";
import { parseWindow } from "./cron.ts";
import { nearest } from "./nearest.ts";
import { quote } from "./problem.ts";
import { formatRate, parseRate } from "./units.ts";

/** The key for all times that no window has. */
export const OTHERWISE = "otherwise";
const NO_LIMIT = "none";
const RATE_EXPECTED = "a rate such as 20MiB/s or 500kB/s, or none";
const BANDWIDTH_EXPECTED =
  'a rate such as 20MiB/s, or rates by hours: { "08:00-18:00": 5MiB/s, otherwise: 50MiB/s }';
const HOURS_MAX = 48;

/** One entry of a `bandwidth`, under its key as it is written. */
export interface BandwidthEntry {
  readonly key: string;
  /** Null: the key is `otherwise`, or no window. */
  readonly window: DayWindow | null;
  /** Bytes a second; null: no limit. */
  readonly rate: number | null;
}

/** Reads a rate, or `none`; null when it is neither. */
export function parseLimit(text: string): { readonly rate: number | null } | null {
  if (text.trim() === NO_LIMIT) return { rate: null };
  const parsed = parseRate(text);
  return parsed.ok ? { rate: parsed.value } : null;
}

/** In few words: `5MiB/s at 08:00-18:00, 50MiB/s otherwise`. */
export function formatBandwidth(entries: readonly BandwidthEntry[]): string {
  return entries.map(({ key, rate }) => {
    const text = rate === null ? NO_LIMIT : formatRate(rate);
    return entries.length === 1 && key === OTHERWISE
      ? text
      : `${text} ${key === OTHERWISE ? key : `at ${key}`}`;
  }).join(", ");
}

const rateText = z.union([z.string(), z.number()]);

/** One rate, or rates by the hours of the day. Windows are checked with the rest: see lint_lines.ts. */
export const bandwidthSchema = z.union(
  [rateText, z.record(z.string(), rateText)],
  { error: BANDWIDTH_EXPECTED },
).transform((input, context): readonly BandwidthEntry[] => {
  const isMap = typeof input === "object";
  const entries: BandwidthEntry[] = [];
  const texts = isMap ? Object.entries(input) : [[OTHERWISE, input] as const];
  if (texts.length === 0 || texts.length > HOURS_MAX) {
    context.addIssue({ code: "custom", message: BANDWIDTH_EXPECTED });
    return z.NEVER;
  }
  for (const [key, text] of texts) {
    const limit = parseLimit(String(text));
    if (limit !== null) entries.push({ key, window: parseWindow(key), rate: limit.rate });
    else {
      const message = isMap ? RATE_EXPECTED : BANDWIDTH_EXPECTED;
      context.addIssue({ code: "custom", message, path: isMap ? [key] : [] });
    }
  }
  return entries;
});

const LEVEL_MAX = 19;
const WORDS = ["none", "zstd", "auto"] as const;
const COMPRESS_EXPECTED =
  `none, zstd, auto or { zstd: LEVEL }, with a level from 1 to ${LEVEL_MAX}`;
/** Of `zstd` without one: quick enough for any line. */
const LEVEL_DEFAULT = 1;

/** What is compressed. */
export const compressSchema = z.union([z.string(), z.record(z.string(), z.unknown())], {
  error: COMPRESS_EXPECTED,
}).transform((input, context): CompressSetting => {
  if (input === "none" || input === "auto") return input;
  if (input === "zstd") return { zstd: LEVEL_DEFAULT };
  if (typeof input === "object") {
    const level = input["zstd"];
    const isLevel = typeof level === "number" && Number.isInteger(level) && level >= 1 &&
      level <= LEVEL_MAX;
    if (isLevel && Object.keys(input).length === 1) return { zstd: level };
  }
  const meant = typeof input === "string" ? nearest(input, [...WORDS]) : null;
  const hint = meant === null ? "" : `. Did you mean ${quote(meant)}?`;
  context.addIssue({ code: "custom", message: COMPRESS_EXPECTED + hint });
  return z.NEVER;
});
