/**
 * The front of a node: what its exports do with the pipeline. On the primary, writes become
 * records; elsewhere exports show the applied image, read-only.
 *
 * Hot path: one call a request, no promise, no allocation; records are built in one staging
 * buffer, and one commit hands a batch to the log in one write.
 *
 * @module
 */
import { assert } from "./assert.ts";
import { CascadeError } from "./errors.ts";
import { FlushForesight } from "./flush_foresight.ts";
import {
  RECORD_HEADER_BYTES,
  recordBytes,
  RecordFlag,
  RecordType,
  writeRecord,
} from "./log/record.ts";
import type { ExportBackend, Front, FrontListener, Refusal } from "./nbd/backend.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Bytes, Clock, DataRange, Timer } from "./ports.ts";
import type { Volume } from "./volume/volume.ts";

const NO_PAYLOAD = new Uint8Array(0);

/** What the front asks of the links: how far all sync peers that count have come. */
export interface SyncGroup {
  /** The least LSN that all required sync peers have received; Infinity without any. */
  receivedLsn(): number;
  durableLsn(): number;
  /** A sync link with `onDisconnect: fail` has lost its peer. */
  failed(): boolean;
  /** How often that has happened: whoever waits then is refused. */
  failures(): number;
  /** Records were appended: sync links ship them at once. */
  onAppended(firstLsn: number, timeMs: number): void;
  /** A client waits for a flush: sync peers should hurry. */
  onFlushWanted(): void;
}

/** Counters of what clients did. */
export interface FrontCounters {
  writes: number;
  writeBytes: number;
  reads: number;
  readBytes: number;
  /** FLUSH requests. */
  flushes: number;
  /** Writes, zeroes and trims with FUA. */
  fuaWrites: number;
}

export class NodeFront implements Front {
  readonly counters: FrontCounters = {
    writes: 0,
    writeBytes: 0,
    reads: 0,
    readBytes: 0,
    flushes: 0,
    fuaWrites: 0,
  };
  readonly #pipeline: Pipeline;
  readonly #sync: SyncGroup;
  readonly #clock: Clock;
  readonly #listeners = new Set<FrontListener>();
  /** For batches that the log's memory has no room for in one piece. */
  readonly #ownStaging: Bytes;
  #staging: Bytes;
  #staged = 0;
  #batchTimeMs = 0;
  #lastTimeMs: number;
  #acknowledgedLsn: number;
  #flushedLsn: number;
  #stopping: Refusal | null = null;
  #failures = 0;
  #hold: Timer | null = null;
  #isHandedOver = false;
  readonly #foresight = new FlushForesight();

  constructor(pipeline: Pipeline, sync: SyncGroup, clock: Clock, lastRecordTimeMs: number) {
    this.#pipeline = pipeline;
    this.#sync = sync;
    this.#clock = clock;
    this.#lastTimeMs = lastRecordTimeMs;
    this.#ownStaging = new Uint8Array(pipeline.reigns ? pipeline.batchBytesMax : 0);
    this.#staging = this.#ownStaging;
    this.#acknowledgedLsn = pipeline.appendedLsn;
    // What sync peers made durable in an earlier run is not known: a FLUSH waits until they told.
    this.#flushedLsn = Math.min(pipeline.durableLsn, pipeline.appendedLsn, sync.durableLsn());
  }

  get acknowledgedLsn(): number {
    return this.#acknowledgedLsn;
  }

  get flushedLsn(): number {
    return this.#flushedLsn;
  }

  /** Clients wait, since another node is about to take over. */
  get isHeld(): boolean {
    return this.#hold !== null;
  }

  /** Takes nothing from clients for so long, or until {@linkcode NodeFront.release}: they wait. */
  hold(leaseMs: number): void {
    this.#hold?.cancel();
    this.#hold = this.#clock.after(leaseMs, () => this.release());
  }

  /** Clients go on. */
  release(): void {
    this.#hold?.cancel();
    this.#hold = null;
    this.progress();
  }

