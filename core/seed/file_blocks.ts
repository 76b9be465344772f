/**
 * A file or a block device as source and target of a seed.
 *
 * @module
 */
import type { Bytes, DiskFile } from "../ports.ts";
import type { BlockTarget, Extent } from "./blocks.ts";

/** Large enough that to have another thread write it costs little beside the writing. */
const PIECE_BYTES = 1024 * 1024;
/** The block of file systems: smaller holes do not exist. */
const GRAIN_BYTES = 4096;
/** This thread reads one piece while another one writes those before it. */
const DEPTH = 4;
/** A write of less is done sooner than another thread is asked to do it. */
const ASIDE_BYTES_MIN = 64 * 1024;
/** Of what was written, so much at a time leaves the page cache, and so far behind. */
const WINDOW_BYTES = 4 * 1024 * 1024;
const WINDOWS_BEHIND = 4;

interface Write {
  readonly start: number;
  readonly end: number;
  isDone: boolean;
}

/** Over an open file, which it closes. */
export class FileBlocks implements BlockTarget {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pieceBytesMax = PIECE_BYTES;
  readonly grainBytes = GRAIN_BYTES;
  readonly depth = DEPTH;
  readonly outlivesUs = true;
  readonly #file: DiskFile;
  /** Under way, or done behind one that is. */
  readonly #writes: Write[] = [];
  /** What was written in a row last. */
  #runStart = 0;
  #runEnd = 0;
  /** Windows that the disk was told to write. */
  readonly #behind: { readonly start: number; readonly end: number }[] = [];

  /** `sizeBytes` stands for the size that a new file is about to get. */
  constructor(file: DiskFile, sizeBytes = file.size()) {
    this.#file = file;
    this.name = file.path;
    this.sizeBytes = sizeBytes;
  }

  extents(offset: number, length: number): Promise<readonly Extent[]> {
    const extents: Extent[] = [];
    const end = offset + length;
    let at = offset;
    for (const range of this.#file.dataRanges(offset, length)) {
      if (range.start > at) extents.push({ start: at, end: range.start, zero: true });
      extents.push({ ...range, zero: false });
      at = range.end;
    }
    if (at < end) extents.push({ start: at, end, zero: true });
    return Promise.resolve(extents);
  }

  // Not `async`, but a rejection all the same: what the disk throws reaches whoever waits.
  read(into: Bytes, offset: number): Promise<void> {
    return settled(() => this.#file.readAt(into, offset));
  }

  async write(bytes: Bytes, offset: number): Promise<void> {
    const file = this.#file;
    const write: Write = { start: offset, end: offset + bytes.length, isDone: false };
    this.#writes.push(write);
    if (bytes.length < ASIDE_BYTES_MIN || file.writeAside === undefined) {
      file.writeAt(bytes, offset);
    } else await file.writeAside(bytes, offset);
    // The disk works while the rest is read: the flush at the end finds little to do.
    file.beginFlush?.(offset, bytes.length);
    write.isDone = true;
    // In the order in which they began: windows are of what lies in a row.
    while (this.#writes[0]?.isDone === true) {
      const { start, end } = this.#writes.shift()!;
      this.#wrote(start, end);
    }
  }

  /**
   * A copy is written once, and rarely read soon: it is not to push everything else out of the page cache. Its
   * own pages, used again, also are quicker than fresh ones.
   */
  #wrote(start: number, end: number): void {
    if (start !== this.#runEnd) this.#runStart = start;
    this.#runEnd = end;
    if (end - this.#runStart < WINDOW_BYTES) return;
    this.#behind.push({ start: this.#runStart, end });
    this.#runStart = end;
    if (this.#behind.length <= WINDOWS_BEHIND) return;
    const window = this.#behind.shift();
    if (window !== undefined) this.#file.writeOut?.(window.start, window.end - window.start);
  }

  zero(offset: number, length: number): Promise<void> {
    return settled(() => this.#file.zeroAt(offset, length, true));
  }

  flush(): Promise<void> {
    return this.#file.flush();
  }

  close(): Promise<void> {
    return settled(() => this.#file.close());
  }
}

const DONE = Promise.resolve();

function settled(call: () => void): Promise<void> {
  try {
    call();
    return DONE;
  } catch (error) {
    return Promise.reject(error);
  }
}
