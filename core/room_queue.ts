/**
 * Those who wait for room in the log, in the order in which they came.
 *
 * @module
 */
import type { Pipeline } from "./pipeline.ts";

interface Waiter {
  readonly bytes: number;
  readonly wanted: () => boolean;
  readonly go: () => void;
}

export class RoomQueue {
  readonly #pipeline: Pipeline;
  #waiters: Waiter[] = [];

  constructor(pipeline: Pipeline) {
    this.#pipeline = pipeline;
  }

  /** Settles once `bytes` can be appended; forgotten once `wanted` is false. */
  wait(bytes: number, wanted: () => boolean): Promise<void> {
    return new Promise((go) => this.#waiters.push({ bytes, wanted, go }));
  }

  /** Room may have been made. Cheap when nobody waits. */
  wake(): void {
    if (this.#waiters.length === 0) return;
    this.#waiters = this.#waiters.filter(({ bytes, wanted, go }) => {
      if (!wanted()) return false;
      if (!this.#pipeline.accepts(bytes)) return true;
      go();
      return false;
    });
  }
}
