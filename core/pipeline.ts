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
import { Applier } from "./applier.ts";
import { ApplyTurns } from "./apply_turns.ts";
import { Backlog } from "./backlog.ts";
import { Checkpoints } from "./checkpoints.ts";
import type { Delta, DeltaShelf } from "./delta/delta_shelf.ts";
import { assert } from "./assert.ts";
import { CascadeError, isCascadeError } from "./errors.ts";
import type { Epoch, History } from "./history.ts";
import type { Log } from "./log/log.ts";
import { RecordReader } from "./log/record.ts";
import {
  APPLY_DELAY_MS,
  APPLY_SLICE_BYTES,
  BATCH_BYTES_MAX,
  FINISH_BYTES_MAX,
  FLUSH_DELAY_MS,
  FLUSH_LAZY_BYTES,
} from "./node_limits.ts";
import { MarkIndex } from "./marks/mark_index.ts";
import type { Timer } from "./ports.ts";
import type { PipelineParts } from "./pipeline_parts.ts";
import { StallPace } from "./stall_pace.ts";
import type { Volume } from "./volume/volume.ts";

export class Pipeline {
  readonly log: Log;
  readonly history: History;
  readonly volumes: readonly Volume[];
  /** Deltas that the log goes on behind, and one that may be coming. */
  readonly shelf: DeltaShelf;
  /** The marks in the log. */
  readonly marks: MarkIndex;
  /** Called when the log needs room that what is held back from being applied takes: up to that LSN. */
  onPressed: (lsn: number) => void = () => {};
  /** Called when all has to be applied, whatever holds it back. */
  onReleased: () => Promise<void> = () => Promise.resolve();
  readonly reigns: boolean;
  readonly #parts: PipelineParts;
  readonly #applier: Applier;
  readonly #pace: StallPace;
  readonly #checkpoints: Checkpoints;
  readonly #turns: ApplyTurns;
  readonly #backlog: Backlog;
  #flushTimer: Timer | null = null;
  #stopped = false;
  #isStopping = false;
  #jumping: Promise<void> = Promise.resolve();
  #flushWantedLsn = 0;

