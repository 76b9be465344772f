/**
 * A set of blocks of the volumes of a group, in bounded memory: what a delta carries, or what a link
 * lacks.
 *
 * Two levels: leaves of 32,768 blocks, made when the first of their blocks is added; a leaf that is
 * full gives its bitmap back. At 4 KiB a block, 1 TiB takes at most 32 MiB of bitmaps.
 *
 * Ranges are bytes. What is added is rounded outward to whole blocks. What is removed is rounded
 * inward: a block goes only when all of it is named, so a set never lacks a byte that it must have.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { BlockLeaf, LEAF_BLOCKS } from "./block_leaf.ts";

/** Bytes of a block unless said otherwise: a page, and what file systems write. */
export const BLOCK_BYTES_DEFAULT = 4096;
export const BLOCK_BYTES_MIN = 512;
export const BLOCK_BYTES_MAX = 1024 * 1024;
const VOLUME_BYTES_MAX = 2 ** 50;

/** Neighbouring blocks of one volume, in bytes; cut at the volume's end. */
export interface BlockExtent {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
}

/** Blocks of volumes whose number is their place in `sizes`. */
export class BlockSet {
  readonly blockBytes: number;
  /** Bytes of each volume. */
  readonly sizes: readonly number[];
  readonly #leaves: Map<number, BlockLeaf>[];
  /** The leaves of each volume in order; null after one was made or removed. */
  readonly #orders: (number[] | null)[];

  constructor(sizes: readonly number[], blockBytes: number = BLOCK_BYTES_DEFAULT) {
    assert(
      blockBytes >= BLOCK_BYTES_MIN && blockBytes <= BLOCK_BYTES_MAX &&
        Number.isInteger(Math.log2(blockBytes)),
      "a block is a power of two",
    );
    for (const size of sizes) {
      assert(
        Number.isInteger(size) && size >= 0 && size <= VOLUME_BYTES_MAX,
        "a volume has a size",
      );
    }
    this.blockBytes = blockBytes;
    this.sizes = [...sizes];
    this.#leaves = sizes.map(() => new Map<number, BlockLeaf>());
    this.#orders = sizes.map(() => null);
  }

  /** Bytes of a volume that one leaf covers. */
  get leafBytes(): number {
    return this.blockBytes * LEAF_BLOCKS;
  }

  get isEmpty(): boolean {
    return this.#leaves.every((leaves) => leaves.size === 0);
  }

  /** Bytes of all bitmaps, less the few that hold them together. */
  get memoryBytes(): number {
    let bytes = 0;
    for (const leaves of this.#leaves) {
      for (const leaf of leaves.values()) bytes += leaf.memoryBytes;
    }
    return bytes;
  }

