/**
 * The blocks of a set as runs to be read from applied volumes: data where there is some, zeroes where
 * there are holes.
 *
 * @module
 */
import { RECORD_PAYLOAD_BYTES_MAX } from "../limits.ts";
import { RecordType } from "../log/record.ts";
import type { Bytes, DataRange } from "../ports.ts";
import type { BlockSet } from "./block_set.ts";
import type { Run } from "./run.ts";

/** Data ranges that are asked for at once. */
const RANGES_MAX = 1024;
/** An extent of the set that is looked at in one go. */
const EXTENT_BYTES_MAX = 256 * 1024 * 1024;
/**
 * Ranges are asked for so far ahead: to find the end of one, a file system may go over all that a file has,
 * which is too much for every block of a set.
 */
const AHEAD_BYTES = 64 * 1024 * 1024;

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
 * to the set behind the last run is met, what is added before it is not. Data and holes are as they were
 * at some moment since the first run.
 */
export function* volumeRuns(
  set: BlockSet,
  volumes: readonly AppliedImage[],
  from = { volume: 0, offset: 0 },
): Generator<Run> {
  let { volume, offset } = from;
  let ahead = null as RangesAhead | null;
  for (;;) {
    const extent = set.next(volume, offset, EXTENT_BYTES_MAX);
    if (extent === null) return;
    const start = extent.volume === volume ? Math.max(extent.offset, offset) : extent.offset;
    const end = extent.offset + extent.length;
    const image = volumes[extent.volume];
    if (image === undefined) return;
    if (ahead?.volume !== extent.volume) {
      ahead = new RangesAhead(image, extent.volume, set.sizes[extent.volume] ?? end);
    }
    if (start < end) yield* extentRuns(ahead, start, end);
    [volume, offset] = [extent.volume, end];
    const isLast = offset >= (set.sizes[volume] ?? 0);
    if (isLast) [volume, offset] = [volume + 1, 0];
  }
}

function* extentRuns(ahead: RangesAhead, start: number, end: number): Generator<Run> {
  const { volume } = ahead;
  for (let at = start; at < end;) {
    const range = ahead.at(at);
    const data = Math.min(end, range?.start ?? ahead.knownTo);
    if (data > at) yield zeroRun(volume, at, data);
    at = Math.max(at, data);
    if (range === null || at >= end) continue;
    const stop = Math.min(end, range.end);
    yield* dataRuns(volume, at, stop);
    at = stop;
  }
}

/** The data ranges of a volume, asked for ahead, looked up in ascending order. */
class RangesAhead {
  readonly volume: number;
  readonly #image: AppliedImage;
  readonly #sizeBytes: number;
  #ranges: readonly DataRange[] = [];
  #index = 0;
  #knownTo = 0;

  constructor(image: AppliedImage, volume: number, sizeBytes: number) {
    this.#image = image;
    this.volume = volume;
    this.#sizeBytes = sizeBytes;
  }

  /** What was asked for reaches to here. */
  get knownTo(): number {
    return this.#knownTo;
  }

  /** The first range that ends behind `offset`; null: there is none below {@linkcode knownTo}. */
  at(offset: number): DataRange | null {
    if (offset >= this.#knownTo) this.#ask(offset);
    while ((this.#ranges[this.#index]?.end ?? Infinity) <= offset) this.#index++;
    return this.#ranges[this.#index] ?? null;
  }

  #ask(offset: number): void {
    const length = Math.min(AHEAD_BYTES, this.#sizeBytes - offset);
    this.#ranges = this.#image.appliedDataRanges(offset, length, RANGES_MAX);
    this.#index = 0;
    const isAll = this.#ranges.length < RANGES_MAX;
    this.#knownTo = isAll ? offset + length : this.#ranges.at(-1)?.end ?? offset + length;
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
