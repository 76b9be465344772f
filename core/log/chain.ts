/**
 * The segments that hold a log's records, oldest first, and appending to the last one.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { RECORD_BYTES_MAX, SEGMENT_HEADER_BYTES } from "../limits.ts";
import { PageWriter } from "./page_writer.ts";
import { RECORD_HEADER_BYTES, RecordReader } from "./record.ts";
import { SegmentState } from "./segment.ts";
import type { SegmentFile } from "./segment_file.ts";
import type { SegmentPool } from "./segment_pool.ts";

/** How many bytes of `bytes` from `at` on are whole records within `limit`. */
export function wholeRecords(
  bytes: Uint8Array,
  at: number,
  limit: number,
  record: RecordReader,
): number {
  const last = Math.min(at + limit, bytes.length);
  let end = at;
  while (end + RECORD_HEADER_BYTES <= last) {
    const next = end + record.at(bytes, end).totalBytes;
    if (next > last) break;
    end = next;
  }
  return end - at;
}

function tooLarge(total: number, capacity: number): CascadeError {
  const message = `a record of ${total} bytes, a segment holds ${capacity}`;
  return new CascadeError("log-full", message, {
    hint: "Choose larger segments in the topology",
  });
}

/** See the module's text. Nothing here waits for the disk. */
export class SegmentChain {
  /** The largest record that is taken: bounds what is lost at the end of a segment. */
  readonly recordBytesMax: number;
  /** Never empty once {@linkcode SegmentChain.begin} was called. */
  readonly segments: SegmentFile[];
  readonly #pool: SegmentPool;
  readonly #segmentBytes: number;
  readonly #capacity: number;
  readonly #record = new RecordReader();
  readonly #writer = new PageWriter();
  /** With records that were written since they were last taken to be flushed; oldest first. */
  #dirty: SegmentFile[] = [];
  #endLsn: number;
  /** Where the last segment has no more room. */
  #limitLsn = 0;
  /** Up to where a write may have left something that is not part of the log. */
  #brokenLsn = 0;
  #lastEpoch: number;

