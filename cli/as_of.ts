/**
 * The options that name an image: by a mark, an LSN or a time.
 *
 * @module
 */
import { InvalidArgumentError } from "@commander-js/extra-typings";
import type { AsOf } from "../core/marks/views.ts";
import { parseDuration } from "../core/topology/units.ts";

/** What was given of three options, of which one is meant. */
export function asOfOptions(
  mark: string | undefined,
  lsn: number | undefined,
  timeMs: number | undefined,
): AsOf[] {
  return [
    ...(mark === undefined ? [] : [{ mark }]),
    ...(lsn === undefined ? [] : [{ lsn }]),
    ...(timeMs === undefined ? [] : [{ timeMs }]),
  ];
}

/** An LSN. */
export function lsnArgument(text: string): number {
  const lsn = /^\d+$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(lsn)) return lsn;
  throw new InvalidArgumentError("Expected an LSN: a whole number.");
}

/** A moment, or how long ago it was. */
export function timeArgument(text: string): number {
  const ago = /^(\S+)\s+ago$/.exec(text);
  if (ago !== null) {
    const duration = parseDuration(ago[1] ?? "");
    if (duration.ok) return Date.now() - duration.value;
  }
  const timeMs = /^\d{4}-\d{2}-\d{2}/.test(text) ? Date.parse(text) : NaN;
  if (Number.isFinite(timeMs) && timeMs >= 0) return timeMs;
  throw new InvalidArgumentError('Expected a time such as 2026-11-24T02:15:00Z, or "20m ago".');
}
