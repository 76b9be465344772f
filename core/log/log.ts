/**
 * The append-only log of a node: segments of fixed size, preallocated and recycled, with one group
 * commit for all who wait.
 *
 * Appends are synchronous and meet the page cache; {@linkcode Log.requestFlush} makes them durable.
 * A failed write or flush is fatal and never tried again: the log refuses everything from then on.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError, isCascadeError } from "../errors.ts";
import { SPARE_RETRY_MS, WATERMARK_DELAY_MS } from "../limits.ts";
import type { Bytes, Timer } from "../ports.ts";
import { SegmentChain, wholeRecords } from "./chain.ts";
import { Durability } from "./durability.ts";
import { GroupCommit } from "./group_commit.ts";
import { type Gap, gapsOf } from "./gaps.ts";
import { checkBoundary, cutEnd, type EndParts, jumpEnd, spareFrom } from "./log_end.ts";
import type { LogEvents, LogOptions } from "./log_options.ts";
import { LogReader } from "./log_reader.ts";
import { RECORD_ALIGN_BYTES, RecordReader } from "./record.ts";
import { recover, type RecoveredLog, type RecoveryReport, settle } from "./recovery.ts";
import type { Watermark } from "./segment.ts";
import { SegmentFolder } from "./segment_file.ts";
import { SegmentPool } from "./segment_pool.ts";
import { LogTail } from "./tail.ts";

export type { Gap } from "./gaps.ts";
export type { LogEvents, LogOptions } from "./log_options.ts";
export type { RecoveryReport } from "./recovery.ts";

/** See the module's text. */
export class Log {
  readonly #folder: SegmentFolder;
  readonly #events: LogEvents;
  readonly #parts: EndParts;
  readonly #pool: SegmentPool;
  readonly #chain: SegmentChain;
  readonly #durability: Durability;
  readonly #tail: LogTail;
  readonly #reader: LogReader;
  readonly #commit = new GroupCommit(() => this.#flush());
  readonly #record = new RecordReader();
  #flushCount = 0;
  /** Woken after every flush, and when there will be none any more. */
  #flushWaiters: (() => void)[] = [];
  #failure: { readonly error: unknown } | null = null;
  #toldFatal = false;
  #noteTimer: Timer | null = null;
  #moving = false;
  #closed = false;

  /**
   * Opens or makes a log, and reads all of it; what is found is durable when this settles. Throws
   * `log-corrupt`, `wrong-folder`, or what the disk throws.
   */
  static async open(options: LogOptions): Promise<{ log: Log; report: RecoveryReport }> {
    const { disk, clock } = options;
    const folder = new SegmentFolder(disk, options.folder);
    try {
      const found = await recover(folder, clock, options.checkpointLsn);
      const watermark = await settle(folder, clock, found);
      const log = new Log(options, folder, found, watermark);
      await log.#begin();
      return { log, report: found.report };
    } catch (error) {
      folder.closeAll();
      throw error;
    }
  }

