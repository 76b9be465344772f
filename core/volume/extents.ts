/**
 * The overlay of a volume: which of its bytes are in the log but not yet applied, and where in the
 * log they are. It points at log positions, not at payload, so its size is bounded by the number
 * of extents that wait.
 *
 *     firsts   [ 0        | 73728     | 204800 ... ]      start of each leaf's first extent
 *                 |            |           |
 *     leaves   [ e e e . ] [ e e e e ] [ e e . . ]        sorted runs of fixed capacity
 *
 * Two levels of typed arrays: a search is two binary searches, a change moves a few hundred bytes,
 * and dropped leaves are kept for the next split, so that in a steady state nothing is allocated.
 *
 * Extents that were applied are **stale**: skipped at once by every look-up, since their source
 * lies below the last pruned LSN, and removed later, many at a time.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { ExtentLeaf } from "./extent_leaf.ts";

/** An extent that reads as zero. */
export const ZERO = 0;
/** An extent whose bytes are in the log. */
export const DATA = 1;

/** Called for each extent that a look-up meets, clipped to it. It must not change the map. */
export type ExtentVisitor = (start: number, end: number, kind: 0 | 1, source: number) => void;

/** Extents a leaf: searches are short and a move stays within the first-level cache. */
const LEAF_EXTENTS = 128;
/** Below so many calls of `set` since the last sweep another is not worth its while. */
const SWEEP_SETS_MIN = 1024;
/** Free leaves kept for reuse (1.6 MiB at most); more are left to the garbage collector. */
const SPARE_LEAVES_MAX = 512;

/** See the module's text. Offsets are bytes of the volume, ends exclusive; sources are LSNs. */
export class ExtentMap {
  readonly #leafExtents: number;
  /** In order; only the first `#leafCount` are in use, and none of them is empty. */
  #leaves: ExtentLeaf[] = [];
  #firsts = new Float64Array(64);
  #leafCount = 0;
  readonly #spares: ExtentLeaf[] = [];
  #count = 0;
  /** The highest source ever set: with all sources below the pruned LSN, all is stale. */
  #sourceMax = -1;
  #prunedLsn = 0;
  #setsSinceSweep = 0;

  /** `leafExtents` is for tests: a small one makes many leaves of few extents. At least 4. */
  constructor(leafExtents = LEAF_EXTENTS) {
    assert(leafExtents >= 4, "a leaf has room to be split");
    this.#leafExtents = leafExtents;
  }

  /** Extents held; stale ones count until they are removed. */
  get count(): number {
    return this.#count;
  }

