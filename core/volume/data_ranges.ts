/**
 * Where a volume may hold data: the data ranges of its file, and over them the extents that are in
 * the log but not yet applied.
 *
 * Both are in order of offset and are walked side by side, once. The file is asked for some ranges
 * at a time, and not at all for what the overlay hides: so the work is that of the ranges that are
 * told, and of the extents that lie between them.
 *
 * @module
 */
import type { DataRange, DiskFile } from "../ports.ts";
import { DATA, type ExtentMap } from "./extents.ts";

/** Ranges that a file is asked for at a time: what is looked at in vain where an extent hides it. */
const FILE_RANGES = 256;

/** The data ranges of a file, from front to back. */
class FileRanges {
  readonly #file: DiskFile;
  readonly #end: number;
  #ranges: readonly DataRange[] = [];
  #index = 0;
  /** What lies below is in `#ranges`, or was passed. */
  #toldEnd: number;

  constructor(file: DiskFile, start: number, end: number) {
    this.#file = file;
    this.#end = end;
    this.#toldEnd = start;
  }

  /** Calls with each range within [start, end), clipped to it, until it says false. Never goes back. */
  within(start: number, end: number, add: (start: number, end: number) => boolean): void {
    for (let at = start; at < end;) {
      const range = this.#next(at);
      if (range === null || range.start >= end) return;
      if (!add(Math.max(range.start, start), Math.min(range.end, end))) return;
      at = range.end;
    }
  }

  /** The first range that ends after `at`, or null. */
  #next(at: number): DataRange | null {
    for (;;) {
      const range = this.#ranges[this.#index];
      if (range !== undefined && range.end > at) return range;
      if (range !== undefined) this.#index++;
      else if (this.#toldEnd >= this.#end) return null;
      else this.#ask(Math.max(at, this.#toldEnd));
    }
  }

  #ask(from: number): void {
    this.#ranges = from < this.#end
      ? this.#file.dataRanges(from, this.#end - from, FILE_RANGES)
      : [];
    this.#index = 0;
    const last = this.#ranges.at(-1);
    const isAll = last === undefined || this.#ranges.length < FILE_RANGES;
    this.#toldEnd = isAll ? this.#end : last.end;
  }
}

/**
 * The ranges of [start, end) that may hold data, in order and merged: at most `rangesMax` of them,
 * and when there are as many, what lies past the last is not told.
 */
export function mergedRanges(
  file: DiskFile,
  overlay: ExtentMap,
  start: number,
  end: number,
  rangesMax: number,
): DataRange[] {
  const result: DataRange[] = [];
  const below = new FileRanges(file, start, end);
  let first = -1;
  let stop = -1;
  /** False once there are enough. */
  const add = (from: number, to: number): boolean => {
    if (first >= 0 && from <= stop) {
      stop = Math.max(stop, to);
      return true;
    }
    if (first >= 0) result.push({ start: first, end: stop });
    first = result.length < rangesMax ? from : -1;
    stop = to;
    return first >= 0;
  };
  let at = start;
  let isEnough = false;
  const addBelow = (to: number) => {
    below.within(at, to, (from, until) => {
      isEnough = !add(from, until);
      return !isEnough;
    });
  };
  overlay.lookup(start, end, (from, to, kind) => {
    if (isEnough) return;
    addBelow(from);
    if (!isEnough && kind === DATA) isEnough = !add(from, to);
    at = to;
  });
  if (!isEnough) addBelow(end);
  if (first >= 0) result.push({ start: first, end: stop });
  return result;
}
