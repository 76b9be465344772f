/**
 * The memory tail: the most recent bytes of the log in a ring, addressed by LSN.
 *
 * Records may be built in the ring itself, and applied from there, so that a large payload is copied
 * once between the client's socket and the page cache.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { LOG_TAIL_BYTES } from "../limits.ts";
import type { Bytes } from "../ports.ts";

export class LogTail {
  readonly #ring: Bytes;
  #startLsn: number;
  #endLsn: number;

  /** A ring of at most `bytesMax`, empty, for a log that ends at `endLsn`. */
  constructor(bytesMax: number, endLsn: number) {
    this.#ring = new Uint8Array(Math.min(LOG_TAIL_BYTES, bytesMax));
    this.#startLsn = endLsn;
    this.#endLsn = endLsn;
  }

  /**
   * Where the next `bytes` of the log are to be built, to be given to `append` when they are
   * complete; null where the ring has no such room in one piece. The oldest bytes go for it.
   */
  space(bytes: number): Bytes | null {
    const size = this.#ring.length;
    const at = this.#endLsn % size;
    if (at + bytes > size) return null;
    this.#startLsn = Math.min(this.#endLsn, Math.max(this.#startLsn, this.#endLsn + bytes - size));
    return this.#ring.subarray(at, at + bytes);
  }

  /** Takes the bytes that were appended to the log. */
  append(bytes: Uint8Array): void {
    if (bytes.buffer === this.#ring.buffer) return this.#takeBuilt(bytes);
    const size = this.#ring.length;
    const kept = bytes.length > size ? bytes.subarray(bytes.length - size) : bytes;
    this.#endLsn += bytes.length;
    const at = (this.#endLsn - kept.length) % size;
    const first = Math.min(kept.length, size - at);
    this.#ring.set(kept.subarray(0, first), at);
    if (first < kept.length) this.#ring.set(kept.subarray(first), 0);
    this.#startLsn = Math.max(this.#startLsn, this.#endLsn - size);
  }

  /** Bytes that were built where they belong. */
  #takeBuilt(bytes: Uint8Array): void {
    assert(bytes.byteOffset === this.#endLsn % this.#ring.length, "built where it belongs");
    this.#endLsn += bytes.length;
    this.#startLsn = Math.max(this.#startLsn, this.#endLsn - this.#ring.length);
  }

  /**
   * The bytes from `lsn` on, at most `bytesMax` and as far as they lie in one piece; null when `lsn`
   * is not here. Valid until the next append.
   */
  view(lsn: number, bytesMax: number): Bytes | null {
    if (lsn < this.#startLsn || lsn >= this.#endLsn) return null;
    const at = lsn % this.#ring.length;
    const length = Math.min(bytesMax, this.#endLsn - lsn, this.#ring.length - at);
    return this.#ring.subarray(at, at + length);
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

  /** The log goes on at `lsn`: what is here is from before a gap, and goes. */
  jump(lsn: number): void {
    this.#startLsn = this.#endLsn = lsn;
  }

  /** The log was cut back to `lsn`. */
  cutBack(lsn: number): void {
    this.#endLsn = lsn;
    this.#startLsn = Math.min(this.#startLsn, lsn);
  }
}
