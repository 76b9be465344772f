/**
 * The order of a seed: a volume as pieces, each either data to look at or a run of zeroes.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { BlockSource, Extent } from "./blocks.ts";

/** Extents are asked for in windows: bounds what a fragmented volume makes us keep. */
const WINDOW_BYTES = 64 * 1024 * 1024;

/** The pieces of `source` from `start` on: data in pieces of `pieceBytes` at most, zeroes whole. */
export async function* pieces(
  source: BlockSource,
  start: number,
  pieceBytes: number,
  grainBytes: number,
): AsyncGenerator<Extent> {
  assert(pieceBytes % grainBytes === 0 && start % grainBytes === 0, "pieces begin at grains");
  for (let window = start; window < source.sizeBytes; window += WINDOW_BYTES) {
    const end = Math.min(window + WINDOW_BYTES, source.sizeBytes);
    const extents = await source.extents(window, end - window);
    checkCover(extents, window, end);
    for (const { start, end: stop, zero } of alignExtents(extents, grainBytes)) {
      const step = zero ? WINDOW_BYTES : pieceBytes;
      for (let at = start; at < stop; at += step) {
        yield { start: at, end: Math.min(at + step, stop), zero };
      }
    }
  }
}

/** Whoever tells of extents tells of all: a gap would be a hole in the copy. */
function checkCover(extents: readonly Extent[], start: number, end: number): void {
  let at = start;
  for (const extent of extents) {
    assert(extent.start === at && extent.end > at, "extents follow each other");
    at = extent.end;
  }
  assert(at === end, "extents cover what was asked");
}

/** Moves borders to grains (data grows, zeroes shrink) and merges neighbours of one kind. */
export function alignExtents(extents: readonly Extent[], grainBytes: number): Extent[] {
  const result: Extent[] = [];
  const end = extents.at(-1)?.end ?? 0;
  let at = extents[0]?.start ?? 0;
  const push = (stop: number, zero: boolean) => {
    if (stop <= at) return;
    const before = result.at(-1);
    if (before?.zero === zero) result[result.length - 1] = { ...before, end: stop };
    else result.push({ start: at, end: stop, zero });
    at = stop;
  };
  for (const extent of extents) {
    if (!extent.zero) {
      push(Math.min(end, Math.ceil(extent.end / grainBytes) * grainBytes), false);
      continue;
    }
    // The first grain that is zero as a whole; what lies before it goes with the data.
    push(Math.min(end, Math.ceil(Math.min(extent.start, end) / grainBytes) * grainBytes), false);
    push(extent.end === end ? end : Math.floor(extent.end / grainBytes) * grainBytes, true);
    if (at < extent.end) push(Math.min(end, at + grainBytes), false);
  }
  return result;
}
