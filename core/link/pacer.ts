/**
 * Keeps what is sent to a rate, smoothly: every piece has its time, and the next one comes as much
 * later as the piece takes at that rate. A line that was idle has saved nothing up; one that was
 * busy makes up for timers that were late, up to a bound.
 *
 * @module
 */

/** One piece takes about so long at the rate: neither a burst, nor a timer for every packet. */
const PIECE_MS = 5;
const PIECE_BYTES_MIN = 4 * 1024;
const PIECE_BYTES_MAX = 256 * 1024;

/** What a busy event loop may be late, and is made up for. */
const LATE_MS_MAX = 100;

/** Timers are no finer: what is due sooner goes at once, and counts all the same. */
const WAIT_MS_MIN = 1;

/** See the module's text. Times are those of a clock that never goes back, in ms. */
export class Pacer {
  #rate: number | null = null;
  #nextMs = 0;
  #isBusy = false;

  /** Bytes a second; null: no limit. */
  get rate(): number | null {
    return this.#rate;
  }

  set rate(rate: number | null) {
    this.#rate = rate;
  }

  /** Sent in one go at the most. */
  get pieceBytes(): number {
    if (this.#rate === null) return Infinity;
    const bytes = Math.round(this.#rate * PIECE_MS / 1000);
    return Math.max(PIECE_BYTES_MIN, Math.min(bytes, PIECE_BYTES_MAX));
  }

  /** Counts a piece that is about to be sent; how long it has to wait before, in ms. */
  take(bytes: number, nowMs: number): number {
    if (this.#rate === null) return 0;
    const earliestMs = this.#isBusy ? nowMs - LATE_MS_MAX : nowMs;
    this.#isBusy = true;
    const atMs = Math.max(this.#nextMs, earliestMs);
    this.#nextMs = atMs + bytes * 1000 / this.#rate;
    return atMs - nowMs < WAIT_MS_MIN ? 0 : atMs - nowMs;
  }

  /** There is nothing to send. */
  rest(): void {
    this.#isBusy = false;
  }
}
