/**
 * The blocks of a set as runs to be read from applied volumes: data where there is some, zeroes where
 * there are holes.
 *
 * @module
 */
import { RECORD_PAYLOAD_BYTES_MAX } from "../limits.ts";
import { RecordType } from "../log/record.ts";
import type { Bytes, DataRange } from "../ports.ts";
import type { BlockExtent, BlockSet } from "./block_set.ts";
import type { Run } from "./run.ts";

/** Data ranges that are asked for at once. */
const RANGES_MAX = 1024;
/** An extent of the set that is looked at in one go. */
const EXTENT_BYTES_MAX = 256 * 1024 * 1024;

/** A volume, as far as its applied image goes. */
export interface AppliedImage {
  appliedDataRanges(offset: number, length: number, rangesMax: number): DataRange[];
}

/** A volume whose blocks deltas are made of. */
export interface SourceVolume extends AppliedImage {
  readonly sizeBytes: number;
  readApplied(into: Bytes, offset: number): void;
}

/**
 * What remains of the set at or behind a place, ascending; an extent that spans it is cut. What is added
 * to the set behind the last run is met, what is added before it is not.
 */
export function* volumeRuns(
  set: BlockSet,
  volumes: readonly AppliedImage[],
  from = { volume: 0, offset: 0 },
): Generator<Run> {
  let { volume, offset } = from;
  for (;;) {
    const extent = set.next(volume, offset, EXTENT_BYTES_MAX);
    if (extent === null) return;
    const start = extent.volume === volume ? Math.max(extent.offset, offset) : extent.offset;
    const end = extent.offset + extent.length;
    const image = volumes[extent.volume];
    if (image === undefined) return;
    if (start < end) {
      yield* extentRuns(image, { volume: extent.volume, offset: start, length: end - start });
    }
    [volume, offset] = [extent.volume, end];
    const isLast = offset >= (set.sizes[volume] ?? 0);
    if (isLast) [volume, offset] = [volume + 1, 0];
  }
}

function* extentRuns(image: AppliedImage, { volume, offset, length }: BlockExtent): Generator<Run> {
  const end = offset + length;
  let at = offset;
  while (at < end) {
    const ranges = image.appliedDataRanges(at, end - at, RANGES_MAX);
    for (const range of ranges) {
      if (range.start > at) yield zeroRun(volume, at, range.start);
      yield* dataRuns(volume, Math.max(at, range.start), range.end);
      at = range.end;
    }
    if (ranges.length >= RANGES_MAX) continue;
    if (at < end) yield zeroRun(volume, at, end);
    return;
  }
}

function zeroRun(volume: number, start: number, end: number): Run {
  return {
    volume,
    offset: start,
    length: end - start,
    type: RecordType.ZERO,
    flags: 0,
    source: null,
  };
}

function* dataRuns(volume: number, start: number, end: number): Generator<Run> {
  for (let at = start; at < end; at += RECORD_PAYLOAD_BYTES_MAX) {
    const length = Math.min(RECORD_PAYLOAD_BYTES_MAX, end - at);
    yield { volume, offset: at, length, type: RecordType.WRITE, flags: 0, source: null };
  }
}
