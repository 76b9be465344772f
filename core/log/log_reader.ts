/**
 * Reading the log while it is written: from the memory tail when it is still there, else from the
 * segment's file, where every whole record is checked again.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import {
  checkRecord,
  CUT_SHORT,
  hasHeaderOf,
  RECORD_ALIGN_BYTES,
  RECORD_HEADER_BYTES,
  RecordReader,
} from "./record.ts";
import type { SegmentFile } from "./segment_file.ts";
import type { LogTail } from "./tail.ts";

/** Reads what the segments hold; the array is the log's own, and changes under it. */
export class LogReader {
  readonly #folder: string;
  readonly #segments: readonly SegmentFile[];
  readonly #tail: LogTail;
  readonly #record = new RecordReader();

  constructor(folder: string, segments: readonly SegmentFile[], tail: LogTail) {
    this.#folder = folder;
    this.#segments = segments;
    this.#tail = tail;
  }

  /** See `Log.read`. Hot path: what is in the tail costs one copy. */
  read(lsn: number, into: Uint8Array, limitLsn: number): number {
    if (lsn >= limitLsn) return 0;
    const segment = this.#segmentAt(lsn);
    const wanted = Math.min(limitLsn - lsn, into.length);
    const bytes = into.subarray(0, wanted);
    if (this.#tail.read(lsn, bytes)) return this.#wholeRecords(bytes, lsn);
    const piece = bytes.subarray(0, Math.min(wanted, segment.endLsn - lsn));
    segment.readAt(piece, segment.offsetOf(lsn));
    return this.#checkedRecords(segment, lsn, piece, piece.length === into.length);
  }

  /** See `Log.view`. */
  view(lsn: number, bytesMax: number, limitLsn: number): Uint8Array | null {
    const bytes = this.#tail.view(lsn, Math.min(bytesMax, limitLsn - lsn));
    if (bytes === null) return null;
    const whole = this.#wholeRecords(bytes, lsn);
    return whole === 0 ? null : bytes.subarray(0, whole);
  }

  /** Bytes of whole records in what memory holds: they were checked when they came. */
  #wholeRecords(bytes: Uint8Array, lsn: number): number {
    let at = 0;
    while (at + RECORD_HEADER_BYTES <= bytes.length) {
      this.#record.at(bytes, at);
      assert(this.#record.lsn === lsn + at, "readers begin where a record begins");
      const next = at + this.#record.totalBytes;
      if (next > bytes.length) break;
      at = next;
    }
    return at;
  }

  #checkedRecords(
    segment: SegmentFile,
    lsn: number,
    bytes: Uint8Array,
    isBufferFull: boolean,
  ): number {
    let at = 0;
    while (at < bytes.length) {
      const fault = checkRecord(bytes, at, bytes.length - at);
      // Where it is not the buffer that ends, the segment or what may be read does, and there a
      // record ends too: so the length cannot be true.
      if (fault === CUT_SHORT && isBufferFull) break;
      if (fault !== null) throw this.#damage(segment, lsn + at, fault);
      this.#record.at(bytes, at);
      if (this.#record.lsn !== lsn + at) {
        throw this.#damage(segment, lsn + at, `a record of LSN ${this.#record.lsn}`);
      }
      at += this.#record.totalBytes;
    }
    return at;
  }

  #damage(segment: SegmentFile, lsn: number, found: string): CascadeError {
    return new CascadeError("log-corrupt", `the log is damaged: ${found}`, {
      where: { file: segment.path, offset: segment.offsetOf(lsn), LSN: lsn },
      hint: "Look after the disk; `cascade log check` lists the damage",
    });
  }

  /** See `Log.readAt`. */
  readAt(lsn: number, into: Uint8Array): void {
    if (this.#tail.read(lsn, into)) return;
    const segment = this.#segmentAt(lsn);
    assert(lsn + into.length <= segment.endLsn, "a record lies in one segment");
    segment.readAt(into, segment.offsetOf(lsn));
  }

  /**
   * Whether what is known of `lsn` lets a record begin there: false where other bytes stand. At the end, below what
   * is kept and in gaps nothing stands. What a peer says of a position is asked before anything is read there.
   */
  beginsRecord(lsn: number, endLsn: number): boolean {
    if (lsn > endLsn || lsn % RECORD_ALIGN_BYTES !== 0) return false;
    const segment = this.#segments.findLast(({ baseLsn }) => baseLsn <= lsn);
    if (segment === undefined || lsn >= segment.endLsn) return true;
    if (segment.endLsn - lsn < RECORD_HEADER_BYTES) return false;
    const header = new Uint8Array(RECORD_HEADER_BYTES);
    this.readAt(lsn, header);
    return hasHeaderOf(header, 0, lsn);
  }

  #inGap(lsn: number, before: SegmentFile, after: SegmentFile): CascadeError {
    const message =
      `LSN ${before.endLsn} to ${after.baseLsn} came as a delta, and is not in the log`;
    return new CascadeError("log-gone", message, { where: { folder: this.#folder, LSN: lsn } });
  }

  #segmentAt(lsn: number): SegmentFile {
    // From the newest: most readers follow closely.
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const segment = this.#segments[i];
      if (segment === undefined || lsn < segment.baseLsn) continue;
      const next = this.#segments[i + 1];
      if (next !== undefined && lsn >= segment.endLsn) throw this.#inGap(lsn, segment, next);
      return segment;
    }
    const startLsn = this.#segments[0]?.baseLsn ?? 0;
    throw new CascadeError("log-gone", `the log begins at LSN ${startLsn}, not at ${lsn}`, {
      where: { folder: this.#folder, LSN: lsn },
    });
  }
}