  private constructor(
    options: LogOptions,
    folder: SegmentFolder,
    found: RecoveredLog,
    watermark: Watermark,
  ) {
    const { budgetBytes, segmentBytes, clock, events } = options;
    this.#folder = folder;
    this.#events = events;
    const pool = this.#pool = new SegmentPool({
      folder,
      segmentBytes,
      filesMax: Math.floor(budgetBytes / segmentBytes) + 1,
      onSpare: () => this.#onSpare(),
      onDiskFull: events.onDiskFull,
      onFatal: (error) => this.#fail(error),
      retry: (call) => clock.after(SPARE_RETRY_MS, call),
      beforeRemoval: () => this.#commit.alone(() => this.#durability.rewrite()),
    }, found.survey.free);
    const { segments, report } = found;
    const chain = this.#chain = new SegmentChain(pool, segmentBytes, segments, report.lastEpoch);
    const durability = this.#durability = new Durability(chain, watermark);
    const tail = this.#tail = new LogTail(budgetBytes, found.endLsn);
    this.#reader = new LogReader(folder.path, segments, tail);
    this.#parts = { chain, durability, pool, tail, clock, segmentBytes };
  }

  /** A new log gets its first segment, durably. */
  async #begin(): Promise<void> {
    await this.#pool.begin();
    const isNew = this.#chain.segments.length === 0;
    if (isNew) await this.#pool.makeFirst();
    this.#chain.begin();
    if (isNew) await this.#durability.flush();
    this.#pool.prepare(this.#chain.fullness);
  }

  /** The oldest LSN that is kept. */
  get startLsn(): number {
    return this.#chain.startLsn;
  }

  /** Where the segments begin, in order. */
  readonly segmentBases = (): number[] => this.#chain.segments.map(({ baseLsn }) => baseLsn);

  /** The end of what was appended. */
  get endLsn(): number {
    return this.#chain.endLsn;
  }

  get durableLsn(): number {
    return this.#durability.durableLsn;
  }

  /** What is known to be stable upstream; see {@linkcode Log.setUpstreamMark}. */
  get upstreamMark(): number {
    return this.#durability.upstreamMark;
  }

  /** The upstream mark as it would at least be found after a power cut. */
  get upstreamMarkDurable(): number {
    return this.#durability.upstreamMarkDurable;
  }

  /**
   * Where the log begins once the oldest segment is dropped: where that one ends, or the gap behind
   * it. Null when it must stay: it is the only one, or the header of the next one is not durable
   * yet, without which the log would have no beginning.
   */
  get oldestSegmentEnd(): number | null {
    const [oldest, next] = this.#chain.segments;
    if (oldest === undefined || next === undefined) return null;
    return oldest.endLsn < this.durableLsn ? next.baseLsn : null;
  }

  /** What came as a delta, in order: between segments that are kept, so that it goes with the one before. */
  get gaps(): readonly Gap[] {
    return gapsOf(this.#chain.segments);
  }

  /** The gap in which `lsn` lies, its beginning included and its end not; or null. */
  gapAt(lsn: number): Gap | null {
    return this.gaps.find(({ fromLsn, toLsn }) => fromLsn <= lsn && lsn < toLsn) ?? null;
  }

  /** The first gap that begins at or behind `lsn`, or null. */
  nextGap(lsn: number): Gap | null {
    return this.gaps.find(({ fromLsn }) => fromLsn >= lsn) ?? null;
  }

  /** Segment files on the disk, spare ones included. */
  get segmentCount(): number {
    return this.#pool.fileCount;
  }

  get bytesOnDisk(): number {
    return this.#pool.fileCount * this.#parts.segmentBytes;
  }

  /** Flushes since the log was opened: group commits. */
  get flushCount(): number {
    return this.#flushCount;
  }

  /** The largest record that this log takes: a record never spans segments. */
  get recordBytesMax(): number {
    return this.#chain.recordBytesMax;
  }

  /** Bytes of records that can be appended now for sure, whatever their sizes. */
  room(): number {
    if (this.#failure !== null || this.#closed || this.#moving) return 0;
    return this.#chain.roomWith(this.#pool.spareCount);
  }

  /** The same, with those segments too that are being freed or made, or may still be made. */
  roomAhead(): number {
    if (this.#failure !== null || this.#closed) return 0;
    return this.#chain.roomWith(this.#pool.possibleCount);
  }

  /** How many bytes of `bytes` from `at` on are whole records within `limit`. */
  wholeRecords(bytes: Uint8Array, at: number, limit: number): number {
    return wholeRecords(bytes, at, limit, this.#record);
  }

  #checkUsable(): void {
    if (this.#failure !== null) throw this.#failure.error;
    if (this.#closed) throw new CascadeError("stopping", "the log is closed");
  }

  /**
   * Appends whole records; the first one's LSN is the present end. The caller made sure of room.
   * The bytes are copied and may be reused. Throws `log-full`; `disk-full` where even a preallocated
   * file can want room (nothing was appended in these cases); or what else the disk throws, which
   * is fatal.
   */
  append(bytes: Uint8Array): void {
    this.#checkUsable();
    assert(!this.#moving, "nothing is appended while the end is moved");
    this.#chain.check(bytes);
    const { endLsn, last } = this.#chain;
    try {
      this.#chain.append(bytes, this.#keep);
    } catch (error) {
      const isWhole = this.#chain.endLsn === endLsn && this.#chain.last === last;
      if (isWhole && isCascadeError(error, "disk-full")) throw error;
      this.#failure = { error };
      this.#parts.clock.soon(() => this.#fail(error));
      throw error;
    }
    this.#pool.prepare(this.#chain.fullness);
  }

  readonly #keep = (piece: Uint8Array): void => this.#tail.append(piece);

  /** Notes up to where the log is stable upstream: durable with the next flush. Never goes back. */
  setUpstreamMark(lsn: number): void {
    this.#durability.upstreamMark = lsn;
  }

  /** Asks for all that is appended, and the upstream mark, to be made durable. Cheap to repeat. */
  requestFlush(): void {
    this.#commit.request();
  }

  /** Settles when what is appended now, and the mark, are durable. Throws what the disk threw. */
  async flushed(): Promise<void> {
    const { endLsn, upstreamMark } = this;
    while (this.#failure === null && !this.#closed) {
      // A cut may have taken some of it away meanwhile.
      const isDurable = this.durableLsn >= Math.min(endLsn, this.endLsn) &&
        this.upstreamMarkDurable >= Math.min(upstreamMark, this.upstreamMark);
      if (isDurable) return;
      this.#commit.request();
      await new Promise<void>((go) => this.#flushWaiters.push(go));
    }
    this.#checkUsable();
  }

  /** One group commit. */
  async #flush(): Promise<void> {
    if (this.#failure !== null || this.#closed) return this.#wakeFlushWaiters();
    if (this.#durability.isComplete) return;
    try {
      await this.#durability.flush();
      this.#flushCount++;
      this.#wakeFlushWaiters();
      this.#events.onDurable();
      this.#noteTimer ??= this.#parts.clock.after(WATERMARK_DELAY_MS, () => this.#note());
    } catch (error) {
      this.#fail(error);
    }
  }

  /** Writes down what is durable; not beside every flush, since it costs one of them a tenth. */
  #note(): void {
    this.#noteTimer?.cancel();
    this.#noteTimer = null;
    if (this.#failure !== null || this.#closed || this.#moving) return;
    try {
      this.#durability.note();
    } catch (error) {
      this.#fail(error);
    }
  }

  #wakeFlushWaiters(): void {
    const waiters = this.#flushWaiters;
    this.#flushWaiters = [];
    for (const go of waiters) go();
  }

  #fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wakeFlushWaiters();
    if (this.#toldFatal) return;
    this.#toldFatal = true;
    this.#events.onFatal(this.#failure.error);
  }

  #onSpare(): void {
    if (this.#failure !== null || this.#closed) return;
    this.#pool.prepare(this.#chain.fullness);
    this.#events.onRoom();
  }

  /**
   * Reads whole records from `lsn` on into `into`, none past `limitLsn`, where a record ends. Returns the bytes: 0 at
   * the limit, or when `into` is too small. What comes from a file is checked. Throws `log-gone`, `log-corrupt`.
   */
  read(lsn: number, into: Uint8Array, limitLsn: number): number {
    this.#checkUsable();
    return this.#reader.read(lsn, into, Math.min(limitLsn, this.endLsn));
  }

  /** As `read`, in place, of what lies in memory in one piece, else null. Valid until the next append. */
  view(lsn: number, bytesMax: number, limitLsn: number): Uint8Array | null {
    this.#checkUsable();
    return this.#reader.view(lsn, bytesMax, Math.min(limitLsn, this.endLsn));
  }

  /** Where the next `bytes` may be built before they are appended: see `LogTail.space`. */
  readonly space = (bytes: number): Bytes | null => this.#moving ? null : this.#tail.space(bytes);

  /** See `LogReader.beginsRecord`. */
  readonly beginsRecord = (lsn: number): boolean => this.#reader.beginsRecord(lsn, this.endLsn);

  /** Fills `into` with the log's bytes from `lsn` on, within one record. Throws `log-gone`. */
  readAt(lsn: number, into: Uint8Array): void {
    this.#checkUsable();
    this.#reader.readAt(lsn, into);
  }

  /** Gives back segments while the log begins at or below `lsn` then, which is durable; see {@linkcode Log.oldestSegmentEnd}. */
  dropBelow(lsn: number): void {
    if (this.#failure !== null || this.#moving || this.#closed) return;
    assert(lsn <= this.durableLsn, "only what is durable is dropped");
    while ((this.oldestSegmentEnd ?? Infinity) <= lsn) this.#pool.free(this.#chain.takeOldest());
  }

  /**
   * Makes `lsn`, where a record or a gap begins, the new end; see {@linkcode cutEnd}. Gaps beyond go, too.
   * Nothing may be appended until this settles. Throws what the disk throws, which is fatal.
   */
  async cutBack(lsn: number): Promise<void> {
    this.#checkUsable();
    const gap = this.gapAt(lsn);
    const isWithin = lsn >= this.startLsn && lsn <= this.endLsn;
    assert(isWithin && (gap === null || gap.fromLsn === lsn), "the cut lies within the log");
    if (lsn === this.endLsn) return;
    if (gap === null) checkBoundary(this.#reader, lsn);
    await this.#move(() => this.#alone((parts) => cutEnd(parts, lsn)));
  }

  /**
   * Makes `toLsn`, ahead of the present end, the new one; see {@linkcode jumpEnd}. What lies between is a gap, covered by
   * a delta that is durable already: all below counts as durable and stable then. Nothing may be appended until this
   * settles. Throws `log-full` (retryable; nothing has changed), and what the disk throws, which is fatal.
   */
  async jump(toLsn: number): Promise<void> {
    this.#checkUsable();
    assert(toLsn > this.endLsn && toLsn % RECORD_ALIGN_BYTES === 0, "a jump goes ahead");
    await this.#move(async () => {
      const spare = await spareFrom(this.#pool);
      await this.#alone((parts) => jumpEnd(parts, spare, toLsn));
    });
    if (this.#failure === null && !this.#closed) this.#events.onDurable();
  }

  /** Moves the end while nothing is appended. */
  async #move(work: () => Promise<void>): Promise<void> {
    assert(!this.#moving, "the end is moved by one at a time");
    this.#moving = true;
    try {
      // Before flushes are stopped: to remove a file takes one.
      if (this.#pool.isFreeing) await this.#pool.freed();
      await work();
    } finally {
      this.#moving = false;
      this.#wakeFlushWaiters();
      this.#onSpare();
    }
  }

  /** While nothing is flushed; what fails in here is fatal. */
  async #alone(work: (parts: EndParts) => Promise<void>): Promise<void> {
    try {
      await this.#commit.alone(() => {
        this.#checkUsable();
        return work(this.#parts);
      });
    } catch (error) {
      if (!this.#closed) this.#fail(error);
      throw error;
    }
  }

  /** Waits for what is in flight and closes the files. Flushes nothing. */
  async close(): Promise<void> {
    if (this.#closed) return;
    this.#note();
    this.#closed = true;
    await this.#commit.alone(() => Promise.resolve());
    this.#wakeFlushWaiters();
    await this.#pool.close();
    this.#folder.closeAll();
  }
}
