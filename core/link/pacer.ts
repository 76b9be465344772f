/**
 * Keeps what is sent to a rate, smoothly: every piece has its time, and the next one comes as much
 * later as the piece takes at that rate. A line that was idle has saved nothing up. One that was held up
 * while there was something to send (a busy event loop, a slow peer) makes up for it, and is never much faster
 * than the rate meanwhile.
 *
 * @module
 */

/** One piece takes about so long at the rate: neither a burst, nor a timer for every packet. */
const PIECE_MS = 5;
const PIECE_BYTES_MIN = 4 * 1024;
const PIECE_BYTES_MAX = 256 * 1024;

/** What it was held up is made up for, as far as this, */
const LATE_MS_MAX = 2_000;
/** at so many times the rate. */
const HASTE = 1.25;

/** Timers are late by this as a rule: that is made up for at once. */
const TIMER_LATE_MS = 20;

/** Timers are no finer: what is due sooner goes at once, and counts all the same. */
const WAIT_MS_MIN = 1;

/** See the module's text. Times are those of a clock that never goes back, in ms. */
export class Pacer {
  #rate: number | null = null;
  /** When the next piece is due by the rate, and when at the earliest. */
  #dueMs = 0;
  #earliestMs = 0;
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
    const dueMs = Math.max(this.#dueMs, this.#isBusy ? nowMs - LATE_MS_MAX : nowMs);
    const earliestMs = Math.max(this.#earliestMs, this.#isBusy ? nowMs - TIMER_LATE_MS : nowMs);
    this.#isBusy = true;
    const takesMs = bytes * 1000 / this.#rate;
    this.#dueMs = dueMs + takesMs;
    this.#earliestMs = earliestMs + takesMs / HASTE;
    const waitMs = Math.max(dueMs, earliestMs) - nowMs;
    return waitMs < WAIT_MS_MIN ? 0 : waitMs;
  }

  /** There is nothing to send. */
  rest(): void {
    this.#isBusy = false;
  }
}
