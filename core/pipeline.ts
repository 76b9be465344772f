/**
 * The pipeline that every node runs, whatever its role:
 *
 *     append -> durable -> applied -> checkpointed
 *
 * The rule with no exception: nothing reaches a volume before its record is durable in the local
 * log, and, below the primary, known durable upstream (**stable**), with that knowledge itself
 * durable here. So a volume and its log are an exact prefix of the primary's history after any
 * crash: recovery applies again from the checkpoint to at least where the volume had been.
 *
 * @module
 */
import { assert } from "./assert.ts";
import { CascadeError, describeError, isCascadeError } from "./errors.ts";
import type { History } from "./history.ts";
import type { Log } from "./log/log.ts";
import { RecordFlag, RecordReader, RecordType } from "./log/record.ts";
import {
  APPLY_DELAY_MS,
  APPLY_SLICE_BYTES,
  APPLY_ZERO_BYTES,
  BATCH_BYTES_MAX,
  CHECKPOINT_BYTES_MAX,
  CHECKPOINT_INTERVAL_MS,
  DISK_FULL_RETRY_MS,
  FLUSH_DELAY_MS,
  FLUSH_LAZY_BYTES,
  OVERLAY_EXTENTS_MAX,
  UNAPPLIED_BYTES_MAX,
} from "./node_limits.ts";
import { RECORD_BYTES_MAX } from "./limits.ts";
import type { Bytes, Clock, Timer } from "./ports.ts";
import { StallPace } from "./stall_pace.ts";
import type { Volume } from "./volume/volume.ts";

/** What the pipeline tells its node. All calls are synchronous. */
export interface PipelineEvents {
  /** Durable, stable or applied moved, or room was made: look at the positions again. */
  onProgress(): void;
  /** Makes a checkpoint's position durable in the state file. */
  saveCheckpoint(lsn: number): Promise<void>;
  /** The least LSN that a link still needs from the log; Infinity when none does. */
  neededLsn(): number;
  /** The least LSN that must be kept whatever it costs: clients wait for that link. */
  heldLsn(): number;
  /** The least LSN that a link with `onOverflow: stall`, or `fail`, needs; Infinity without any. */
  stallLsn(): number;
  failLsn(): number;
  /** The log below `lsn` must go although a link needs it. */
  onOverflow(lsn: number): void;
  /** The node must stop: a failed flush, a damaged log, a broken invariant. */
  onFatal(error: unknown): void;
}

/** What a pipeline is made of. */
export interface PipelineParts {
  readonly log: Log;
  readonly history: History;
  /** By number; empty on a log-only node. */
  readonly volumes: readonly Volume[];
  /** On the primary all that is durable here is stable. */
  readonly reigns: boolean;
  readonly checkpointLsn: number;
  readonly budgetBytes: number;
  readonly segmentBytes: number;
  readonly clock: Clock;
  readonly events: PipelineEvents;
}

