/**
 * What of a volume is read by a scan: pieces of data, around the holes.
 *
 * @module
 */
import type { DataRange, DiskFile } from "../ports.ts";
import { SCAN_BLOCK_BYTES_MAX } from "./block_digest.ts";

/** One piece: little enough to share out evenly, and much for one message to a worker and back. */
export const PIECE_BYTES = 8 * 1024 * 1024;
/** Smaller holes are read along: to read zeroes from the page cache costs less than another piece. */
const GAP_BYTES = 512 * 1024;
/** Holes are not asked for in less than this. */
const ASK_BYTES_MIN = 256 * 1024;
/** Asked of the file in one go. */
const RANGES = 256;

/**
 * The pieces of [0, sizeBytes) that may hold data, in order; each begins at a block of any size and lies
 * within one stretch of {@linkcode PIECE_BYTES}. All else is a hole.
 */
export function* dataPieces(
  file: Pick<DiskFile, "dataRanges">,
  sizeBytes: number,
): Generator<DataRange> {
  let open: DataRange | null = null;
  for (const range of dataRanges(file, sizeBytes)) {
    const start = Math.floor(range.start / SCAN_BLOCK_BYTES_MAX) * SCAN_BLOCK_BYTES_MAX;
    const up = Math.ceil(range.end / SCAN_BLOCK_BYTES_MAX) * SCAN_BLOCK_BYTES_MAX;
    const end = Math.min(sizeBytes, up);
    if (open !== null && start - open.end < GAP_BYTES) {
      open = { start: open.start, end: Math.max(open.end, end) };
    } else {
      if (open !== null) yield* cut(open);
      open = { start, end };
    }
    // What is known to be whole is not kept back: a stretch without holes may be the whole volume.
    const whole: number = open.end - open.end % PIECE_BYTES;
    if (whole > open.start && whole < open.end) {
      yield* cut({ start: open.start, end: whole });
      open = { start: whole, end: open.end };
    }
  }
  if (open !== null) yield* cut(open);
}

function* cut({ start, end }: DataRange): Generator<DataRange> {
  for (let at = start; at < end;) {
    const stop = Math.min(end, (Math.floor(at / PIECE_BYTES) + 1) * PIECE_BYTES);
    yield { start: at, end: stop };
    at = stop;
  }
}

function* dataRanges(file: Pick<DiskFile, "dataRanges">, sizeBytes: number): Generator<DataRange> {
  for (let at = 0; at < sizeBytes;) {
    const ranges = file.dataRanges(at, sizeBytes - at, RANGES);
    yield* ranges;
    const last = ranges.at(-1);
    if (last === undefined || ranges.length < RANGES) return;
    at = last.end;
  }
}

/** What {@linkcode alignedRanges} is asked. */
export interface RangesWanted {
  readonly offset: number;
  readonly length: number;
  /** At least 1. */
  readonly rangesMax: number;
  readonly blockBytes: number;
}

/**
 * As `DiskFile.dataRanges`, in whole blocks of the volume, and never beyond what was asked for; may be
 * more than `rangesMax`.
 */
export function alignedRanges(
  file: Pick<DiskFile, "dataRanges">,
  { offset, length, rangesMax, blockBytes }: RangesWanted,
): DataRange[] {
  // Little is read, and seen to be zeroes, for less than it costs to ask.
  if (length <= ASK_BYTES_MIN) return [{ start: offset, end: offset + length }];
  const ranges: DataRange[] = [];
  const stop = offset + length;
  for (let at = offset; at < stop;) {
    const found = file.dataRanges(at, stop - at, rangesMax);
    for (const range of found) {
      const start = Math.max(offset, Math.floor(range.start / blockBytes) * blockBytes);
      const end = Math.min(stop, Math.ceil(range.end / blockBytes) * blockBytes);
      const last = ranges.at(-1);
      if (last === undefined || start > last.end) ranges.push({ start, end });
      else ranges[ranges.length - 1] = { start: last.start, end: Math.max(end, last.end) };
    }
    // Ranges that share a block became one: there may be more behind them.
    if (found.length < rangesMax || ranges.length >= rangesMax) break;
    at = found.at(-1)?.end ?? stop;
  }
  return ranges;
}
