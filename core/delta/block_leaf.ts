/**
 * One leaf of a block set: which of up to 32,768 neighbouring blocks are in it. A leaf with all of its
 * blocks keeps no bitmap, so that a long run costs nothing.
 *
 * @module
 */
import { assert } from "../assert.ts";

/** Blocks that one leaf covers. */
export const LEAF_BLOCKS = 32_768;
/** Bytes of a leaf's bitmap. */
export const LEAF_BYTES = LEAF_BLOCKS / 8;

/** A bitmap with its count; positions and ends are blocks within the leaf. */
export class BlockLeaf {
  /** How many blocks exist here: less than {@linkcode LEAF_BLOCKS} only at a volume's end. */
  readonly capacity: number;
  #words: Uint32Array<ArrayBuffer> | null = new Uint32Array(LEAF_BLOCKS / 32);
  #count = 0;

  constructor(capacity: number) {
    assert(capacity >= 1 && capacity <= LEAF_BLOCKS, "a leaf has 1 to 32768 blocks");
    this.capacity = capacity;
  }

  /** Blocks that are in the set. */
  get count(): number {
    return this.#count;
  }

  get isFull(): boolean {
    return this.#count === this.capacity;
  }

  /** Bytes of memory that the bitmap takes. */
  get memoryBytes(): number {
    return this.#words === null ? 0 : LEAF_BYTES;
  }

  /** Puts [start, end) into the set. */
  add(start: number, end: number): void {
    assert(0 <= start && start < end && end <= this.capacity, "blocks lie within their leaf");
    if (this.#words === null) return;
    if (start > 0 || end < this.capacity) this.#change(this.#words, start, end, true);
    else this.#count = this.capacity;
    if (this.isFull) this.#words = null;
  }

  /** Takes [start, end) out of the set. */
  remove(start: number, end: number): void {
    assert(0 <= start && start < end && end <= this.capacity, "blocks lie within their leaf");
    if (this.#words === null) {
      this.#words = new Uint32Array(LEAF_BLOCKS / 32);
      this.#count = 0;
      this.#change(this.#words, 0, this.capacity, true);
    }
    this.#change(this.#words, start, end, false);
  }

  /** Puts all blocks of a leaf of the same capacity into the set. */
  addAll(other: BlockLeaf): void {
    assert(other.capacity === this.capacity, "leaves of one place are united");
    if (this.#words === null) return;
    if (other.#words === null) return this.add(0, this.capacity);
    for (const [i, word] of other.#words.entries()) {
      const before = this.#words[i]!;
      const after = (before | word) >>> 0;
      if (after === before) continue;
      this.#words[i] = after;
      this.#count += ones(after) - ones(before);
    }
    if (this.isFull) this.#words = null;
  }

  #change(words: Uint32Array, start: number, end: number, value: boolean): void {
    for (let at = start; at < end;) {
      const index = at >>> 5;
      const stop = Math.min(end, (index + 1) * 32);
      const width = stop - at;
      const mask = width === 32 ? 0xffffffff : (((1 << width) - 1) << (at & 31)) >>> 0;
      const before = words[index]!;
      const after = (value ? before | mask : before & ~mask) >>> 0;
      words[index] = after;
      this.#count += ones(after) - ones(before);
      at = stop;
    }
  }

  has(block: number): boolean {
    if (this.#words === null) return block < this.capacity;
    return (this.#words[block >>> 5]! >>> (block & 31) & 1) === 1;
  }

  /** The first block at or after `from` that is (or is not) in the set; the capacity if none is. */
  find(from: number, inSet: boolean): number {
    if (from >= this.capacity) return this.capacity;
    if (this.#words === null) return inSet ? from : this.capacity;
    let index = from >>> 5;
    let mask = (0xffffffff << (from & 31)) >>> 0;
    for (; index * 32 < this.capacity; index++, mask = 0xffffffff) {
      const word = this.#words[index]!;
      const wanted = ((inSet ? word : ~word) & mask) >>> 0;
      if (wanted !== 0) {
        const lowest = 31 - Math.clz32(wanted & -wanted);
        return Math.min(this.capacity, index * 32 + lowest);
      }
    }
    return this.capacity;
  }
}

function ones(word: number): number {
  let n = word - (word >>> 1 & 0x55555555);
  n = (n & 0x33333333) + (n >>> 2 & 0x33333333);
  return Math.imul(n + (n >>> 4) & 0x0f0f0f0f, 0x01010101) >>> 24;
}
