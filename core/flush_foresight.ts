/**
 * Foresees that a client will ask for a flush: databases and journals write a little and flush it,
 * again and again. Where that has been so a few times, the flush is begun as soon as the write is
 * answered, and most of it has passed when the client asks.
 *
 * @module
 */

/** Writes in a row that were flushed before the next, after which a flush is foreseen. */
const ENOUGH = 4;
const SCORE_MAX = 16;
/** What one write costs that no flush followed: as many flushes must prove to be wanted again. */
const COST = 4;

/** See the module's text. It foresees for all clients of a node together. */
export class FlushForesight {
  #score = 0;
  /** Batches that were written since the last flush that a client asked for. */
  #batches = 0;

  /** A batch was written: true when a flush will probably be asked for next. */
  wrote(): boolean {
    if (this.#batches > 0) this.#score = Math.max(0, this.#score - COST);
    this.#batches++;
    return this.#batches > 0 && this.#score >= ENOUGH;
  }

  /** A client asked for a flush; `staged`: together with a batch that is yet to be written. */
  flushed(staged: boolean): void {
    if (this.#batches === 1) this.#score = Math.min(SCORE_MAX, this.#score + 1);
    this.#batches = staged ? -1 : 0;
  }
}
