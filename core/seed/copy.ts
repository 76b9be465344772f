/**
 * The copier: from a source to a target of the same size, with bounded memory, several pieces in
 * flight, zeroes as holes, and (on request) only what differs.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { Bytes, Clock } from "../ports.ts";
import type { BlockSource, BlockTarget, Extent } from "./blocks.ts";
import { type PieceBuffers, runPieces } from "./in_flight.ts";
import { pieces } from "./pieces.ts";
import { differentRuns, zeroRuns } from "./runs.ts";

/** How far a seed is. All in bytes of the volume; they add up to what is behind. */
export interface Progress {
  /** All below is as in the source. */
  doneBytes: number;
  /** Written as data. */
  writtenBytes: number;
  /** Made to read as zeroes, or left as the zeroes that they were. */
  zeroBytes: number;
  /** Left alone, for both sides were equal. */
  equalBytes: number;
}

/** What {@linkcode copy} is told. */
export interface CopyOptions {
  readonly clock: Clock;
  /** Where to begin: all below is done. A multiple of both sides' grains. */
  readonly startBytes: number;
  /** Read the target as well, and write only what differs. */
  readonly compare: boolean;
  readonly stopped: () => boolean;
  /** Updated as it goes. */
  readonly progress: Progress;
  /** Called as {@linkcode Progress.doneBytes} grows. */
  readonly onDone: (doneBytes: number) => void;
}

/** Copies; does not flush. Returns false when it was stopped before the end. */
export async function copy(
  source: BlockSource,
  target: BlockTarget,
  options: CopyOptions,
): Promise<boolean> {
  assert(source.sizeBytes === target.sizeBytes, "both sides have one size");
  const grainBytes = grainOf(source, target);
  const pieceBytes = pieceOf(source, target);
  const { progress } = options;
  const work = (piece: Extent, buffers: PieceBuffers) =>
    piece.zero
      ? zeroRange(target, piece, grainBytes, progress)
      : copyPiece(source, target, piece, buffers, { ...options, grainBytes });
  return await runPieces(pieces(source, options.startBytes, pieceBytes, grainBytes), work, {
    depth: Math.max(source.depth, target.depth),
    pieceBytes,
    pairs: options.compare,
    clock: options.clock,
    stopped: options.stopped,
    doneTo(offset) {
      progress.doneBytes = offset;
      options.onDone(offset);
    },
  });
}

/** The grain that suits both sides. */
export function grainOf(source: BlockSource, target: BlockSource): number {
  return Math.max(source.grainBytes, target.grainBytes);
}

/** The largest piece that both sides take, in whole grains. */
export function pieceOf(source: BlockSource, target: BlockSource): number {
  const grain = grainOf(source, target);
  const bytes = Math.min(source.pieceBytesMax, target.pieceBytesMax);
  return Math.max(grain, bytes - bytes % grain);
}

async function copyPiece(
  source: BlockSource,
  target: BlockTarget,
  piece: Extent,
  buffers: PieceBuffers,
  { compare, grainBytes, progress }: CopyOptions & { grainBytes: number },
): Promise<void> {
  const length = piece.end - piece.start;
  const bytes = buffers.left.subarray(0, length);
  if (!compare) {
    await source.read(bytes, piece.start);
    return await put(target, bytes, piece.start, grainBytes, progress);
  }
  const old = buffers.right.subarray(0, length);
  await both(source.read(bytes, piece.start), target.read(old, piece.start));
  for (const run of differentRuns(bytes, old, grainBytes)) {
    if (!run.yes) progress.equalBytes += run.end - run.start;
    else {
      const part = bytes.subarray(run.start, run.end);
      await put(target, part, piece.start + run.start, grainBytes, progress);
    }
  }
}

/** Waits for both, also when one fails: its memory is in use until then. */
async function both(one: Promise<void>, other: Promise<void>): Promise<void> {
  const results = await Promise.allSettled([one, other]);
  for (const result of results) if (result.status === "rejected") throw result.reason;
}

async function put(
  target: BlockTarget,
  bytes: Bytes,
  offset: number,
  grainBytes: number,
  progress: Progress,
): Promise<void> {
  for (const run of zeroRuns(bytes, grainBytes)) {
    const start = offset + run.start;
    const end = offset + run.end;
    if (run.yes) await zeroRange(target, { start, end, zero: true }, grainBytes, progress);
    else {
      const isAll = run.end - run.start === bytes.length;
      await target.write(isAll ? bytes : bytes.subarray(run.start, run.end), start);
      progress.writtenBytes += end - start;
    }
  }
}

/** Leaves alone what is a hole already: to make one costs more than to ask. */
async function zeroRange(
  target: BlockTarget,
  { start, end }: Extent,
  grainBytes: number,
  progress: Progress,
): Promise<void> {
  for (const extent of await target.extents(start, end - start)) {
    if (extent.zero) continue;
    // To whole grains: what is beside it within the range reads as zero already.
    const first = Math.max(start, Math.floor(extent.start / grainBytes) * grainBytes);
    const last = Math.min(end, Math.ceil(extent.end / grainBytes) * grainBytes);
    await target.zero(first, last - first);
  }
  progress.zeroBytes += end - start;
}
