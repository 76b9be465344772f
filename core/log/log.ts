/**
 * The append-only log of a node: segments of fixed size, preallocated and recycled, with one group
 * commit for all who wait.
 *
 * Appends are synchronous and meet the page cache; {@linkcode Log.requestFlush} makes them durable.
 * One flush is in flight at a time, and requests during it are served by one more. A failed flush
 * is fatal and never tried again.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { RECORD_BYTES_MAX, SEGMENT_HEADER_BYTES, SPARE_RETRY_MS } from "../limits.ts";
import type { Clock, Disk } from "../ports.ts";
import { checkRecord, RECORD_HEADER_BYTES, RecordReader } from "./record.ts";
import { recover, type RecoveryReport } from "./recovery.ts";
import {
  offsetOf,
  type Segment,
  SegmentState,
  writeSegmentHeader,
  writeWatermark,
} from "./segment.ts";
import { SegmentPool } from "./segment_pool.ts";
import { LogTail } from "./tail.ts";

export type { RecoveryReport } from "./recovery.ts";

/** What the log tells its node. Never called from within a call to the log. */
export interface LogEvents {
  /** `durableLsn` or `upstreamMarkDurable` moved. */
  onDurable(): void;
  /** More can be appended than before. */
  onRoom(): void;
  /** There is no room for another segment; it is tried again by itself. */
  onDiskFull(error: unknown): void;
  /** A flush failed: the log takes nothing any more. */
  onFatal(error: unknown): void;
}

/** How to open a log. */
export interface LogOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly folder: string;
  /** Room for segment files; one more than fit may exist. */
  readonly budgetBytes: number;
  readonly segmentBytes: number;
  /** Everything below is in the volumes; the log must reach at least up to here. */
  readonly checkpointLsn: number;
  readonly events: LogEvents;
}

export class Log {
  /** The largest record that fits this log: bounds what is lost at the end of a segment. */
  readonly recordBytesMax: number;
  readonly #folder: string;
  readonly #events: LogEvents;
  readonly #pool: SegmentPool;
  readonly #tail: LogTail;
  readonly #record = new RecordReader();
  readonly #capacity: number;
  readonly #segmentBytes: number;
  #segments: Segment[];
  #dirty = new Set<Segment>();
  #endLsn: number;
  #durableLsn = 0;
  #upstreamMark: number;
  #upstreamMarkDurable: number;
  #writtenMark: number;
  #sequence: number;
  #flushing: Promise<void> | null = null;
  #flushAgain = false;
  #flushCount = 0;
  #failed: unknown = null;
  #cutting = false;
  #closed = false;