  /** For a log that ends with the last of `segments`, or begins at LSN 0 when there are none. */
  constructor(
    pool: SegmentPool,
    segmentBytes: number,
    segments: SegmentFile[],
    lastEpoch: number,
  ) {
    this.#pool = pool;
    this.#segmentBytes = segmentBytes;
    this.#capacity = segmentBytes - SEGMENT_HEADER_BYTES;
    this.recordBytesMax = Math.min(RECORD_BYTES_MAX, Math.floor(this.#capacity / 3));
    assert(this.recordBytesMax >= 2 * RECORD_HEADER_BYTES, "a segment holds some records");
    this.segments = segments;
    this.#endLsn = segments.at(-1)?.endLsn ?? 0;
    this.#lastEpoch = lastEpoch;
  }

  /** A new log gets its first segment: there must be a spare then. */
  begin(): void {
    if (this.segments.length === 0) this.#roll();
    this.#limitLsn = this.last.limitLsn();
  }

  get startLsn(): number {
    return this.segments[0]?.baseLsn ?? this.#endLsn;
  }

  get endLsn(): number {
    return this.#endLsn;
  }

  /** The segment that is appended to. */
  get last(): SegmentFile {
    const last = this.segments.at(-1);
    assert(last !== undefined, "a log has a segment");
    return last;
  }

  /** How full the last segment is: 0 to 1. */
  get fullness(): number {
    return 1 - (this.#limitLsn - this.#endLsn) / this.#capacity;
  }

  /** Bytes of records that could be appended for sure with so many spares, whatever their sizes. */
  roomWith(spares: number): number {
    const left = Math.max(0, this.#limitLsn - this.#endLsn);
    if (spares === 0) return left;
    const lost = this.recordBytesMax;
    const capacity = this.#capacity;
    // The end of every segment but the last may be too small for the record that comes.
    return Math.max(left, Math.max(0, left - lost) + (spares - 1) * (capacity - lost) + capacity);
  }

  /**
   * Checks the order of whole records, and that there is room for them, before anything is
   * written. Throws `log-full`.
   */
  check(bytes: Uint8Array): void {
    const record = this.#record;
    let left = this.#limitLsn - this.#endLsn;
    let epoch = this.#lastEpoch;
    let rolls = 0;
    let at = 0;
    while (at < bytes.length) {
      record.at(bytes, at);
      assert(record.lsn === this.#endLsn + at, "records follow each other without a gap");
      assert(record.epoch >= epoch, "epochs never go back");
      epoch = record.epoch;
      const total = record.totalBytes;
      if (total > this.#capacity) throw tooLarge(total, this.#capacity);
      if (total > left) {
        rolls++;
        left = this.#capacity;
      }
      left -= total;
      at += total;
    }
    assert(at === bytes.length, "only whole records are appended");
    if (rolls > this.#pool.spareCount) {
      throw new CascadeError("log-full", "no segment is free to go on in", { retryable: true });
    }
    this.#lastEpoch = epoch;
  }

  /** Writes checked records, in one write a segment, and calls `written` with each piece. */
  append(bytes: Uint8Array, written: (piece: Uint8Array) => void): void {
    for (let at = 0; at < bytes.length;) {
      const fits = wholeRecords(bytes, at, this.#limitLsn - this.#endLsn, this.#record);
      if (fits > 0) {
        const piece = bytes.subarray(at, at + fits);
        this.#write(piece);
        written(piece);
      }
      at += fits;
      if (at < bytes.length) this.#roll();
    }
  }

  #write(piece: Uint8Array): void {
    const { last } = this;
    const startLsn = this.#endLsn;
    this.#brokenLsn = Math.max(this.#brokenLsn, startLsn + piece.length);
    this.markDirty();
    this.#writer.append(last, piece, last.offsetOf(startLsn), last.offsetOf(this.#limitLsn));
    this.#endLsn += piece.length;
    last.endLsn = this.#endLsn;
    // What a write that failed left behind the end must never be taken for records.
    const broken = Math.min(this.#brokenLsn, this.#limitLsn) - this.#endLsn;
    if (broken > 0) last.writeAt(new Uint8Array(broken), last.offsetOf(this.#endLsn));
    this.#brokenLsn = 0;
  }

  /** Goes on in a spare segment: no new name, so no flush of the folder. */
  #roll(): void {
    const spare = this.#pool.take();
    assert(spare !== null, "it was made sure that there is a spare");
    spare.beginAt(this.#endLsn);
    spare.writeHeader(SegmentState.STREAM, this.#segmentBytes);
    this.segments.push(spare);
    this.#limitLsn = this.#endLsn + this.#capacity;
    this.markDirty();
  }

  /**
   * Goes on in `segment`, a jump from the present end: all of it is durable. What a write that failed
   * may have left behind the end of the segment before is never read: that one ends where this says.
   */
  jump(segment: SegmentFile): void {
    assert(segment.jumpFromLsn === this.#endLsn, "a jump begins where the log ends");
    assert(this.#dirty.length === 0, "a jump comes after all that is to be flushed");
    this.#writer.forget();
    this.segments.push(segment);
    this.#endLsn = segment.baseLsn;
    this.#limitLsn = segment.limitLsn();
    this.#brokenLsn = 0;
  }

  /** The last segment has bytes that are to be flushed. */
  markDirty(): void {
    if (this.#dirty.at(-1) !== this.last) this.#dirty.push(this.last);
  }

  /** The segments that are to be flushed, oldest first; the caller flushes them. */
  takeDirty(): readonly SegmentFile[] {
    const dirty = this.#dirty;
    this.#dirty = [];
    return dirty;
  }

  /** Takes out the oldest segment; the last one stays. */
  takeOldest(): SegmentFile {
    const oldest = this.segments.shift();
    assert(oldest !== undefined && this.segments.length > 0, "the last segment stays");
    return oldest;
  }

  /**
   * Makes `lsn`, where a record or a gap begins, the end, in memory alone: returns the segments that lay behind it,
   * last first, and where the one that is the last now had ended.
   */
  cutBack(lsn: number): { behind: readonly SegmentFile[]; oldEndLsn: number } {
    const behind: SegmentFile[] = [];
    this.#writer.forget();
    // A jump to `lsn` stays, also when nothing is left in it; one to beyond goes with its gap.
    const isBehind = ({ baseLsn, jumpFromLsn }: SegmentFile) =>
      baseLsn > lsn || (baseLsn === lsn && jumpFromLsn === null);
    while (this.segments.length > 1 && isBehind(this.last)) {
      behind.push(...this.segments.splice(-1));
    }
    this.#dirty = this.#dirty.filter((segment) => !behind.includes(segment));
    const oldEndLsn = this.last.endLsn;
    this.last.endLsn = this.#endLsn = lsn;
    this.#limitLsn = this.last.limitLsn();
    // The epoch of the record before is not known here; whoever appends next knows it.
    this.#lastEpoch = 0;
    return { behind, oldEndLsn };
  }
}