  /**
   * Notes that [start, end) was appended to the log, over whatever was noted of it before. For
   * DATA `source` is the log position of the byte for `start`, for ZERO the record's LSN. Calls
   * come in growing order of source. Hot path: no allocation, about half a microsecond.
   */
  set(start: number, end: number, kind: 0 | 1, source: number): void {
    if (start >= end) return;
    if (source > this.#sourceMax) this.#sourceMax = source;
    this.#setsSinceSweep += 1;
    if (this.#leafCount === 0) {
      this.#insertLeaf(0, this.#newLeaf()).open(0);
      this.#write(0, 0, start, end, kind, source);
      this.#count = 1;
      return;
    }
    let at = this.#leafFor(start);
    let leaf = this.#leaves[at]!;
    let index = leaf.firstEndingAfter(start);
    if (index < leaf.size && leaf.starts[index] === start && leaf.ends[index] === end) {
      leaf.kinds[index] = kind;
      leaf.sources[index] = source;
      return;
    }
    index = this.#carve(at, index, start, end);
    if (index < 0 || leaf.size === this.#leafExtents) {
      at = this.#placeFor(start);
      leaf = this.#leaves[at]!;
      index = leaf.firstEndingAfter(start);
    }
    leaf.open(index);
    this.#write(at, index, start, end, kind, source);
    this.#count += 1;
  }

  /**
   * Visits the extents that meet [start, end), clipped to it, in order of offset; gaps are not
   * visited. Hot path: no allocation.
   */
  lookup(start: number, end: number, visit: ExtentVisitor): void {
    if (this.#count === 0 || start >= end) return;
    const pruned = this.#prunedLsn;
    let at = this.#leafFor(start);
    let leaf = this.#leaves[at]!;
    let index = leaf.firstEndingAfter(start);
    while (true) {
      if (index === leaf.size) {
        at += 1;
        if (at === this.#leafCount) return;
        leaf = this.#leaves[at]!;
        index = 0;
      }
      const from = leaf.starts[index]!;
      if (from >= end) return;
      const source = leaf.sources[index]!;
      if (source >= pruned) {
        const to = leaf.ends[index]!;
        const kind = leaf.kinds[index] as 0 | 1;
        if (from >= start) visit(from, to < end ? to : end, kind, source);
        else {visit(
            start,
            to < end ? to : end,
            kind,
            kind === DATA ? source + start - from : source,
          );}
      }
      index += 1;
    }
  }

  /** Whether a look-up of [start, end) would visit nothing. Hot path. */
  isEmptyIn(start: number, end: number): boolean {
    if (this.#count === 0 || start >= end) return true;
    const pruned = this.#prunedLsn;
    let at = this.#leafFor(start);
    let leaf = this.#leaves[at]!;
    let index = leaf.firstEndingAfter(start);
    while (true) {
      if (index === leaf.size) {
        at += 1;
        if (at === this.#leafCount) return true;
        leaf = this.#leaves[at]!;
        index = 0;
      }
      if (leaf.starts[index]! >= end) return true;
      if (leaf.sources[index]! >= pruned) return false;
      index += 1;
    }
  }

  /**
   * Forgets the extents whose source is below `appliedLsn`; an LSN below that of an earlier call
   * changes nothing. Cheap to call often: all stale is one step, else they are removed once the
   * calls of `set` since the last sweep have paid for it.
   */
  prune(appliedLsn: number): void {
    if (appliedLsn <= this.#prunedLsn) return;
    this.#prunedLsn = appliedLsn;
    if (this.#count === 0) return;
    if (this.#sourceMax < appliedLsn) this.#drop();
    else if (this.#setsSinceSweep >= Math.max(SWEEP_SETS_MIN, this.#count >>> 1)) this.#sweep();
  }

  /** Forgets what lies at or behind `offset`; an extent that spans it is cut. */
  cutAt(offset: number): void {
    if (this.#count === 0) return;
    const at = this.#leafFor(offset);
    const leaf = this.#leaves[at]!;
    this.#carve(at, leaf.firstEndingAfter(offset), offset, Infinity);
    if (leaf.size === 0) this.#removeLeaves(at, at + 1);
  }

  /** Forgets everything, the pruned LSN too. */
  clear(): void {
    this.#drop();
    this.#sourceMax = -1;
    this.#prunedLsn = 0;
  }

  /** The leaf in which `offset` belongs: the last that starts at or before it, else the first. */
  #leafFor(offset: number): number {
    const firsts = this.#firsts;
    let low = 1;
    let high = this.#leafCount;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (firsts[middle]! <= offset) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  /**
   * Empties [start, end), from extent `index` of leaf `at` on, which is the first to end after
   * `start`. Returns where in that leaf, which may be empty now, an extent from `start` belongs, or
   * -1 if that has to be found anew.
   */
  #carve(at: number, index: number, start: number, end: number): number {
    const leaf = this.#leaves[at]!;
    if (index < leaf.size && leaf.starts[index]! < start) {
      if (leaf.ends[index]! > end) {
        this.#splitExtent(at, index, start, end);
        return -1;
      }
      leaf.ends[index] = start;
      index += 1;
    }
    this.#removeFrom(leaf, index, end);
    if (index < leaf.size) {
      this.#trimLeft(leaf, index, end);
      return index;
    }
    this.#carveLeavesAfter(at, end);
    return index;
  }

  /** Empties what lies before `end` in the leaves after leaf `at`. */
  #carveLeavesAfter(at: number, end: number): void {
    let next = at + 1;
    while (next < this.#leafCount) {
      const leaf = this.#leaves[next]!;
      if (leaf.starts[0]! >= end) break;
      this.#removeFrom(leaf, 0, end);
      if (leaf.size > 0) {
        this.#trimLeft(leaf, 0, end);
        this.#firsts[next] = leaf.starts[0]!;
        break;
      }
      next += 1;
    }
    this.#removeLeaves(at + 1, next);
  }

  /** Removes the extents of a leaf, from `index` on, that end at or before `end`. */
  #removeFrom(leaf: ExtentLeaf, index: number, end: number): void {
    // Mostly none or one: look before searching.
    if (index === leaf.size || leaf.ends[index]! > end) return;
    const to = leaf.firstEndingAfter(end);
    leaf.remove(index, to);
    this.#count -= to - index;
  }

  /** Cuts off what an extent has before `end`. */
  #trimLeft(leaf: ExtentLeaf, index: number, end: number): void {
    const start = leaf.starts[index]!;
    if (start >= end) return;
    if (leaf.kinds[index] === DATA) leaf.sources[index] = leaf.sources[index]! + end - start;
    leaf.starts[index] = end;
  }

  /** Makes a hole [start, end) within one extent. */
  #splitExtent(at: number, index: number, start: number, end: number): void {
    let leaf = this.#leaves[at]!;
    const from = leaf.starts[index]!;
    const to = leaf.ends[index]!;
    const kind = leaf.kinds[index] as 0 | 1;
    const source = leaf.sources[index]!;
    if (leaf.size === this.#leafExtents) {
      this.#splitLeaf(at, index);
      at = this.#leafFor(from);
      leaf = this.#leaves[at]!;
      index = leaf.firstEndingAfter(from);
    }
    leaf.ends[index] = start;
    leaf.open(index + 1);
    leaf.put(index + 1, end, to, kind, kind === DATA ? source + end - from : source);
    this.#count += 1;
  }

  /** A leaf with room for an extent that starts at `offset`, which nothing covers. */
  #placeFor(offset: number): number {
    const at = this.#leafFor(offset);
    const leaf = this.#leaves[at]!;
    if (leaf.size < this.#leafExtents) return at;
    this.#splitLeaf(at, leaf.firstEndingAfter(offset));
    return this.#leafFor(offset);
  }

  /** Makes room in a full leaf: in the middle, or behind it when the next extent goes there. */
  #splitLeaf(at: number, index: number): void {
    const leaf = this.#leaves[at]!;
    const half = this.#leafExtents >>> 1;
    // Sequential writes fill leaves to the brim instead of half.
    const keep = index === leaf.size ? leaf.size - 1 : half;
    const right = this.#newLeaf();
    right.append(leaf, keep);
    leaf.size = keep;
    this.#insertLeaf(at + 1, right);
    this.#firsts[at + 1] = right.starts[0]!;
  }

  #write(
    at: number,
    index: number,
    start: number,
    end: number,
    kind: 0 | 1,
    source: number,
  ): void {
    this.#leaves[at]!.put(index, start, end, kind, source);
    if (index === 0) this.#firsts[at] = start;
  }

  #newLeaf(): ExtentLeaf {
    return this.#spares.pop() ?? new ExtentLeaf(this.#leafExtents);
  }

  #insertLeaf(at: number, leaf: ExtentLeaf): ExtentLeaf {
    const leaves = this.#leaves;
    const count = this.#leafCount;
    if (count === this.#firsts.length) {
      const grown = new Float64Array(count * 2);
      grown.set(this.#firsts);
      this.#firsts = grown;
    }
    if (leaves.length === count) leaves.push(leaf);
    for (let i = count; i > at; i--) leaves[i] = leaves[i - 1]!;
    leaves[at] = leaf;
    this.#firsts.copyWithin(at + 1, at, count);
    this.#leafCount = count + 1;
    return leaf;
  }

  /** Removes the leaves `from` to `to`, exclusive, whose extents are no longer counted. */
  #removeLeaves(from: number, to: number): void {
    if (from === to) return;
    const leaves = this.#leaves;
    for (let i = from; i < to; i++) this.#spare(leaves[i]!);
    this.#firsts.copyWithin(from, to, this.#leafCount);
    const gone = to - from;
    this.#leafCount -= gone;
    for (let i = from; i < this.#leafCount; i++) leaves[i] = leaves[i + gone]!;
    leaves.length = this.#leafCount;
  }

  #spare(leaf: ExtentLeaf): void {
    leaf.size = 0;
    if (this.#spares.length < SPARE_LEAVES_MAX) this.#spares.push(leaf);
  }

  /** Removes all extents; with no bound but the number of leaves. */
  #drop(): void {
    this.#removeLeaves(0, this.#leafCount);
    this.#count = 0;
    this.#setsSinceSweep = 0;
  }

  /** Removes the stale extents, and joins leaves that have become short. */
  #sweep(): void {
    const leaves = this.#leaves;
    const joined = this.#leafExtents * 3 / 4;
    let last = -1;
    for (let i = 0; i < this.#leafCount; i++) {
      const leaf = leaves[i]!;
      this.#count -= leaf.dropBelow(this.#prunedLsn);
      if (leaf.size === 0) this.#spare(leaf);
      else if (last >= 0 && leaves[last]!.size + leaf.size <= joined) {
        leaves[last]!.append(leaf, 0);
        this.#spare(leaf);
      } else {
        last += 1;
        leaves[last] = leaf;
        this.#firsts[last] = leaf.starts[0]!;
      }
    }
    this.#leafCount = last + 1;
    leaves.length = this.#leafCount;
    this.#setsSinceSweep = 0;
  }
}
