/**
 * One leaf of an {@linkcode ExtentMap}: a short sorted run of extents that do not overlap, in typed
 * arrays of fixed capacity. A leaf knows nothing of its neighbours.
 *
 * @module
 */

/** A run of extents in order of offset; entries from `size` on are free. */
export class ExtentLeaf {
  /** First byte of each extent. */
  readonly starts: Float64Array;
  /** First byte past each extent. */
  readonly ends: Float64Array;
  /** The log position that each extent points at. */
  readonly sources: Float64Array;
  /** DATA or ZERO. */
  readonly kinds: Uint8Array;
  size = 0;

  constructor(capacity: number) {
    this.starts = new Float64Array(capacity);
    this.ends = new Float64Array(capacity);
    this.sources = new Float64Array(capacity);
    this.kinds = new Uint8Array(capacity);
  }

  /** The index of the first extent that ends after `offset`; `size` when none does. Hot path. */
  firstEndingAfter(offset: number): number {
    const ends = this.ends;
    let low = 0;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (ends[middle]! > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  /** The index of the first extent, from `from` on, that starts at `offset` or after it. */
  firstStartingFrom(offset: number, from: number): number {
    const starts = this.starts;
    let low = from;
    let high = this.size;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (starts[middle]! >= offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  put(index: number, start: number, end: number, kind: 0 | 1, source: number): void {
    this.starts[index] = start;
    this.ends[index] = end;
    this.kinds[index] = kind;
    this.sources[index] = source;
  }

  /** Makes room at `index`; the caller has checked that there is some, and fills it. */
  open(index: number): void {
    this.#move(index, index + 1, this.size);
    this.size += 1;
  }

  /** Removes the extents `from` to `to`, exclusive. */
  remove(from: number, to: number): void {
    if (from === to) return;
    this.#move(to, from, this.size);
    this.size -= to - from;
  }

  /** Appends the extents of `other` from index `from` on; both belong in this order. */
  append(other: ExtentLeaf, from: number): void {
    const at = this.size;
    this.starts.set(other.starts.subarray(from, other.size), at);
    this.ends.set(other.ends.subarray(from, other.size), at);
    this.sources.set(other.sources.subarray(from, other.size), at);
    this.kinds.set(other.kinds.subarray(from, other.size), at);
    this.size += other.size - from;
  }

  /** Drops the extents whose source is below `lsn`; returns how many. */
  dropBelow(lsn: number): number {
    const { starts, ends, sources, kinds, size } = this;
    let kept = 0;
    for (let i = 0; i < size; i++) {
      if (sources[i]! < lsn) continue;
      if (kept !== i) {
        starts[kept] = starts[i]!;
        ends[kept] = ends[i]!;
        sources[kept] = sources[i]!;
        kinds[kept] = kinds[i]!;
      }
      kept += 1;
    }
    this.size = kept;
    return size - kept;
  }

  #move(from: number, to: number, end: number): void {
    this.starts.copyWithin(to, from, end);
    this.ends.copyWithin(to, from, end);
    this.sources.copyWithin(to, from, end);
    this.kinds.copyWithin(to, from, end);
  }
}