  /** Bytes of the blocks in the set; the last block of a volume counts as far as the volume goes. */
  countBytes(): number {
    let bytes = 0;
    this.#leaves.forEach((leaves, volume) => {
      for (const leaf of leaves.values()) bytes += leaf.count * this.blockBytes;
      const size = this.sizes[volume]!;
      if (size > 0 && this.has(volume, size - 1)) bytes -= -size & (this.blockBytes - 1);
    });
    return bytes;
  }

  /** Whether the block with this byte is in the set. */
  has(volume: number, offset: number): boolean {
    const block = Math.floor(offset / this.blockBytes);
    const leaf = this.#leaves[volume]?.get(Math.floor(block / LEAF_BLOCKS));
    return leaf !== undefined && leaf.has(block % LEAF_BLOCKS);
  }

  /** Adds every block that [offset, offset + length) touches. */
  add(volume: number, offset: number, length: number): void {
    this.#checkRange(volume, offset, length);
    if (length === 0) return;
    const first = Math.floor(offset / this.blockBytes);
    this.#eachLeaf(first, Math.ceil((offset + length) / this.blockBytes), (index, start, end) => {
      this.#leafToFill(volume, index).add(start, end);
    });
  }

  /** Removes every block that lies wholly within [offset, offset + length). */
  remove(volume: number, offset: number, length: number): void {
    this.#checkRange(volume, offset, length);
    const first = Math.ceil(offset / this.blockBytes);
    // The last block of a volume may be short: it is whole when the range reaches the volume's end.
    const end = offset + length;
    const last = end === this.sizes[volume]
      ? Math.ceil(end / this.blockBytes)
      : Math.floor(end / this.blockBytes);
    const leaves = this.#leaves[volume]!;
    for (const index of this.#orderFrom(volume, Math.floor(first / LEAF_BLOCKS))) {
      const start = Math.max(0, first - index * LEAF_BLOCKS);
      const stop = Math.min(leaves.get(index)!.capacity, last - index * LEAF_BLOCKS);
      if (stop <= 0) break;
      if (start >= stop) continue;
      const leaf = leaves.get(index)!;
      leaf.remove(start, stop);
      if (leaf.count > 0) continue;
      leaves.delete(index);
      this.#orders[volume] = null;
    }
  }

  /** Adds all blocks of `other`, which is of the same volumes; blocks may differ in size. */
  addAll(other: BlockSet): void {
    assert(
      other.sizes.length === this.sizes.length &&
        other.sizes.every((size, volume) => size === this.sizes[volume]),
      "sets of the same volumes are united",
    );
    if (other.blockBytes !== this.blockBytes) {
      for (const { volume, offset, length } of other.extents()) this.add(volume, offset, length);
      return;
    }
    for (const [volume, leaves] of other.#leaves.entries()) {
      for (const [index, leaf] of leaves) this.#leafToFill(volume, index).addAll(leaf);
    }
  }

  clear(): void {
    this.#leaves.forEach((leaves, volume) => {
      leaves.clear();
      this.#orders[volume] = null;
    });
  }

  /**
   * The first extent at or after a cursor, in the order of volume and offset, merged with all that
   * touch it behind, to at most `lengthMax` bytes (rounded down to blocks, at least one). The next
   * cursor is its end. Null when there is none. The set may change between calls.
   */
  next(volume = 0, offset = 0, lengthMax = Infinity): BlockExtent | null {
    for (let v = volume; v < this.sizes.length; v++) {
      const start = this.#findIn(v, v === volume ? Math.floor(offset / this.blockBytes) : 0);
      if (start === null) continue;
      const blocksMax = Math.max(1, Math.floor(lengthMax / this.blockBytes));
      const end = Math.min(this.sizes[v]!, this.#runEnd(v, start, blocksMax) * this.blockBytes);
      return { volume: v, offset: start * this.blockBytes, length: end - start * this.blockBytes };
    }
    return null;
  }

  /** All extents from a cursor on; see {@linkcode BlockSet.next}. */
  *extents(volume = 0, offset = 0, lengthMax = Infinity): Generator<BlockExtent> {
    for (let at = this.next(volume, offset, lengthMax); at !== null;) {
      yield at;
      at = this.next(
        at.volume,
        at.offset + at.length + (-(at.length) & (this.blockBytes - 1)),
        lengthMax,
      );
    }
  }

  /** The leaves of a volume that hold any block, in order: for the serial form. */
  *leaves(volume: number): Generator<{ readonly index: number; readonly leaf: BlockLeaf }> {
    for (const index of this.#orderFrom(volume, 0)) {
      yield { index, leaf: this.#leaves[volume]!.get(index)! };
    }
  }

  /** How many leaves of a volume hold any block. */
  leafCount(volume: number): number {
    return this.#leaves[volume]!.size;
  }

  /** How many blocks the leaf with this number has; 0 past the end of the volume. */
  leafCapacity(volume: number, index: number): number {
    const blocks = Math.ceil(this.sizes[volume]! / this.blockBytes);
    return Math.max(0, Math.min(LEAF_BLOCKS, blocks - index * LEAF_BLOCKS));
  }

  #leafToFill(volume: number, index: number): BlockLeaf {
    const leaves = this.#leaves[volume]!;
    let leaf = leaves.get(index);
    if (leaf === undefined) {
      leaf = new BlockLeaf(this.leafCapacity(volume, index));
      leaves.set(index, leaf);
      this.#orders[volume] = null;
    }
    return leaf;
  }

  #checkRange(volume: number, offset: number, length: number): void {
    const size = this.sizes[volume];
    assert(size !== undefined, "the volume is one of the group");
    assert(offset >= 0 && length >= 0 && offset + length <= size, "the range lies in the volume");
  }

  #eachLeaf(first: number, last: number, call: (i: number, start: number, end: number) => void) {
    for (let at = first; at < last;) {
      const index = Math.floor(at / LEAF_BLOCKS);
      const base = index * LEAF_BLOCKS;
      const end = Math.min(last, base + LEAF_BLOCKS);
      call(index, at - base, end - base);
      at = end;
    }
  }

  /** The numbers of a volume's leaves from one on, in order. */
  #orderFrom(volume: number, index: number): number[] {
    return this.#order(volume).slice(this.#place(volume, index));
  }

  #order(volume: number): number[] {
    return this.#orders[volume] ??= [...this.#leaves[volume]!.keys()].sort((a, b) => a - b);
  }

  /** Where in the order the first leaf at or after `index` stands. */
  #place(volume: number, index: number): number {
    const order = this.#order(volume);
    let low = 0;
    let high = order.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (order[middle]! < index) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** The first block of a volume at or after `block` that is in the set. */
  #findIn(volume: number, block: number): number | null {
    const order = this.#order(volume);
    for (let p = this.#place(volume, Math.floor(block / LEAF_BLOCKS)); p < order.length; p++) {
      const base = order[p]! * LEAF_BLOCKS;
      const leaf = this.#leaves[volume]!.get(order[p]!)!;
      const at = leaf.find(Math.max(0, block - base), true);
      if (at < leaf.capacity) return base + at;
    }
    return null;
  }

  /** The first block after `start` that is not in the set, or `blocksMax` further on. */
  #runEnd(volume: number, start: number, blocksMax: number): number {
    const end = start + blocksMax;
    for (let at = start; at < end;) {
      const base = at - at % LEAF_BLOCKS;
      const leaf = this.#leaves[volume]!.get(base / LEAF_BLOCKS);
      if (leaf === undefined) return at;
      const stop = leaf.find(at - base, false);
      if (stop < LEAF_BLOCKS) return Math.min(end, base + stop);
      at = base + LEAF_BLOCKS;
    }
    return end;
  }
}
