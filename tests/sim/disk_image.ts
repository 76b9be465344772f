/**
 * The bytes of one simulated file, twice: as processes see them (the page cache) and as they are on
 * stable storage. A change goes to the cache and marks its sectors dirty; a flush takes what is dirty
 * when it begins; a loss of power leaves, sector by sector, any version that may have been on its way.
 *
 * Sparse: a page that is not there reads as zero and takes no room.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { assert } from "../../core/assert.ts";
import type { DataRange } from "../../core/ports.ts";
import type { Prng } from "./prng.ts";

/** Room is given in pages. */
export const PAGE_BYTES = 4096;
/** What a disk writes whole or not at all. */
const SECTOR_BYTES = 512;
const SECTORS = PAGE_BYTES / SECTOR_BYTES;
const ALL_SECTORS = (1 << SECTORS) - 1;
/** How likely the system writes a dirty page by itself before it is overwritten. */
const WRITE_BACK_CHANCE = 0.05;

const ZERO_PAGE: Uint8Array = new Uint8Array(PAGE_BYTES);

type Pages = Map<number, Uint8Array>;

/** Sectors on their way to the disk: which, and their bytes (null: the page was a hole). */
interface Flight {
  sectors: number;
  readonly bytes: Uint8Array | null;
}

/** See the module's text. */
export class DiskImage {
  readonly #prng: Prng;
  #cache: Pages = new Map();
  #stable: Pages = new Map();
  readonly #dirty = new Map<number, number>();
  #flight: Map<number, Flight> | null = null;
  #size = 0;
  #stableSize = 0;
  #flightSize = 0;

  constructor(prng: Prng, sizeBytes = 0) {
    this.#prng = prng;
    this.#size = sizeBytes;
    this.#stableSize = sizeBytes;
  }

  get size(): number {
    return this.#size;
  }

  /** Pages that take room. */
  get pages(): number {
    return this.#cache.size;
  }

  get flushing(): boolean {
    return this.#flight !== null;
  }

  /** Pages that a write to this range would have to find room for. */
  pagesMissing(offset: number, length: number): number {
    let missing = 0;
    forPages(offset, offset + length, (page) => {
      if (!this.#cache.has(page)) missing++;
    });
    return missing;
  }

  read(into: Uint8Array, offset: number): void {
    const end = Math.min(offset + into.length, this.#size);
    into.fill(0);
    forPages(offset, end, (page, start, stop) => {
      const bytes = this.#cache.get(page);
      if (bytes === undefined) return;
      into.set(bytes.subarray(start, stop), page * PAGE_BYTES + start - offset);
    });
  }

  write(bytes: Uint8Array, offset: number): void {
    forPages(offset, offset + bytes.length, (page, start, stop) => {
      const at = page * PAGE_BYTES + start - offset;
      this.#touch(page, start, stop).set(bytes.subarray(at, at + stop - start), start);
    });
    this.#size = Math.max(this.#size, offset + bytes.length);
  }

  /** Zeroes within the size; whole pages become holes if wanted. */
  zero(offset: number, length: number, hole: boolean): void {
    forPages(offset, Math.min(offset + length, this.#size), (page, start, stop) => {
      if (hole && stop - start === PAGE_BYTES) this.#drop(page);
      else if (this.#cache.has(page) || !hole) this.#touch(page, start, stop).fill(0, start, stop);
    });
  }

  truncate(size: number): void {
    if (size < this.#size) {
      const last = Math.floor(size / PAGE_BYTES);
      const start = size % PAGE_BYTES;
      for (const page of [...this.#cache.keys()]) {
        if (page > last || (page === last && start === 0)) this.#drop(page);
        else if (page === last) this.#touch(page, start, PAGE_BYTES).fill(0, start);
      }
    }
    this.#size = size;
  }

  /** The page for a change of [start, stop) of it: its sectors become dirty. */
  #touch(page: number, start: number, stop: number): Uint8Array {
    let sectors = 0;
    for (let s = Math.floor(start / SECTOR_BYTES); s * SECTOR_BYTES < stop; s++) sectors |= 1 << s;
    this.#mark(page, sectors);
    let bytes = this.#cache.get(page);
    if (bytes === undefined) this.#cache.set(page, bytes = new Uint8Array(PAGE_BYTES));
    return bytes;
  }

  #drop(page: number): void {
    this.#mark(page, ALL_SECTORS);
    this.#cache.delete(page);
  }

  #mark(page: number, sectors: number): void {
    const before = this.#dirty.get(page) ?? 0;
    if (before !== 0 && this.#prng.chance(WRITE_BACK_CHANCE)) this.#writeBack(page, before);
    this.#dirty.set(page, (this.#dirty.get(page) ?? 0) | sectors);
  }

  /** The system writes a dirty page when it likes: an older version than the last may be stable. */
  #writeBack(page: number, sectors: number): void {
    this.#settle(page, sectors, this.#cache.get(page) ?? null);
    this.#dirty.delete(page);
    const flight = this.#flight?.get(page);
    // What was on its way is older: it must not come after.
    if (flight !== undefined) flight.sectors &= ~sectors;
  }

  /** Puts sectors on stable storage. */
  #settle(page: number, sectors: number, bytes: Uint8Array | null): void {
    if (sectors === ALL_SECTORS && bytes === null) {
      this.#stable.delete(page);
      return;
    }
    let stable = this.#stable.get(page);
    if (stable === undefined) this.#stable.set(page, stable = new Uint8Array(PAGE_BYTES));
    for (let s = 0; s < SECTORS; s++) {
      if ((sectors & (1 << s)) !== 0) copySector(stable, s, bytes);
    }
  }

