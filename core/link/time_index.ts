/**
 * When was the record at an LSN made? A bounded list of samples (LSN, primary's time), so that lag
 * is told in seconds by the primary's clock alone. Samples are thinned by their age: the older they
 * are, the further apart, so that an age is told to within a few percent, however long a node runs.
 *
 * @module
 */

const SAMPLES_MAX = 1024;
/** Samples closer together than this say nothing new. */
const STEP_MS = 20;
/** Of two samples closer together than this part of their age, one goes. About 600 stay in a year. */
const AGE_PARTS = 32;

export class TimeIndex {
  #lsns: number[] = [];
  #timesMs: number[] = [];

  /** Samples that are kept. */
  get sampleCount(): number {
    return this.#lsns.length;
  }

  /**
   * Notes that the record that begins at `lsn` was made at `timeMs`; both only grow, but where a
   * log was cut back: what was noted of the tail is then forgotten.
   */
  note(lsn: number, timeMs: number): void {
    while ((this.#lsns.at(-1) ?? -1) >= lsn) {
      this.#lsns.pop();
      this.#timesMs.pop();
    }
    const lastMs = this.#timesMs.at(-1);
    if (lastMs !== undefined && timeMs - lastMs < STEP_MS) return;
    this.#lsns.push(lsn);
    this.#timesMs.push(timeMs);
    if (this.#lsns.length > SAMPLES_MAX) this.#thin(timeMs);
  }

  #thin(nowMs: number): void {
    let keptMs = -Infinity;
    const kept = this.#timesMs.map((timeMs) => {
      if (timeMs - keptMs < Math.max(STEP_MS, (nowMs - timeMs) / AGE_PARTS)) return false;
      keptMs = timeMs;
      return true;
    });
    this.#lsns = this.#lsns.filter((_, index) => kept[index] === true);
    this.#timesMs = this.#timesMs.filter((_, index) => kept[index] === true);
  }

  /**
   * Age in seconds of the oldest record at or above `lsn`, at `nowMs` of the primary's clock; null
   * when it is not known (nothing was noted yet). `afterMs`: it is known to be made after that.
   * The caller sees to "nothing missing is no lag".
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
