/**
 * The one source of chance in the simulator: xoshiro128** (Blackman and Vigna), seeded through
 * SplitMix32.
 *
 * A generator is known by its key. {@linkcode Prng.fork} derives the key of a child from its
 * parent's and a label, never from what the parent has drawn so far: an added draw in one part of the
 * simulator does not shift the chances of all others, so seeds stay comparable across changes.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { assert } from "../../core/assert.ts";

/** A seeded generator. Not for secrets. */
export class Prng {
  readonly #key: number;
  #a: number;
  #b: number;
  #c: number;
  #d: number;

  /** `seed`: any integer; its low 32 bits count. */
  constructor(seed: number) {
    this.#key = seed >>> 0;
    let state = this.#key;
    const split = () => {
      state = (state + 0x9e3779b9) >>> 0;
      return mix(state);
    };
    [this.#a, this.#b, this.#c, this.#d] = [split(), split(), split(), split() | 1];
  }

  /** A generator of its own for the part named `label`. The same label gives the same one again. */
  fork(label: string): Prng {
    return new Prng(mix(this.#key ^ mix(crc32(label) + 0x7f4a7c15)));
  }

  /** An integer in [0, 2^32). */
  next(): number {
    const five = Math.imul(this.#b, 5);
    const result = Math.imul((five << 7) | (five >>> 25), 9) >>> 0;
    const shifted = this.#b << 9;
    this.#c ^= this.#a;
    this.#d ^= this.#b;
    this.#b ^= this.#c;
    this.#a ^= this.#d;
    this.#c ^= shifted;
    this.#d = (this.#d << 11) | (this.#d >>> 21);
    return result;
  }

  /** A number in [0, 1), of 32 bits. */
  fraction(): number {
    return this.next() / 0x1_0000_0000;
  }

  /** An integer in [0, end). */
  below(end: number): number {
    assert(end > 0, "there is something to choose from");
    return Math.floor(this.fraction() * end);
  }

  /** An integer in [min, max]. */
  between(min: number, max: number): number {
    return min + this.below(max - min + 1);
  }

  /** True with probability `p`. */
  chance(p: number): boolean {
    return this.fraction() < p;
  }

  pick<T>(list: readonly T[]): T {
    const item = list[this.below(list.length)];
    assert(item !== undefined, "a choice is one of the list");
    return item;
  }

  /** A span whose mean is `mean`, mostly short and now and then long. */
  exponential(mean: number): number {
    return -mean * Math.log(1 - this.fraction());
  }

  fill(into: Uint8Array): void {
    for (let at = 0; at < into.length; at += 4) {
      let word = this.next();
      for (let i = at; i < Math.min(at + 4, into.length); i++) {
        into[i] = word & 0xff;
        word >>>= 8;
      }
    }
  }
}

/** The finalizer of MurmurHash3: every bit of the input reaches every bit of the output. */
function mix(value: number): number {
  let x = value >>> 0;
  x = Math.imul(x ^ (x >>> 16), 0x85ebca6b);
  x = Math.imul(x ^ (x >>> 13), 0xc2b2ae35);
  return (x ^ (x >>> 16)) >>> 0;
}
