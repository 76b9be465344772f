/**
 * Looking without writing: whether a target is blank, and where two sides differ.
 *
 * @module
 */
import type { Clock } from "../ports.ts";
import type { BlockSource, Extent } from "./blocks.ts";
import { grainOf, pieceOf } from "./copy.ts";
import { runPieces } from "./in_flight.ts";
import { pieces } from "./pieces.ts";
import { differentRuns, isZero } from "./runs.ts";

/** What is told of a look as it goes. */
export interface LookOptions {
  readonly clock: Clock;
  readonly stopped: () => boolean;
  readonly onDone: (doneBytes: number) => void;
}

/** A range in which two sides differ. */
export interface Difference {
  readonly start: number;
  readonly end: number;
  /** The first byte that differs. */
  readonly firstByte: number;
}

/** The offset of a grain that is not zero, or null when all of it reads as zeroes (or it was stopped). */
export async function firstData(source: BlockSource, options: LookOptions): Promise<number | null> {
  let found: number | null = null;
  const order = pieces(source, 0, source.pieceBytesMax, source.grainBytes);
  await runPieces(order, async (piece, { left }) => {
    if (piece.zero) return;
    const bytes = left.subarray(0, piece.end - piece.start);
    await source.read(bytes, piece.start);
    if (!isZero(bytes)) found = Math.min(found ?? piece.start, piece.start);
  }, {
    ...options,
    depth: source.depth,
    pieceBytes: source.pieceBytesMax,
    pairs: false,
    doneTo: options.onDone,
    stopped: () => found !== null || options.stopped(),
  });
  return found;
}

/**
 * The first range that differs, in whole grains; null when both sides are equal. Stops at the first
 * piece that holds a difference. `undefined`: stopped before the end.
 */
export async function firstDifference(
  source: BlockSource,
  target: BlockSource,
  options: LookOptions,
): Promise<Difference | null | undefined> {
  const grain = grainOf(source, target);
  const found: Difference[] = [];
  const look = async (
    piece: Extent,
    buffers: { left: Uint8Array<ArrayBuffer>; right: Uint8Array<ArrayBuffer> },
  ) => {
    const length = piece.end - piece.start;
    if (piece.zero && (await target.extents(piece.start, length)).every((extent) => extent.zero)) {
      return;
    }
    for (let at = piece.start; at < piece.end; at += buffers.left.length) {
      const count = Math.min(buffers.left.length, piece.end - at);
      const left = buffers.left.subarray(0, count);
      const right = buffers.right.subarray(0, count);
      const results = await Promise.allSettled([source.read(left, at), target.read(right, at)]);
      for (const result of results) if (result.status === "rejected") throw result.reason;
      const run = differentRuns(left, right, grain).find(({ yes }) => yes);
      if (run === undefined) continue;
      let byte = run.start;
      while (left[byte] === right[byte]) byte++;
      found.push({ start: at + run.start, end: at + run.end, firstByte: at + byte });
      return;
    }
  };
  const pieceBytes = pieceOf(source, target);
  const whole = await runPieces(pieces(source, 0, pieceBytes, grain), look, {
    ...options,
    depth: Math.max(source.depth, target.depth),
    pieceBytes,
    pairs: true,
    doneTo: options.onDone,
    stopped: () => found.length > 0 || options.stopped(),
  });
  const first = found.reduce<Difference | null>(
    (least, each) => least === null || each.start < least.start ? each : least,
    null,
  );
  return first === null && !whole ? undefined : first;
}

/** Looked at before a copy goes on: a target that was made anew under the same name is found out. */
const SAMPLES = 16;

/** Whether both sides are equal at some places below `end`. */
export async function isAsInSource(
  source: BlockSource,
  target: BlockSource,
  end: number,
): Promise<boolean> {
  const grain = grainOf(source, target);
  const left = new Uint8Array(grain);
  const right = new Uint8Array(grain);
  for (let i = 1; i <= SAMPLES && end > 0; i++) {
    const at = Math.floor(Math.max(0, end * i / SAMPLES - 1) / grain) * grain;
    const length = Math.min(grain, end - at);
    await source.read(left.subarray(0, length), at);
    await target.read(right.subarray(0, length), at);
    const [run] = differentRuns(left.subarray(0, length), right.subarray(0, length), grain);
    if (run?.yes === true) return false;
  }
  return true;
}