  /** Takes what is dirty now on its way; what is written from now on is not part of it. */
  beginFlush(): void {
    assert(this.#flight === null, "flushes of one file do not overlap");
    this.#flight = new Map();
    for (const [page, sectors] of this.#dirty) {
      this.#flight.set(page, { sectors, bytes: this.#cache.get(page)?.slice() ?? null });
    }
    this.#dirty.clear();
    this.#flightSize = this.#size;
  }

  /** What was on its way has arrived. */
  endFlush(): void {
    assert(this.#flight !== null, "a flush ends after it began");
    for (const [page, { sectors, bytes }] of this.#flight) this.#settle(page, sectors, bytes);
    this.#stableSize = this.#flightSize;
    this.#flight = null;
  }

  /**
   * The device refused: any of what was on its way may have arrived. As real systems do, the cache
   * is clean now: it goes on showing what is not on the disk (`phantom`), or what really is there.
   */
  failFlush(phantom: boolean): void {
    assert(this.#flight !== null, "a flush fails after it began");
    for (const [page, { sectors, bytes }] of this.#flight) {
      const arrived = sectors & this.#prng.next();
      this.#settle(page, arrived, bytes);
      const lost = sectors & ~arrived & ~(this.#dirty.get(page) ?? 0);
      if (phantom || lost === 0) continue;
      const cache = this.#cache.get(page);
      if (cache === undefined) continue;
      for (let s = 0; s < SECTORS; s++) {
        if ((lost & (1 << s)) !== 0) copySector(cache, s, this.#stable.get(page) ?? null);
      }
    }
    this.#flight = null;
  }

  /** The process that flushed is gone; the system still means to write, some time. */
  abandonFlush(): void {
    if (this.#flight === null) return;
    for (const [page, { sectors }] of this.#flight) {
      this.#dirty.set(page, (this.#dirty.get(page) ?? 0) | sectors);
    }
    this.#flight = null;
  }

  /** Power is lost. `keep`: how likely each sector that was not flushed is there all the same. */
  losePower(keep: number): void {
    const flight = this.#flight ?? new Map<number, Flight>();
    for (const page of new Set([...this.#dirty.keys(), ...flight.keys()])) {
      const dirty = this.#dirty.get(page) ?? 0;
      const flying = flight.get(page);
      for (let s = 0; s < SECTORS; s++) {
        const bit = 1 << s;
        const isFlying = flying !== undefined && (flying.sectors & bit) !== 0;
        if (isFlying && this.#prng.chance(keep)) this.#settle(page, bit, flying.bytes);
        if ((dirty & bit) !== 0 && this.#prng.chance(keep)) {
          this.#settle(page, bit, this.#cache.get(page) ?? null);
        }
      }
    }
    if (this.#prng.chance(keep)) this.#stableSize = this.#size;
    this.#reload();
  }

  /** The cache is what stable storage holds. */
  #reload(): void {
    this.#dirty.clear();
    this.#flight = null;
    this.#size = this.#stableSize;
    for (const [page, bytes] of [...this.#stable]) {
      const left = this.#size - page * PAGE_BYTES;
      if (left <= 0) this.#stable.delete(page);
      else if (left < PAGE_BYTES) bytes.fill(0, left);
    }
    this.#cache = new Map([...this.#stable].map(([page, bytes]) => [page, bytes.slice()]));
  }

  /** Everything is stable: for what was there before the run began. */
  settleAll(): void {
    this.beginFlush();
    this.endFlush();
  }

  /** Flips bits of one byte, in the cache and on the disk. */
  flip(offset: number, mask: number): void {
    const page = Math.floor(offset / PAGE_BYTES);
    const at = offset % PAGE_BYTES;
    for (const bytes of [this.#cache.get(page), this.#stable.get(page)]) {
      if (bytes !== undefined) bytes[at] = bytes[at]! ^ mask;
    }
  }

  /** Pages that hold data, as ranges. */
  dataRanges(offset: number, length: number): DataRange[] {
    const ranges: DataRange[] = [];
    forPages(offset, Math.min(offset + length, this.#size), (page, from, to) => {
      if (!this.#cache.has(page)) return;
      const start = page * PAGE_BYTES + from;
      const end = page * PAGE_BYTES + to;
      const last = ranges.at(-1);
      if (last?.end === start) ranges[ranges.length - 1] = { start: last.start, end };
      else ranges.push({ start, end });
    });
    return ranges;
  }

  /** The first offset at which processes see something else than `expected`; -1 if nowhere. */
  differsAt(expected: Uint8Array): number {
    for (let start = 0; start < expected.length; start += PAGE_BYTES) {
      const want = expected.subarray(start, start + PAGE_BYTES);
      const found = (this.#cache.get(start / PAGE_BYTES) ?? ZERO_PAGE).subarray(0, want.length);
      const at = indexOfDifference(want, found);
      if (at >= 0) return start + at;
    }
    return -1;
  }
}

function copySector(into: Uint8Array, sector: number, from: Uint8Array | null): void {
  const start = sector * SECTOR_BYTES;
  into.set((from ?? ZERO_PAGE).subarray(start, start + SECTOR_BYTES), start);
}

function indexOfDifference(a: Uint8Array, b: Uint8Array): number {
  if (Buffer.compare(a, b) === 0) return -1;
  return a.findIndex((byte, index) => byte !== b[index]);
}

/** Calls with each page that meets [offset, end), and the part of the page that lies in it. */
function forPages(
  offset: number,
  end: number,
  call: (page: number, start: number, stop: number) => void,
): void {
  for (let at = offset; at < end;) {
    const page = Math.floor(at / PAGE_BYTES);
    const start = at - page * PAGE_BYTES;
    const stop = Math.min(PAGE_BYTES, end - page * PAGE_BYTES);
    call(page, start, stop);
    at = page * PAGE_BYTES + stop;
  }
}
