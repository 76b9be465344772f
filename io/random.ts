/**
 * Randomness on Deno: the {@linkcode Random} port.
 *
 * @module
 */
import type { Bytes, Random } from "../core/ports.ts";

/** What the runtime gives in one call, in bytes. */
const CALL_BYTES_MAX = 65536;

/** The real randomness: cryptographically strong bytes. */
export class DenoRandom implements Random {
  bytes(count: number): Bytes {
    const bytes = new Uint8Array(count);
    for (let at = 0; at < count; at += CALL_BYTES_MAX) {
      crypto.getRandomValues(bytes.subarray(at, at + CALL_BYTES_MAX));
    }
    return bytes;
  }

  fraction(): number {
    return Math.random();
  }
}
