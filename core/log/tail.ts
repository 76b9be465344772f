/**
 * The memory tail: the most recent bytes of the log in a ring, addressed by LSN.
 *
 * @module
 */
import { LOG_TAIL_BYTES } from "../limits.ts";

export class LogTail {
  readonly #ring: Uint8Array;
  #startLsn: number;
  #endLsn: number;

  /** A ring of at most `bytesMax`, empty, for a log that ends at `endLsn`. */
  constructor(bytesMax: number, endLsn: number) {
    this.#ring = new Uint8Array(Math.min(LOG_TAIL_BYTES, bytesMax));
    this.#startLsn = endLsn;
    this.#endLsn = endLsn;
  }

  /** Takes the bytes that were appended to the log. */
  append(bytes: Uint8Array): void {
    const size = this.#ring.length;
    const kept = bytes.length > size ? bytes.subarray(bytes.length - size) : bytes;
    this.#endLsn += bytes.length;
    const at = (this.#endLsn - kept.length) % size;
    const first = Math.min(kept.length, size - at);
    this.#ring.set(kept.subarray(0, first), at);
    if (first < kept.length) this.#ring.set(kept.subarray(first), 0);
    this.#startLsn = Math.max(this.#startLsn, this.#endLsn - size);
  }

  /** Fills `into` from `lsn` when all of it is here; else false. */
  read(lsn: number, into: Uint8Array): boolean {
    if (lsn < this.#startLsn || lsn + into.length > this.#endLsn) return false;
    const size = this.#ring.length;
    const at = lsn % size;
    const first = Math.min(into.length, size - at);
    into.set(this.#ring.subarray(at, at + first), 0);
    if (first < into.length) into.set(this.#ring.subarray(0, into.length - first), first);
    return true;
  }

  /** The log was cut back to `lsn`. */
  cutBack(lsn: number): void {
    this.#endLsn = lsn;
    this.#startLsn = Math.min(this.#startLsn, lsn);
  }
}