  get accepting(): boolean {
    const isHeld = this.#hold !== null || this.#isHandedOver;
    if (isHeld && this.#stopping === null) return false;
    return !this.#pipeline.reigns || this.#stopping !== null || this.#pipeline.isSpent ||
      this.#pipeline.accepts(2 * this.#pipeline.batchBytesMax);
  }

  get refusal(): Refusal | null {
    if (!this.#pipeline.reigns) return "not-primary";
    if (this.#stopping !== null) return this.#stopping;
    if (this.#isHandedOver) return "failed";
    if (this.#sync.failed()) return "sync-peer-lost";
    return this.#pipeline.isSpent ? "disk-full" : null;
  }

  get volumes(): readonly Volume[] {
    return this.#pipeline.volumes;
  }

  flushTicket(): number {
    this.counters.flushes++;
    this.#foresight.flushed(this.#staged > 0);
    return this.#pipeline.appendedLsn + this.#staged;
  }

  countFuaWrite(): void {
    this.counters.fuaWrites++;
  }

  requestFlush(): void {
    this.commit();
    this.#flush();
  }

  #flush(): void {
    if (this.#flushedLsn >= this.#pipeline.appendedLsn) return;
    this.#pipeline.flushNow();
    this.#sync.onFlushWanted();
  }

  /**
   * Builds a record behind those staged; returns the LSN at which it ends. Hot path. Throws
   * `log-full` before anything is staged: what was staged once has tickets and extents that point
   * at it, and must find room.
   */
  append(
    type: RecordType,
    flags: number,
    volume: number,
    offset: number,
    length: number,
    payload: Uint8Array,
  ): number {
    const bytes = recordBytes(type, length);
    if (this.#staged + bytes > this.#staging.length) this.commit();
    if (this.#pipeline.log.room() < this.#staged + bytes) throw logFull();
    if (this.#staged === 0) this.#beginBatch();
    const lsn = this.#pipeline.appendedLsn + this.#staged;
    const epoch = this.#pipeline.history.lastNumber;
    writeRecord(
      this.#staging,
      this.#staged,
      type,
      flags,
      volume,
      epoch,
      lsn,
      offset,
      length,
      this.#batchTimeMs,
      payload,
    );
    this.#staged += bytes;
    return lsn + bytes;
  }

  #beginBatch(): void {
    this.#batchTimeMs = this.nextTimeMs();
    this.#staging = this.#pipeline.log.space(this.#ownStaging.length) ?? this.#ownStaging;
  }

  /** The primary's time for a record: it never goes back. */
  nextTimeMs(): number {
    this.#lastTimeMs = Math.max(this.#lastTimeMs, this.#clock.nowMs());
    return this.#lastTimeMs;
  }

  commit(): void {
    if (this.#staged === 0) return;
    const firstLsn = this.#pipeline.appendedLsn;
    this.#pipeline.log.append(this.#staging.subarray(0, this.#staged));
    // Only now: a log that took nothing is asked again, since tickets were given for these bytes.
    this.#staged = 0;
    this.#pipeline.appended();
    this.#sync.onAppended(firstLsn, this.#batchTimeMs);
    this.#advance();
    // After the answers to this batch, which are written when this turn ends.
    if (this.#foresight.wrote()) this.#clock.soon(() => this.#stopping === null && this.#flush());
  }

  subscribe(listener: FrontListener): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** Moves the two positions; both only grow. */
  #advance(): boolean {
    const acknowledged = Math.min(this.#pipeline.appendedLsn, this.#sync.receivedLsn());
    const flushed = Math.min(this.#pipeline.durableLsn, this.#sync.durableLsn());
    const moved = acknowledged > this.#acknowledgedLsn || flushed > this.#flushedLsn;
    this.#acknowledgedLsn = Math.max(this.#acknowledgedLsn, acknowledged);
    this.#flushedLsn = Math.max(this.#flushedLsn, flushed);
    return moved;
  }

  /** Positions of the pipeline or of sync peers changed, or room was made. */
  progress(): void {
    const failures = this.#sync.failures();
    if (failures > this.#failures) this.#refuseAll("sync-peer-lost");
    this.#failures = failures;
    this.#advance();
    for (const listener of this.#listeners) listener.onProgress();
  }

  #refuseAll(refusal: Refusal): void {
    for (const listener of this.#listeners) listener.onRefused(refusal);
  }

  /**
   * Another node reigns: nothing is taken from clients any more. Where they are held, for a hand-over, all that was taken
   * is answered, and they wait until they are cut off: an error would be passed on to whoever might have come again.
   */
  fence(): void {
    if (this.isHeld) this.#isHandedOver = true;
    else this.stop("failed");
  }

  /** From now on writes are refused; `failed` also answers what waits with errors. */
  stop(refusal: "stopping" | "failed"): void {
    this.#stopping = refusal;
    if (refusal === "failed") this.#refuseAll("failed");
  }
}

function logFull(): CascadeError {
  return new CascadeError("log-full", "the log has no room for a write now", { retryable: true });
}

/** One volume of a primary as an export. */
export class WritableExport implements ExportBackend {
  readonly readOnly = false;
  readonly description: string;
  readonly front: NodeFront;
  readonly #volume: Volume;
  readonly #number: number;

  constructor(front: NodeFront, volume: Volume, number: number, description: string) {
    this.front = front;
    this.#volume = volume;
    this.#number = number;
    this.description = description;
  }

  get name(): string {
    return this.#volume.name;
  }

  get sizeBytes(): number {
    return this.#volume.sizeBytes;
  }

  get refusal(): Refusal | null {
    return this.front.refusal;
  }

  read(into: Uint8Array, offset: number): void {
    this.front.commit();
    this.front.counters.reads++;
    this.front.counters.readBytes += into.length;
    this.#volume.read(into, offset);
  }

  write(payload: Uint8Array, offset: number): number {
    assert(payload.length > 0 && offset + payload.length <= this.sizeBytes, "a checked write");
    this.#checkWelcome();
    const end = this.front.append(
      RecordType.WRITE,
      0,
      this.#number,
      offset,
      payload.length,
      payload,
    );
    const start = end - recordBytes(RecordType.WRITE, payload.length);
    this.#volume.overlayWrite(offset, payload.length, start + RECORD_HEADER_BYTES);
    this.front.counters.writes++;
    this.front.counters.writeBytes += payload.length;
    return end;
  }

  zero(offset: number, length: number, hole: boolean): number {
    return this.#zero(RecordType.ZERO, hole ? 0 : RecordFlag.NO_HOLE, offset, length);
  }

  trim(offset: number, length: number): number {
    return this.#zero(RecordType.TRIM, 0, offset, length);
  }

  #zero(type: RecordType, flags: number, offset: number, length: number): number {
    assert(length > 0 && offset + length <= this.sizeBytes, "a checked zero");
    this.#checkWelcome();
    const end = this.front.append(type, flags, this.#number, offset, length, NO_PAYLOAD);
    this.#volume.overlayZero(offset, length, end - recordBytes(type, length));
    this.front.counters.writes++;
    return end;
  }

  #checkWelcome(): void {
    const refusal = this.front.refusal;
    // A budget that is spent in the midst of a batch refuses the requests that come after it.
    if (refusal !== null && refusal !== "disk-full") {
      throw new CascadeError("not-primary", `writes are refused: ${refusal}`);
    }
  }

  dataRanges(offset: number, length: number, rangesMax: number): DataRange[] {
    this.front.commit();
    return this.#volume.dataRanges(offset, length, rangesMax);
  }
}
