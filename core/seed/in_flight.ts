/**
 * Runs pieces several at a time, in order of their beginnings, and knows up to where all are done.
 *
 * @module
 */
import type { Bytes, Clock } from "../ports.ts";
import type { Extent } from "./blocks.ts";

/** Work that meets no other event for so long lets the event loop go on: signals, timers. */
const TURN_MS = 20;

/** Buffers of one piece. */
export interface PieceBuffers {
  readonly left: Bytes;
  readonly right: Bytes;
}

/** What {@linkcode runPieces} is told. */
export interface RunOptions {
  readonly depth: number;
  readonly pieceBytes: number;
  /** Whether a second buffer is needed, for comparing. */
  readonly pairs: boolean;
  readonly clock: Clock;
  /** Looked at before each piece: true ends the run early, with what runs brought to its end. */
  readonly stopped: () => boolean;
  /** Called when all below `offset` is done, in growing order. */
  readonly doneTo: (offset: number) => void;
}

/**
 * Calls `work` for each piece. Throws what the first failing piece threw, after all others have
 * ended: nothing is written any more when it returns. Returns whether it went to the end.
 */
export async function runPieces(
  pieces: AsyncIterable<Extent>,
  work: (piece: Extent, buffers: PieceBuffers) => Promise<void>,
  options: RunOptions,
): Promise<boolean> {
  const free: PieceBuffers[] = [];
  for (let i = 0; i < options.depth; i++) {
    free.push({
      left: new Uint8Array(options.pieceBytes),
      right: new Uint8Array(options.pairs ? options.pieceBytes : 0),
    });
  }
  const running: { end: number; done: boolean }[] = [];
  const failures: unknown[] = [];
  let wake: () => void = () => {};
  let turnMs = options.clock.monotonicMs();
  const start = async (piece: Extent, buffers: PieceBuffers) => {
    const own = { end: piece.end, done: false };
    running.push(own);
    try {
      await work(piece, buffers);
      own.done = true;
      // A failed piece stays at the head, so that nothing behind it ever counts as done.
      while (running[0]?.done === true) options.doneTo(running.shift()!.end);
    } catch (error) {
      failures.push(error);
    }
    free.push(buffers);
    wake();
  };
  let stopped = false;
  try {
    for await (const piece of pieces) {
      while (free.length === 0) await new Promise<void>((resolve) => wake = resolve);
      if (options.clock.monotonicMs() - turnMs > TURN_MS) {
        await new Promise<void>((go) => options.clock.soon(go));
        turnMs = options.clock.monotonicMs();
      }
      stopped = options.stopped();
      if (stopped || failures.length > 0) break;
      void start(piece, free.pop()!);
    }
  } catch (error) {
    failures.push(error);
  }
  while (free.length < options.depth) await new Promise<void>((resolve) => wake = resolve);
  if (failures.length > 0) throw failures[0];
  return !stopped;
}
