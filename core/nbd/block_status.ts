/**
 * `base:allocation`: from the data ranges of a volume to the extents of a BLOCK_STATUS reply.
 *
 * @module
 */
import type { ExportBackend } from "./backend.ts";
import { ExtentFlag } from "./constants.ts";
import {
  EXTENTS_MAX,
  STATUS_WINDOW_BYTES,
  STATUS_WINDOW_FACTOR,
  STATUS_WINDOW_RANGES,
} from "./nbd_limits.ts";

const DATA = 0;
const HOLE = ExtentFlag.HOLE | ExtentFlag.ZERO;

/** Consecutive extents from the offset that was asked for. */
export interface AllocationExtents {
  readonly lengths: number[];
  readonly flags: number[];
}

/**
 * The extents of [offset, offset + length), at least one of at least one byte, with neighbours that
 * differ. They may end before the range does: the client asks again from there. Looks at a window at
 * a time, which grows where there is little to tell, and asks for no more ranges than it can tell, so
 * that no call takes long.
 */
export function allocationExtents(
  backend: Pick<ExportBackend, "dataRanges">,
  offset: number,
  length: number,
  extentsMax: number = EXTENTS_MAX,
): AllocationExtents {
  const extents: AllocationExtents = { lengths: [], flags: [] };
  const end = offset + length;
  let windowBytes = STATUS_WINDOW_BYTES;
  let at = offset;
  while (at < end && extents.lengths.length <= extentsMax) {
    let windowEnd = Math.min(end, at + windowBytes);
    // Every range adds an extent at least, but for the first, which may go on with the one before.
    const rangesMax = extentsMax - extents.lengths.length + 2;
    const ranges = backend.dataRanges(at, windowEnd - at, rangesMax);
    const last = ranges.at(-1);
    if (last !== undefined && ranges.length >= rangesMax) windowEnd = Math.min(windowEnd, last.end);
    for (const range of ranges) {
      const start = Math.max(at, range.start);
      const stop = Math.min(windowEnd, range.end);
      if (stop <= start) continue;
      add(extents, start - at, HOLE);
      add(extents, stop - start, DATA);
      at = stop;
    }
    add(extents, windowEnd - at, HOLE);
    at = windowEnd;
    if (ranges.length < STATUS_WINDOW_RANGES) windowBytes *= STATUS_WINDOW_FACTOR;
  }
  // One more than asked for was gathered where there is one: all that are kept are whole.
  extents.lengths.splice(extentsMax);
  extents.flags.splice(extentsMax);
  return extents;
}

function add(extents: AllocationExtents, length: number, flags: number): void {
  if (length === 0) return;
  const last = extents.lengths.length - 1;
  if (extents.flags[last] === flags) {
    extents.lengths[last] = (extents.lengths[last] ?? 0) + length;
  } else {
    extents.lengths.push(length);
    extents.flags.push(flags);
  }
}