  constructor(parts: PipelineParts) {
    this.#parts = parts;
    this.log = parts.log;
    this.history = parts.history;
    this.volumes = parts.volumes;
    this.reigns = parts.reigns;
    this.shelf = parts.shelf;
    this.marks = new MarkIndex(parts.marks);
    this.#applier = new Applier(parts.log, parts.shelf, parts.volumes, parts.checkpointLsn);
    this.#turns = new ApplyTurns({
      applier: this.#applier,
      hasVolumes: parts.volumes.length > 0,
      clock: parts.clock,
      littleBytes: parts.segmentBytes / 4,
      stableLsn: () => this.stableLsn,
      onApplied: () => this.#onApplied(),
      onBlocked: () => parts.events.onProgress(),
      onFatal: parts.events.onFatal,
    });
    this.#checkpoints = new Checkpoints({
      volumes: parts.volumes,
      clock: parts.clock,
      budgetBytes: parts.budgetBytes,
      appliedLsn: () => this.appliedLsn,
      save: (lsn) => parts.events.saveCheckpoint(lsn),
      onMade: () => {
        this.trimDeltas();
        parts.events.onProgress();
      },
    }, parts.checkpointLsn);
    this.#backlog = new Backlog(this, parts.clock, parts.budgetBytes);
    const wake = () => this.#stopped || parts.events.onProgress();
    this.#pace = new StallPace(parts.clock, parts.budgetBytes, parts.log.endLsn, wake);
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
    return this.volumes.length === 0 ? this.stableLsn : this.#applier.appliedLsn;
  }

  /** Nothing is applied past `lsn`, where a record begins at or behind what is applied; Infinity: all may be. */
  holdAt(lsn: number): void {
    this.#turns.holdAt(lsn);
  }

  /** See {@linkcode Pipeline.holdAt}. */
  get heldAtLsn(): number {
    return this.#turns.heldAtLsn;
  }

  /** The LSN as of which the volumes are, exactly; null: something is applied in part just now. */
  exactLsn(): number | null {
    return this.#applier.isExact && this.blocked === null ? this.appliedLsn : null;
  }

  /** Whether the volumes are an image that existed; the little that is missing of a delta is applied now. */
  wholeImage(): boolean {
    return this.#applier.finishDelta(FINISH_BYTES_MAX, this.stableLsn);
  }

  /** The volumes hold a part of a delta just now; what is missing is durable on the shelf. */
  get isInDelta(): boolean {
    return this.#applier.isInDelta;
  }

  get checkpointedLsn(): number {
    return this.#checkpoints.lsn;
  }

  /** Why applying stands still, or null. */
  get blocked(): string | null {
    return this.#turns.blocked;
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
    if (this.#backlog.isLong) {
      if (this.reigns && this.heldAtLsn < Infinity) this.onPressed(this.appendedLsn);
      // Below the primary nothing but the log's room counts what is held back on purpose.
      if (this.reigns || this.heldAtLsn === Infinity) return false;
    }
    if (this.#backlog.isCrowded) return false;
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
    return next !== null && next <= this.#checkpoints.lsn && next > this.#parts.events.failLsn();
  }

  #isPaced(): boolean {
    const neededLsn = Math.max(this.#parts.events.stallLsn(), this.log.startLsn);
    return this.#pace.holdsBack(Math.max(0, this.appendedLsn - neededLsn), this.appendedLsn);
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
    this.#turns.soon();
    this.#parts.events.onProgress();
  }

  #onApplied(): void {
    if (this.#checkpoints.isDue()) this.checkpoint().catch(this.#parts.events.onFatal);
    this.#parts.events.onProgress();
  }

  /** A reign begins: clients are shown what is in the log, applied or not; see {@linkcode Backlog}. */
  async inherit(exactLsn: number): Promise<void> {
    if (exactLsn > this.appliedLsn) this.#applier.moveTo(exactLsn);
    this.#turns.isPaused = true;
    await this.#backlog.inherit(() => !this.#stopped);
    this.#turns.isPaused = false;
    this.#turns.soon();
  }

  /** Applies what is stable now and not held back. */
  applyDue(): Promise<void> {
    return this.#turns.all();
  }

  /** Applies all that is stable now, below `lsn`, where a record or a gap begins: what held it back is over. */
  async applyAll(lsn = Infinity): Promise<void> {
    if (this.heldAtLsn < Math.min(this.stableLsn, lsn)) await this.onReleased();
    await this.#turns.all(lsn);
  }

  /** Now and then, for nodes that are nearly idle. */
  tick(): void {
    if (this.#checkpoints.isDueNow()) this.checkpoint().catch(this.#parts.events.onFatal);
    this.trimDeltas();
    this.#turns.soon();
  }

  /** Flushes the volumes and remembers up to where they are: the log below may go. */
  checkpoint(): Promise<void> {
    return this.#checkpoints.make();
  }

  /**
   * Sees to it that `bytes` and a segment in reserve can be appended within the budget: drops what
   * nobody needs; else hurries the checkpoint; else lets the slowest link overflow; `isUrgent`: any.
   */
  makeRoom(bytes: number, isUrgent = false): void {
    const wanted = bytes + this.#parts.segmentBytes;
    while (this.log.roomAhead() < wanted) {
      const next = this.log.oldestSegmentEnd;
      if (next === null) return;
      if (next > this.#checkpoints.lsn) {
        if (this.#checkpoints.canGrow) this.checkpoint().catch(this.#parts.events.onFatal);
        else if (this.heldAtLsn < next) this.onPressed(next);
        return;
      }
      if (!isUrgent && next > this.#parts.events.heldLsn()) return;
      if (!this.#parts.events.letGo(next)) return;
      this.log.dropBelow(next);
      // Nothing is dropped while the end of the log moves: whoever wants room asks again.
      if (this.log.oldestSegmentEnd === next) return;
    }
  }

  /**
   * Goes on behind a committed delta: what is here beyond what is stable is in the delta too, or was
   * never upstream's. Done again after a crash. Throws `log-full` (retryable).
   */
  async takeDelta(delta: Delta): Promise<void> {
    await this.cutToStable();
    const { stableLsn } = this;
    if (stableLsn >= delta.toLsn) return;
    assert(stableLsn >= delta.fromLsn, "a delta begins within what is here");
    await this.#jump(delta.toLsn, delta.trailer.history);
    this.onDurable();
  }

  /** The volumes were brought to `lsn`, durably, and the log goes on there. */
  async moveTo(lsn: number, epochs: readonly Epoch[]): Promise<void> {
    // No delta leads there: the volumes are there already.
    this.#turns.isPaused = true;
    await this.#jump(lsn, epochs);
    this.#applier.moveTo(lsn);
    this.#turns.isPaused = false;
    this.#checkpoints.moveTo(lsn);
    this.onDurable();
  }

  #jump(lsn: number, epochs: readonly Epoch[]): Promise<void> {
    const done = this.#jumpWithRoom(lsn, epochs);
    this.#jumping = done.catch(() => {});
    return done;
  }

  /** Waits for room. A reign that begins has nobody who applies yet, and nobody who waits for a peer. */
  async #jumpWithRoom(lsn: number, epochs: readonly Epoch[]): Promise<void> {
    const endLsn = this.appendedLsn;
    while (this.appendedLsn < lsn) {
      if (this.#isStopping) throw new CascadeError("stopping", "the node stops");
      try {
        await this.log.jump(lsn);
      } catch (error) {
        if (!isCascadeError(error, "log-full")) throw error;
        if (this.reigns) await this.applyAll().then(() => this.checkpoint());
        this.makeRoom(this.#parts.segmentBytes, this.reigns);
        await new Promise<void>((go) => this.#parts.clock.after(APPLY_DELAY_MS, go));
      }
    }
    for (const epoch of epochs) {
      if (epoch.firstLsn >= endLsn && !this.history.has(epoch.id)) this.history.add(epoch);
    }
  }

  /** Applies records that come with a delta for a node without an image: nothing else is applied then. */
  async applyForeign(records: Uint8Array): Promise<void> {
    const record = new RecordReader();
    this.#applier.beginForeign();
    let sliceAt = 0;
    for (let at = 0; at < records.length;) {
      const isWhole = this.#applier.applyRecord(record.at(records, at), records);
      if (isWhole) at += record.totalBytes;
      if (isWhole && at - sliceAt < APPLY_SLICE_BYTES) continue;
      sliceAt = at;
      await new Promise<void>((go) => this.#parts.clock.soon(go));
    }
  }

  /** Cuts off what is not known to be upstream's. */
  async cutToStable(): Promise<void> {
    if (this.appendedLsn === this.stableLsn) return;
    this.log.requestFlush();
    await this.log.flushed();
    if (this.appendedLsn <= this.stableLsn) return;
    this.#parts.events.onCutBack();
    await this.cutBack(this.stableLsn);
    this.#parts.events.onCutBack();
  }

  /** Deltas that are in the volumes for good, and that no link needs, go. */
  trimDeltas(): void {
    if (this.shelf.deltas.length === 0) return;
    this.shelf.dropBelow(Math.min(this.#checkpoints.lsn, this.#parts.events.neededLsn()));
  }

  /** Cuts a provisional tail off. Nothing stable may ever be cut. */
  async cutBack(lsn: number): Promise<void> {
    if (lsn < this.stableLsn || lsn < this.#applier.appliedLsn) {
      throw new CascadeError("bug", "a stable tail must never be cut", { where: { lsn } });
    }
    await this.log.cutBack(lsn);
    this.history.cutBack(lsn);
    this.marks.cutBack(lsn);
    this.#flushWantedLsn = Math.min(this.#flushWantedLsn, lsn);
  }

  /**
   * Stops applying and flushing; what runs is waited for. With `markClean`, everything is made durable,
   * applied and checkpointed first, and then said to be so: the volumes are an image that existed.
   */
  async stop(markClean: (() => Promise<void>) | null): Promise<void> {
    this.#isStopping = true;
    if (markClean !== null) {
      await this.#jumping;
      this.log.requestFlush();
      await this.log.flushed();
      await this.applyDue();
      // One may be under way that began earlier; the second covers the rest.
      for (let turn = 0; turn < 2; turn++) await this.checkpoint();
      await markClean();
    }
    this.#stopped = true;
    this.#flushTimer?.cancel();
    this.#turns.stop();
    this.#pace.stop();
    await this.#checkpoints.settled();
    await this.log.close();
    this.shelf.close();
    for (const volume of this.volumes) volume.close();
  }
}
