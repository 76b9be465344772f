/**
 * When was the record at an LSN made? A bounded list of samples (LSN, primary's time), thinned to
 * every other one when it is full, so that lag is told in seconds by the primary's clock alone.
 *
 * @module
 */

const SAMPLES_MAX = 512;
/** Samples closer together than this say nothing new. */
const STEP_MS = 20;

export class TimeIndex {
  #lsns: number[] = [];
  #timesMs: number[] = [];
  #stepMs = STEP_MS;

  /** Notes that the record that begins at `lsn` was made at `timeMs`; both only grow. */
  note(lsn: number, timeMs: number): void {
    const last = this.#lsns.length - 1;
    if (last >= 0 && timeMs - (this.#timesMs[last] ?? 0) < this.#stepMs) return;
    this.#lsns.push(lsn);
    this.#timesMs.push(timeMs);
    if (this.#lsns.length > SAMPLES_MAX) this.#thin();
  }

  #thin(): void {
    this.#lsns = this.#lsns.filter((_, index) => index % 2 === 0);
    this.#timesMs = this.#timesMs.filter((_, index) => index % 2 === 0);
    this.#stepMs *= 2;
  }

  /**
   * Age in seconds of the oldest record at or above `lsn`, at `nowMs` of the primary's clock; null
   * when it is not known (nothing was noted yet). `afterMs`: it is known to be made after that. The caller sees to "nothing missing is no lag".
   */
  ageSeconds(lsn: number, nowMs: number, afterMs = 0): number | null {
    if (this.#lsns.length === 0) return null;
    let low = 0;
    let high = this.#lsns.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#lsns[middle] ?? 0) <= lsn) low = middle + 1;
      else high = middle;
    }
    // The sample before: the record at `lsn` was made at or after it, within one step.
    const timeMs = Math.max(afterMs, this.#timesMs[Math.max(0, low - 1)] ?? nowMs);
    return Math.max(0, (nowMs - timeMs) / 1000);
  }
}