  /** Opens or creates a log, and reads all of it. Throws `log-corrupt`, or what the disk throws. */
  static async open(options: LogOptions): Promise<{ log: Log; report: RecoveryReport }> {
    const { disk, clock, folder, checkpointLsn } = options;
    const found = await recover({ disk, clock, folder, checkpointLsn, readOnly: false });
    const pool = new SegmentPool({
      disk,
      folder,
      segmentBytes: options.segmentBytes,
      filesMax: Math.floor(options.budgetBytes / options.segmentBytes) + 1,
      onSpare: () => log.#onSpare(),
      onDiskFull: options.events.onDiskFull,
      onFatal: (error) => log.#fail(error),
      retry: (call) => clock.after(SPARE_RETRY_MS, call),
    });
    const log = new Log(options, pool, found);
    await pool.adopt(found.leftover, found.segments.length);
    if (log.#segments.length === 0) {
      await pool.waitForSpare();
      log.#roll();
    }
    pool.prepare(log.#segments.length);
    return { log, report: found.report };
  }

  private constructor(
    options: LogOptions,
    pool: SegmentPool,
    found: Awaited<ReturnType<typeof recover>>,
  ) {
    this.#folder = options.folder;
    this.#events = options.events;
    this.#pool = pool;
    this.#segmentBytes = options.segmentBytes;
    this.#capacity = options.segmentBytes - SEGMENT_HEADER_BYTES;
    this.recordBytesMax = Math.min(RECORD_BYTES_MAX, Math.floor(this.#capacity / 3));
    this.#segments = found.segments;
    this.#dirty = new Set(found.segments);
    this.#endLsn = found.endLsn;
    this.#upstreamMark = found.watermark.upstreamMark;
    this.#upstreamMarkDurable = found.watermark.upstreamMark;
    this.#writtenMark = found.watermark.upstreamMark;
    this.#sequence = found.watermark.sequence;
    this.#tail = new LogTail(options.budgetBytes, found.endLsn);
  }

  /** The oldest LSN that is kept. */
  get startLsn(): number {
    return this.#segments[0]?.baseLsn ?? this.#endLsn;
  }

  /** The end of what was appended. */
  get endLsn(): number {
    return this.#endLsn;
  }

  get durableLsn(): number {
    return this.#durableLsn;
  }

  /** What is known to be stable upstream; see {@linkcode Log.setUpstreamMark}. */
  get upstreamMark(): number {
    return this.#upstreamMark;
  }

  /** The upstream mark as it would be found after a power cut. */
  get upstreamMarkDurable(): number {
    return this.#upstreamMarkDurable;
  }

  /** Where the oldest segment ends; null when it is the only one and must stay. */
  get oldestSegmentEnd(): number | null {
    return this.#segments.length > 1 ? this.#segments[0]?.endLsn ?? null : null;
  }

  get segmentCount(): number {
    return this.#segments.length;
  }

  get bytesOnDisk(): number {
    return (this.#segments.length + this.#pool.fileCount) * this.#segmentBytes;
  }

  /** Flushes since the log was opened: group commits. */
  get flushCount(): number {
    return this.#flushCount;
  }

  #current(): Segment {
    const current = this.#segments.at(-1);
    assert(current !== undefined, "a log has a segment");
    return current;
  }

  /** Bytes of records that can be appended now for sure, whatever their sizes. */
  room(): number {
    return this.#roomWith(this.#pool.spareCount);
  }

  /** The same, once the segments that are being freed, and those that may be made, are there. */
  roomAhead(): number {
    return this.#roomWith(this.#pool.fileCount + this.#pool.mayMakeCount(this.#segments.length));
  }

  #roomWith(spares: number): number {
    if (this.#failed !== null || this.#closed) return 0;
    const left = this.#capacity - (this.#endLsn - this.#current().baseLsn);
    const lost = this.recordBytesMax;
    const more = spares * (this.#capacity - lost);
    return more === 0 ? left : Math.max(left, Math.max(0, left - lost) + more);
  }

  /**
   * Appends whole records; the first one's LSN is the present end. The caller made sure of room.
   * The bytes are copied and may be reused. Throws `log-full`, `disk-failed`.
   */
  append(bytes: Uint8Array): void {
    if (this.#failed !== null) throw this.#failed;
    assert(!this.#closed && !this.#cutting, "a closed log, or one being cut, is not written");
    assert(
      bytes.length === 0 || this.#record.at(bytes, 0).lsn === this.#endLsn,
      "records are appended at the end",
    );
    let at = 0;
    while (at < bytes.length) {
      const current = this.#current();
      const left = this.#capacity - (this.#endLsn - current.baseLsn);
      const rest = bytes.length - at;
      const fits = rest <= left ? rest : this.wholeRecords(bytes, at, left);
      if (fits > 0) this.#write(current, bytes.subarray(at, at + fits));
      at += fits;
      if (at < bytes.length) {
        assert(fits > 0 || this.#endLsn > current.baseLsn, "a record fits an empty segment");
        this.#roll();
      }
    }
    this.#pool.prepare(this.#segments.length, this.#fullness());
  }

  /** How many bytes from `at` on are whole records within `limit`. */
  wholeRecords(bytes: Uint8Array, at: number, limit: number): number {
    const last = Math.min(at + limit, bytes.length);
    let end = at;
    while (end + RECORD_HEADER_BYTES <= last) {
      const next = end + this.#record.at(bytes, end).totalBytes;
      if (next > last) break;
      end = next;
    }
    return end - at;
  }

  #write(segment: Segment, bytes: Uint8Array): void {
    segment.file.writeAt(bytes, offsetOf(segment, this.#endLsn));
    this.#tail.append(bytes);
    this.#endLsn += bytes.length;
    segment.endLsn = this.#endLsn;
    this.#dirty.add(segment);
  }

  /** Goes on in a spare segment: no new name, so no flush of the folder. */
  #roll(): void {
    const spare = this.#pool.take();
    if (spare === null) {
      throw new CascadeError("log-full", "no segment is free to go on in", {
        where: { folder: this.#folder },
        retryable: true,
      });
    }
    spare.baseLsn = spare.endLsn = this.#endLsn;
    writeSegmentHeader(spare.file, {
      state: SegmentState.STREAM,
      baseLsn: this.#endLsn,
      fileBytes: this.#segmentBytes,
    });
    this.#segments.push(spare);
    this.#dirty.add(spare);
  }

  #fullness(): number {
    return (this.#endLsn - this.#current().baseLsn) / this.#capacity;
  }

  /**
   * Notes up to where the log is known to be stable upstream. It is written beside the next flush;
   * only then may it be relied on (see {@linkcode Log.upstreamMarkDurable}).
   */
  setUpstreamMark(lsn: number): void {
    if (lsn > this.#upstreamMark) this.#upstreamMark = lsn;
  }

  /** Asks for all that is appended (and the upstream mark) to be made durable. Cheap to repeat. */
  requestFlush(): void {
    if (this.#failed !== null || this.#closed) return;
    if (this.#flushing !== null || this.#cutting) {
      this.#flushAgain = true;
      return;
    }
    if (this.#nothingToFlush()) return;
    this.#flushing = this.#flushLoop().finally(() => this.#flushing = null);
  }

  #nothingToFlush(): boolean {
    return this.#durableLsn === this.#endLsn && this.#upstreamMark === this.#upstreamMarkDurable;
  }

  async #flushLoop(): Promise<void> {
    do {
      this.#flushAgain = false;
      try {
        await this.#flushOnce();
      } catch (error) {
        this.#fail(error);
        return;
      }
      this.#events.onDurable();
    } while (this.#flushAgain && !this.#nothingToFlush() && !this.#closed && !this.#cutting);
  }

  async #flushOnce(): Promise<void> {
    const endLsn = this.#endLsn;
    const mark = this.#upstreamMark;
    if (mark !== this.#writtenMark) {
      this.#writeWatermark(this.#durableLsn, mark);
      this.#dirty.add(this.#current());
    }
    // In the order of their age: an older segment is never less durable than a newer one.
    const dirty = [...this.#dirty];
    this.#dirty.clear();
    for (const segment of dirty) await segment.file.flush();
    this.#flushCount++;
    assert(endLsn >= this.#durableLsn, "what is durable grows");
    this.#durableLsn = endLsn;
    this.#upstreamMarkDurable = mark;
    // Durable itself with the next flush; until then it survives a killed process.
    this.#writeWatermark(endLsn, mark);
  }

  #writeWatermark(durableLsn: number, upstreamMark: number): void {
    const sequence = ++this.#sequence;
    writeWatermark(this.#current().file, { sequence, durableLsn, upstreamMark });
    this.#writtenMark = upstreamMark;
  }

  #fail(error: unknown): void {
    if (this.#failed !== null) return;
    this.#failed = error;
    this.#events.onFatal(error);
  }

  #onSpare(): void {
    if (this.#failed === null && !this.#closed) this.#events.onRoom();
  }

  /** Settles when no flush is in flight or wanted. */
  async flushed(): Promise<void> {
    while (this.#flushing !== null) await this.#flushing;
    if (this.#failed !== null) throw this.#failed;
  }

  /**
   * Reads whole records from `lsn` on into `into`, none past `limitLsn`; returns the bytes.
   * What comes from a file is checked. Throws `log-gone`, `log-corrupt`.
   */
  read(lsn: number, into: Uint8Array, limitLsn: number): number {
    const limit = Math.min(limitLsn, this.#endLsn) - lsn;
    if (limit <= 0) return 0;
    const wanted = into.subarray(0, Math.min(limit, into.length));
    if (this.#tail.read(lsn, wanted)) {
      return wanted.length === limit ? limit : this.wholeRecords(wanted, 0, wanted.length);
    }
    const segment = this.#segmentAt(lsn);
    const piece = wanted.subarray(0, Math.min(wanted.length, segment.endLsn - lsn));
    segment.file.readAt(piece, offsetOf(segment, lsn));
    return this.#checkedRecords(segment, lsn, piece);
  }

  #checkedRecords(segment: Segment, lsn: number, bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      const fault = checkRecord(bytes, at, bytes.length - at);
      // Cut by the size of the buffer, not of the log.
      if (fault === "cut short" && lsn + bytes.length < segment.endLsn) break;
      const right = fault === null && this.#record.at(bytes, at).lsn === lsn + at;
      if (!right) throw this.#damage(segment, lsn + at, fault ?? "a record of another LSN");
      at += this.#record.totalBytes;
    }
    return at;
  }

  #damage(segment: Segment, lsn: number, found: string): CascadeError {
    return new CascadeError("log-corrupt", `the log is damaged: ${found}`, {
      where: {
        file: `${this.#folder}/${segment.name}`,
        offset: offsetOf(segment, lsn),
        LSN: lsn,
      },
      hint: "Look after the disk; `cascade log check` lists the damage",
    });
  }

  /** Fills `into` with the log's bytes from `lsn` on, within one record. Throws `log-gone`. */
  readAt(lsn: number, into: Uint8Array): void {
    if (this.#tail.read(lsn, into)) return;
    const segment = this.#segmentAt(lsn);
    assert(lsn + into.length <= segment.endLsn, "a record lies in one segment");
    segment.file.readAt(into, offsetOf(segment, lsn));
  }

  #segmentAt(lsn: number): Segment {
    // From the newest: most readers follow closely.
    for (let i = this.#segments.length - 1; i >= 0; i--) {
      const segment = this.#segments[i];
      if (segment !== undefined && lsn >= segment.baseLsn) return segment;
    }
    throw new CascadeError("log-gone", `the log begins at LSN ${this.startLsn}, not at ${lsn}`, {
      where: { folder: this.#folder, LSN: lsn },
    });
  }

  /** Gives back the segments that end at or below `lsn`; the last one stays. */
  dropBelow(lsn: number): void {
    while (this.#segments.length > 1 && (this.#segments[0]?.endLsn ?? Infinity) <= lsn) {
      const segment = this.#segments.shift();
      if (segment === undefined) return;
      this.#dirty.delete(segment);
      this.#pool.free(segment);
    }
  }

  /**
   * Makes `lsn`, where a record begins, the new end. The watermark is lowered and the segments
   * behind are given back, durably, before anything new is appended: at whatever step a crash
   * comes, recovery finds the old end or the new one.
   */
  async cutBack(lsn: number): Promise<void> {
    assert(lsn >= this.startLsn && lsn <= this.#endLsn, "the cut lies within the log");
    // First, so that no flush begins in between that would call the old end durable.
    this.#cutting = true;
    try {
      await this.flushed();
      await this.#cutBack(lsn);
    } finally {
      this.#cutting = false;
    }
    this.requestFlush();
  }

  async #cutBack(lsn: number): Promise<void> {
    this.#upstreamMark = Math.min(this.#upstreamMark, lsn);
    this.#upstreamMarkDurable = Math.min(this.#upstreamMarkDurable, lsn);
    this.#writeWatermark(Math.min(this.#durableLsn, lsn), this.#upstreamMark);
    await this.#current().file.flush();
    while (this.#segments.length > 1 && this.#current().baseLsn >= lsn) {
      const segment = this.#segments.pop();
      if (segment === undefined) break;
      this.#dirty.delete(segment);
      await this.#pool.freeNow(segment);
    }
    this.#current().endLsn = this.#endLsn = lsn;
    this.#durableLsn = Math.min(this.#durableLsn, lsn);
    this.#tail.cutBack(lsn);
    this.#dirty.add(this.#current());
  }

  /** Waits for what is in flight and closes the files. Flushes nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await this.flushed().catch(() => {/* whoever had to know was told by onFatal */});
    await this.#pool.close();
    for (const segment of this.#segments) segment.file.close();
  }
}
