/**
 * A worker that compresses: bytes and a level come, and what they became goes, in the order of the questions.
 *
 * @module
 */
import { compressHere } from "../core/link/packing.ts";
import type { Bytes } from "../core/ports.ts";

/** To the worker. */
export interface ToZstdWorker {
  readonly bytes: Bytes;
  readonly level: number;
}

/** What of the global scope of a worker is used here. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToZstdWorker>) => void) | null;
  postMessage(message: Bytes, transfer: ArrayBuffer[]): void;
}

const scope = globalThis as unknown as WorkerScope;

scope.onmessage = ({ data: { bytes, level } }) => {
  // A copy of its own: what the library returns may be a part of something larger.
  const packed = Uint8Array.from(compressHere(bytes, level));
  scope.postMessage(packed, [packed.buffer]);
};