export class Pipeline {
  readonly log: Log;
  readonly history: History;
  readonly volumes: readonly Volume[];
  readonly reigns: boolean;
  readonly #parts: PipelineParts;
  readonly #record = new RecordReader();
  readonly #applyBuffer: Bytes;
  readonly #pace: StallPace;
  #appliedLsn: number;
  #checkpointLsn: number;
  #checkpointing: Promise<void> | null = null;
  #lastCheckpointMs: number;
  /** How much of the zero record at the applied position was applied. */
  #zeroedBytes = 0;
  #applyScheduled = false;
  #applyTimer: Timer | null = null;
  #flushTimer: Timer | null = null;
  #blocked: string | null = null;
  #stopped = false;
  #flushWantedLsn = 0;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
    this.log = parts.log;
    this.history = parts.history;
    this.volumes = parts.volumes;
    this.reigns = parts.reigns;
    this.#appliedLsn = parts.checkpointLsn;
    this.#checkpointLsn = parts.checkpointLsn;
    this.#lastCheckpointMs = parts.clock.monotonicMs();
    const wake = () => this.#stopped || parts.events.onProgress();
    this.#pace = new StallPace(parts.clock, parts.budgetBytes, parts.log.endLsn, wake);
    this.#applyBuffer = new Uint8Array(RECORD_BYTES_MAX + APPLY_SLICE_BYTES);
  }

  get appendedLsn(): number {
    return this.log.endLsn;
  }

  get durableLsn(): number {
    return this.log.durableLsn;
  }

  /** Durable here and known durable upstream: what may be applied and forwarded. */
  get stableLsn(): number {
    return this.reigns
      ? this.log.durableLsn
      : Math.min(this.log.durableLsn, this.log.upstreamMarkDurable);
  }

  get appliedLsn(): number {
    return this.volumes.length === 0 ? this.stableLsn : this.#appliedLsn;
  }

  get checkpointedLsn(): number {
    return this.#checkpointLsn;
  }

  /** Why applying stands still, or null. */
  get blocked(): string | null {
    return this.#blocked;
  }

  /** The end of what clients have asked to be flushed; tells sync peers to hurry. */
  get flushWantedLsn(): number {
    return this.#flushWantedLsn;
  }

  /** What is appended in one go at the most: a fraction of the log, however small that is. */
  get batchBytesMax(): number {
    return Math.min(BATCH_BYTES_MAX, this.#parts.segmentBytes * 5 / 16);
  }

  /** Whether more may be appended now; else the giver slows down until `onProgress`. */
  accepts(bytes: number): boolean {
    if (this.#stopped) return false;
    if (this.appendedLsn - this.appliedLsn > this.#unappliedMax()) return false;
    for (const volume of this.volumes) {
      if (volume.overlayCount > OVERLAY_EXTENTS_MAX) return false;
    }
    if (this.#isPaced()) return false;
    if (this.log.room() >= bytes) return true;
    this.makeRoom(bytes);
    return this.log.room() >= bytes;
  }

  /** Writers are slowed down for a link that must not overflow. */
  get stalling(): boolean {
    return this.#pace.isSlowing;
  }

  /** The budget is spent on a link with `onOverflow: fail`. */
  get isSpent(): boolean {
    if (this.log.roomAhead() >= 2 * this.batchBytesMax) return false;
    const next = this.log.oldestSegmentEnd;
    return next !== null && next <= this.#checkpointLsn && next > this.#parts.events.failLsn();
  }

  #isPaced(): boolean {
    const neededLsn = Math.max(this.#parts.events.stallLsn(), this.log.startLsn);
    return this.#pace.holdsBack(Math.max(0, this.appendedLsn - neededLsn), this.appendedLsn);
  }

  #unappliedMax(): number {
    return Math.min(UNAPPLIED_BYTES_MAX, this.#parts.budgetBytes / 2);
  }

  /** To be called after records were appended: sees that they become durable before long. */
  appended(): void {
    if (this.log.roomAhead() < 2 * this.#parts.segmentBytes) this.makeRoom(0);
    if (this.appendedLsn - this.durableLsn >= FLUSH_LAZY_BYTES) this.log.requestFlush();
    else this.#flushSoon();
  }

  #flushSoon(): void {
    this.#flushTimer ??= this.#parts.clock.after(FLUSH_DELAY_MS, () => {
      this.#flushTimer = null;
      if (!this.#stopped) this.log.requestFlush();
    });
  }

  /** Somebody waits for all that is appended to be durable. */
  flushNow(): void {
    this.#flushWantedLsn = this.appendedLsn;
    this.log.requestFlush();
  }

  /** What was learnt to be durable upstream, as far as this log agrees with the upstream's. */
  setUpstreamMark(lsn: number): void {
    if (lsn <= this.log.upstreamMark) return;
    this.log.setUpstreamMark(lsn);
    this.#flushSoon();
  }

  /** The log's positions moved. */
  onDurable(): void {
    if (this.#stopped) return;
    this.#applySoon();
    this.#parts.events.onProgress();
  }

  #applySoon(): void {
    if (this.#applyScheduled || this.#stopped || this.volumes.length === 0) return;
    const bytes = this.stableLsn - this.#appliedLsn;
    if (bytes <= 0) return;
    // Little can wait for more: the turn of the event loop belongs to whoever waits for an answer.
    if (bytes < Math.min(APPLY_SLICE_BYTES, this.#parts.segmentBytes / 4)) {
      this.#applyTimer ??= this.#parts.clock.after(APPLY_DELAY_MS, () => {
        this.#applyTimer = null;
        if (!this.#stopped && !this.#applyScheduled) this.#applyTurn();
      });
      return;
    }
    this.#applyScheduled = true;
    this.#parts.clock.soon(() => {
      this.#applyScheduled = false;
      if (!this.#stopped) this.#applyTurn();
    });
  }

  #applyTurn(): void {
    try {
      this.#applySlice();
      this.#blocked = null;
    } catch (error) {
      if (!isCascadeError(error, "disk-full")) return this.#parts.events.onFatal(error);
      // A volume without room: nothing is lost, the log has it. Clients slow down at the bound.
      this.#blocked = describeError(error);
      this.#parts.clock.after(DISK_FULL_RETRY_MS, () => this.#applySoon());
      this.#parts.events.onProgress();
      return;
    }
    this.#applySoon();
    if (this.#checkpointDue()) this.checkpoint().catch(this.#parts.events.onFatal);
    this.#parts.events.onProgress();
  }

  /** Applies some records; one slice, so that clients are served in between. */
  #applySlice(): void {
    const stable = this.stableLsn;
    if (this.#appliedLsn >= stable) return;
    const slice = this.log.view(this.#appliedLsn, APPLY_SLICE_BYTES, stable) ??
      this.log.view(this.#appliedLsn, RECORD_BYTES_MAX, stable) ?? this.#readSlice(stable);
    for (let at = 0; at < slice.length; at += this.#record.totalBytes) {
      this.#record.at(slice, at);
      assert(this.#record.lsn === this.#appliedLsn, "records are applied in order");
      if (!this.#applyRecord(slice)) break;
      this.#appliedLsn += this.#record.totalBytes;
    }
    assert(this.#appliedLsn <= stable, "only what is stable is applied");
    for (const volume of this.volumes) volume.prune(this.#appliedLsn);
  }

  /** What does not lie in memory in one piece. */
  #readSlice(stable: number): Uint8Array {
    const small = this.#applyBuffer.subarray(0, APPLY_SLICE_BYTES);
    // A slice as a rule; a record that is larger than one in full.
    const bytes = this.log.read(this.#appliedLsn, small, stable) ||
      this.log.read(this.#appliedLsn, this.#applyBuffer, stable);
    assert(bytes > 0, "what is stable holds whole records");
    return this.#applyBuffer.subarray(0, bytes);
  }

  /** False: a long zero was applied in part; the next slice goes on with it. */
  #applyRecord(slice: Uint8Array): boolean {
    const record = this.#record;
    const volume = this.volumes[record.volume];
    switch (record.type) {
      case RecordType.WRITE:
        assert(volume !== undefined, "a record's volume is there");
        volume.applyWrite(
          slice.subarray(record.payloadStart, record.payloadStart + record.length),
          record.offset,
        );
        return true;
      case RecordType.ZERO:
      case RecordType.TRIM:
        assert(volume !== undefined, "a record's volume is there");
        return this.#applyZero(volume);
      case RecordType.MARK:
      case RecordType.EPOCH:
        return true;
    }
  }

  /** A zero may be as long as the volume: it is applied in slices, the event loop between them. */
  #applyZero(volume: Volume): boolean {
    const { offset, length, flags } = this.#record;
    const bytes = Math.min(length - this.#zeroedBytes, APPLY_ZERO_BYTES);
    volume.applyZero(offset + this.#zeroedBytes, bytes, (flags & RecordFlag.NO_HOLE) === 0);
    this.#zeroedBytes += bytes;
    if (this.#zeroedBytes < length) return false;
    this.#zeroedBytes = 0;
    return true;
  }

  /** Applies all that is stable now, before the node serves anybody. */
  async applyAll(): Promise<void> {
    while (this.#appliedLsn < this.stableLsn && this.volumes.length > 0) {
      this.#applySlice();
      await new Promise<void>((go) => this.#parts.clock.soon(go));
    }
  }

  #checkpointDue(): boolean {
    const bytes = this.appliedLsn - this.#checkpointLsn;
    return bytes >= Math.min(this.#parts.budgetBytes / 4, CHECKPOINT_BYTES_MAX);
  }

  /** Now and then, for nodes that are nearly idle. */
  tick(): void {
    const waitedMs = this.#parts.clock.monotonicMs() - this.#lastCheckpointMs;
    const due = waitedMs >= CHECKPOINT_INTERVAL_MS || this.#checkpointDue();
    if (due && this.appliedLsn > this.#checkpointLsn) {
      this.checkpoint().catch(this.#parts.events.onFatal);
    }
    this.#applySoon();
  }

  /** Flushes the volumes and remembers up to where they are: the log below may go. */
  checkpoint(): Promise<void> {
    this.#checkpointing ??= this.#checkpointOnce().finally(() => this.#checkpointing = null);
    return this.#checkpointing;
  }

  async #checkpointOnce(): Promise<void> {
    const lsn = this.appliedLsn;
    this.#lastCheckpointMs = this.#parts.clock.monotonicMs();
    if (lsn === this.#checkpointLsn) return;
    await Promise.all(this.volumes.map((volume) => volume.flush()));
    await this.#parts.events.saveCheckpoint(lsn);
    this.#checkpointLsn = lsn;
    this.#parts.events.onProgress();
  }

  /**
   * Sees to it that `bytes` and a segment in reserve can be appended within the budget: drops what
   * nobody needs; else hurries the checkpoint; else lets the slowest link overflow.
   */
  makeRoom(bytes: number): void {
    const wanted = bytes + this.#parts.segmentBytes;
    while (this.log.roomAhead() < wanted) {
      const next = this.log.oldestSegmentEnd;
      if (next === null) return;
      if (next > this.#checkpointLsn) {
        if (this.#checkpointing === null && this.appliedLsn > this.#checkpointLsn) {
          this.checkpoint().catch(this.#parts.events.onFatal);
        }
        return;
      }
      if (next > this.#parts.events.heldLsn()) return;
      if (next > this.#parts.events.neededLsn()) this.#parts.events.onOverflow(next);
      this.log.dropBelow(next);
    }
  }

  /** Cuts a provisional tail off. Nothing stable may ever be cut. */
  async cutBack(lsn: number): Promise<void> {
    if (lsn < this.stableLsn || lsn < this.#appliedLsn) {
      throw new CascadeError("bug", "a stable tail must never be cut", { where: { lsn } });
    }
    await this.log.cutBack(lsn);
    this.history.cutBack(lsn);
    this.#flushWantedLsn = Math.min(this.#flushWantedLsn, lsn);
  }

  /**
   * Stops applying and flushing; what runs is waited for. With `markClean`, everything is made
   * durable, applied and checkpointed first, and then said to be so.
   */
  async stop(markClean: (() => Promise<void>) | null): Promise<void> {
    if (markClean !== null) {
      this.log.requestFlush();
      await this.log.flushed();
      await this.applyAll();
      // One may be under way that began earlier; the second covers the rest.
      await this.checkpoint();
      await this.checkpoint();
      await markClean();
    }
    this.#stopped = true;
    this.#flushTimer?.cancel();
    this.#applyTimer?.cancel();
    this.#pace.stop();
    await this.#checkpointing?.catch(() => {/* the node is told by onFatal */});
    await this.log.close();
    for (const volume of this.volumes) volume.close();
  }
}
