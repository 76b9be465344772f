/**
 * One segment file of a log in use, opened when it is needed: a log may have more segments than a
 * process should hold descriptors.
 *
 * A file with bytes that were not flushed stays open: only the descriptor that was open when the
 * system failed to write them is sure to be told of it.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { OPEN_SEGMENTS_MAX, SEGMENT_HEADER_BYTES } from "../limits.ts";
import type { Disk, DiskFile } from "../ports.ts";
import {
  decodeHeaderPage,
  encodeHeader,
  encodeWatermark,
  HEADER_PAGE_READ_BYTES,
  type HeaderPage,
  SegmentState,
  SLOT_OFFSETS,
  type Watermark,
} from "./segment.ts";

/** The segment files of one folder, of which at most {@linkcode OPEN_SEGMENTS_MAX} idle ones are open. */
export class SegmentFolder {
  readonly disk: Disk;
  readonly path: string;
  readonly readOnly: boolean;
  /** In the order of their last use. */
  readonly #open = new Set<SegmentFile>();

  constructor(disk: Disk, path: string, readOnly = false) {
    this.disk = disk;
    this.path = path;
    this.readOnly = readOnly;
  }

  /** Names of segment files, sorted. */
  names(): string[] {
    return this.disk.list(this.path).filter((name) => /^\d{6}\.seg$/.test(name));
  }

  /** Notes that `file` is open and was used just now; closes what was not used for longest. */
  used(file: SegmentFile): void {
    this.#open.delete(file);
    this.#open.add(file);
    if (this.#open.size <= OPEN_SEGMENTS_MAX) return;
    for (const other of this.#open) {
      if (other !== file && other.isIdle) return other.close();
    }
  }

  closed(file: SegmentFile): void {
    this.#open.delete(file);
  }

  closeAll(): void {
    for (const file of [...this.#open]) file.close();
  }
}

/** See the module's text. */
export class SegmentFile {
  readonly name: string;
  /** LSN of the first record. */
  baseLsn = 0;
  /** End of the last record. */
  endLsn = 0;
  /** When the segment begins after a delta: where the log before it ended. */
  jumpFromLsn: number | null = null;
  readonly #folder: SegmentFolder;
  #handle: DiskFile | null = null;
  #unflushed = false;
  #flushing = false;
  /** The slot that stable storage holds for sure: never the next to be written. */
  #slotDurable: number | null = null;
  #slotWritten: number | null = null;

  constructor(folder: SegmentFolder, name: string) {
    this.#folder = folder;
    this.name = name;
  }

  get path(): string {
    return `${this.#folder.path}/${this.name}`;
  }

  /** Whether nothing would be lost if the descriptor were closed now. */
  get isIdle(): boolean {
    return !this.#unflushed && !this.#flushing;
  }

  #file(): DiskFile {
    const { disk, readOnly } = this.#folder;
    if (this.#handle === null) {
      this.#handle = disk.open(this.path, { readOnly });
      this.#folder.used(this);
    }
    return this.#handle;
  }

  /** Where the segment before this one ends. */
  get joinLsn(): number {
    return this.jumpFromLsn ?? this.baseLsn;
  }

  /** Becomes a segment without records from `lsn` on; see {@linkcode SegmentFile.jumpFromLsn}. */
  beginAt(lsn: number, jumpFromLsn: number | null = null): void {
    this.baseLsn = this.endLsn = lsn;
    this.jumpFromLsn = jumpFromLsn;
  }

  /** File offset of `lsn`. */
  offsetOf(lsn: number): number {
    return SEGMENT_HEADER_BYTES + lsn - this.baseLsn;
  }

  sizeBytes(): number {
    return this.#file().size();
  }

  /** The LSN at which the file ends: no record reaches further. */
  limitLsn(): number {
    return this.baseLsn + Math.max(0, this.sizeBytes() - SEGMENT_HEADER_BYTES);
  }

  /** Reads from the file offset `offset`; past the end it reads zeroes. */
  readAt(into: Uint8Array, offset: number): void {
    this.#folder.used(this);
    this.#file().readAt(into, offset);
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    this.#unflushed = true;
    this.#file().writeAt(bytes, offset);
  }

  /** Makes the file, or makes it anew: all of it zero, and on the disk. */
  async create(sizeBytes: number): Promise<void> {
    this.#handle ??= this.#folder.disk.open(this.path, { create: true });
    this.#folder.used(this);
    this.#unflushed = true;
    if (this.#handle.size() > sizeBytes) this.#handle.truncate(sizeBytes);
    await this.#handle.preallocate(sizeBytes);
    this.#slotDurable = this.#slotWritten = null;
  }

  readHeaderPage(): HeaderPage {
    const page = new Uint8Array(HEADER_PAGE_READ_BYTES);
    this.readAt(page, 0);
    return decodeHeaderPage(page);
  }

  /** Writes the header sector; not flushed. */
  writeHeader(state: SegmentState, fileBytes: number): void {
    const { baseLsn, jumpFromLsn } = this;
    const jump = jumpFromLsn === null ? {} : { jumpFromLsn };
    const header = state === SegmentState.FREE
      ? { state, baseLsn: 0, fileBytes }
      : { state, baseLsn, fileBytes, ...jump };
    this.writeAt(encodeHeader(header), 0);
  }

  /** Tells which slot was found to hold the newer watermark. */
  foundSlot(slot: number): void {
    this.#slotWritten = slot;
  }

  /**
   * Writes a watermark, never over the one that is known to be on stable storage: whatever a crash
   * leaves of the sector, that one remains. With `lazy` nobody waits for it to be flushed.
   */
  writeWatermark(mark: Watermark, lazy: boolean): void {
    const slot = this.#slotDurable === 0 ? 1 : 0;
    const offset = SLOT_OFFSETS[slot];
    assert(offset !== undefined, "a segment has two slots");
    const unflushed = this.#unflushed;
    this.writeAt(encodeWatermark(mark), offset);
    if (lazy) this.#unflushed = unflushed;
    this.#slotWritten = slot;
  }

  /** Flushes what was written before. Flushes of one file never overlap. */
  async flush(): Promise<void> {
    assert(!this.#flushing, "flushes of one file do not overlap");
    const slot = this.#slotWritten;
    this.#flushing = true;
    // What is written from now on is not part of this flush.
    this.#unflushed = false;
    await this.#file().flush();
    this.#flushing = false;
    this.#slotDurable = slot;
  }

  /** Closes the file and removes it from the folder, which is to be flushed then. */
  remove(): void {
    this.close();
    this.#folder.disk.remove(this.path);
  }

  close(): void {
    this.#handle?.close();
    this.#handle = null;
    this.#folder.closed(this);
  }
}
