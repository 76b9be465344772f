/**
 * Appends to a segment in whole pages: where only a part of a page is written that the page cache
 * has lost meanwhile, the system reads it from the disk first, and whoever appends waits for that.
 * Segments are used again long after their pages were last touched, so that would be the rule.
 *
 * The bytes before the first new one are written again as they are, and zeroes behind the last one.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { LOG_WRITE_BYTES, PAGE_BYTES } from "../limits.ts";
import type { SegmentFile } from "./segment_file.ts";

/** See the module's text. One appends to one segment at a time. */
export class PageWriter {
  /** The last page written, as far as it was filled: the beginning of the next write. */
  readonly #page = new Uint8Array(LOG_WRITE_BYTES);
  #file: SegmentFile | null = null;
  /** File offset at which the last write ended: that much of its page is in `#page`. */
  #end = 0;

  /** The segment's bytes before its end were changed by others, or another one is meant. */
  forget(): void {
    this.#file = null;
  }

  /**
   * Writes `bytes` at the file offset `offset`, and zeroes up to the next page, or to `fileBytes`,
   * where the file ends. Throws what the disk throws: what is behind `offset` is in doubt then.
   */
  append(file: SegmentFile, bytes: Uint8Array, offset: number, fileBytes: number): void {
    const before = offset % PAGE_BYTES;
    assert(offset + bytes.length <= fileBytes, "an append stays within its segment");
    if (this.#file !== file || this.#end !== offset) {
      file.readAt(this.#page.subarray(0, before), offset - before);
    }
    this.#file = null;
    let fileAt = offset - before;
    let filled = before;
    let at = 0;
    // A large piece goes to the disk from where it is; only its first and last page are put together.
    if (before + bytes.length > LOG_WRITE_BYTES) {
      if (before > 0) {
        at = PAGE_BYTES - before;
        this.#page.set(bytes.subarray(0, at), before);
        file.writeAt(this.#page.subarray(0, PAGE_BYTES), fileAt);
        fileAt += PAGE_BYTES;
        filled = 0;
      }
      while (bytes.length - at >= PAGE_BYTES) {
        const pages = Math.floor((bytes.length - at) / PAGE_BYTES) * PAGE_BYTES;
        const length = Math.min(pages, LOG_WRITE_BYTES);
        file.writeAt(bytes.subarray(at, at + length), fileAt);
        at += length;
        fileAt += length;
      }
    }
    this.#page.set(bytes.subarray(at), filled);
    filled += bytes.length - at;
    this.#writeLast(file, fileAt, filled, fileBytes);
    this.#file = file;
    this.#end = fileAt + filled;
    assert(this.#end === offset + bytes.length, "all was written");
    this.#page.copyWithin(0, filled - filled % PAGE_BYTES, filled);
  }

  #writeLast(file: SegmentFile, fileAt: number, filled: number, fileBytes: number): void {
    if (filled === 0) return;
    const pagesEnd = Math.ceil(filled / PAGE_BYTES) * PAGE_BYTES;
    const end = Math.min(pagesEnd, fileBytes - fileAt);
    this.#page.fill(0, filled, end);
    file.writeAt(this.#page.subarray(0, end), fileAt);
  }
}
