/**
 * A delta as it is made: first blocks of the applied volume, where there are such, then the log written
 * since that reading began, coalesced.
 *
 * Reading a live volume is fuzzy: each block is as of some LSN between the one at which the reading
 * began (**since**) and now. The log from there to its stable end, sent behind it in a pass of its own,
 * makes all of it exact as of that end.
 *
 * When the log from "since" on must go before that, what it touched is read from the volume again in
 * another pass, and "since" moves up. So no delta, however large, holds the log for longer than the
 * budget allows. Invariant: every block touched in [from, since) is in a set that is yet to be read, or
 * was sent as of since or later.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { History } from "../history.ts";
import { RECORD_BYTES_MAX } from "../limits.ts";
import type { Log } from "../log/log.ts";
import { RECORD_HEADER_BYTES, recordBytes, RecordType } from "../log/record.ts";
import { isZero } from "../seed/runs.ts";
import type { Bytes } from "../ports.ts";
import { BlockSet } from "./block_set.ts";
import { LogCoalescer } from "./coalesce.ts";
import { BODY_START, type BodyCursor, writeRun } from "./delta_body.ts";
import type { DeltaHeader, DeltaTrailer } from "./delta_format.ts";
import type { DeltaSource } from "./delta_source.ts";
import { type HistorySource, visitExtents } from "./fold.ts";
import type { Run } from "./run.ts";
import { type SourceVolume, volumeRuns } from "./volume_runs.ts";

/** How often it is looked whether what is to be read is applied. */
const LOOK_MS = 5;

/**
 * So much of a body goes as it is read, in small records: more at a time would be read while the line stands still, as
 * much as the other end takes in before it has anything to do. A record may be larger.
 */
const ENOUGH_BYTES = 256 * 1024;

/** A run that is cut is cut into pieces of this. */
const BLOCK_BYTES = 4096;

/** What a delta is made from: a node, as far as deltas see it. */
export interface DeltaGround extends HistorySource {
  readonly log: Pick<
    Log,
    "read" | "readAt" | "gapAt" | "nextGap" | "gaps" | "endLsn" | "beginsRecord"
  >;
  readonly volumes: readonly SourceVolume[];
  /** Bytes of the volumes by number, also where they are not here. */
  readonly sizes: readonly number[];
  readonly history: History;
  readonly appliedLsn: () => number;
  readonly stableLsn: () => number;
  /** The primary's time at which the record before `lsn` was made. */
  readonly timeAtMs: (lsn: number) => number;
  /** What was read of the volumes may be sent once this settles. */
  readonly settled: () => Promise<void>;
}

type Stage =
  | { readonly kind: "volume"; readonly set: BlockSet }
  | { readonly kind: "log"; readonly coalescer: LogCoalescer; readonly toLsn: number };

/** See the module's text. */
export class MadeDelta implements DeltaSource {
  readonly header: DeltaHeader;
  /** It is not known what its receiver lacks: all blocks are in the set. */
  readonly isBlind: boolean;
  readonly #ground: DeltaGround;
  #stage: Stage;
  /** Blocks that are to be read (again) in the next pass. */
  #redo: BlockSet | null = null;
  #sinceLsn: number;
  #position = 0;
  /** Where the present pass began. */
  #passPosition = 0;
  #cursor: BodyCursor = BODY_START;
  #runs: AsyncGenerator<Run> | Generator<Run> | null = null;
  /** A run that did not fit the last buffer. */
  #carried: Run | null = null;
  #records = 0;
  #payloadBytes = 0;
  #bytesExpected: number;
  #isClosed = false;
  /** Nobody ships it just now: its connection is gone. */
  #isLeft = false;
  /** Grows with each seek: what was being read then is not wanted any more. */
  #seeks = 0;
  #turn: Promise<unknown> = Promise.resolve();

  /** `set`: blocks to be read from the volume; null: the log from `fromLsn` to `toLsn` alone. */
  constructor(ground: DeltaGround, header: DeltaHeader, set: BlockSet | null, isBlind = false) {
    this.#ground = ground;
    this.isBlind = isBlind;
    this.header = header;
    this.#sinceLsn = header.sinceLsn;
    if (set !== null) {
      this.#stage = { kind: "volume", set };
      this.#bytesExpected = set.countBytes();
      return;
    }
    assert(header.toLsn !== null, "a delta of the log knows its end");
    this.#stage = this.#logStage(header.toLsn);
    this.#bytesExpected = header.toLsn - header.fromLsn;
  }

  /** Finds out what a delta of the log will carry: one pass over the headers of its records. */
  async plan(): Promise<void> {
    if (this.#stage.kind !== "log") return;
    this.#bytesExpected = (await this.#stage.coalescer.plan()).deltaBytes;
  }

  get heldLsn(): number {
    return this.#sinceLsn;
  }

  get bytesExpected(): number {
    return Math.max(this.#bytesExpected, this.#position);
  }

  #logStage(toLsn: number): Stage {
    const { log, sizes, clock } = this.#ground;
    const coalescer = new LogCoalescer({ log, sizes, fromLsn: this.#sinceLsn, toLsn, clock });
    return { kind: "log", coalescer, toLsn };
  }

  /** Whether it can go on behind what a peer has of it. */
  canSeek(position: number, cursor: BodyCursor): boolean {
    if (cursor.pass === this.#cursor.pass) return position <= this.#position;
    return cursor.pass < this.#cursor.pass && position === this.#passPosition;
  }

  seek(position: number, cursor: BodyCursor): void {
    this.#seeks++;
    this.#isLeft = false;
    this.#position = position;
    // What a peer has of an earlier pass is all of that pass: this one begins anew.
    this.#cursor = cursor.pass < this.#cursor.pass
      ? { pass: this.#cursor.pass, volume: 0, offset: 0 }
      : cursor;
    this.#endRuns();
  }

  #endRuns(): void {
    this.#runs = null;
    this.#carried = null;
  }

  /** One thing at a time: a fold waits for what is being read, and the other way round. */
  #alone<T>(work: () => Promise<T>): Promise<T> {
    const done = this.#turn.then(work);
    this.#turn = done.catch(() => {/* whoever asked for it is told */});
    return done;
  }

  next(into: Bytes, bytesWanted = into.length): Promise<number> {
    return this.#alone(() => this.#next(into, Math.min(bytesWanted, into.length)));
  }

  async #next(into: Bytes, bytesWanted: number): Promise<number> {
    assert(into.length >= RECORD_BYTES_MAX, "the buffer holds any record");
    const seeks = this.#seeks;
    let at = 0;
    while (!this.#isClosed && at < ENOUGH_BYTES) {
      const run = this.#carried ?? await this.#nextRun();
      if (run === null || seeks !== this.#seeks) break;
      const isTooMuch = at + recordBytes(run.type, run.length) > bytesWanted;
      this.#carried = isTooMuch && at > 0 ? run : null;
      if (this.#carried !== null) break;
      const [first, rest] = isTooMuch ? cut(run, bytesWanted) : [run, null];
      this.#carried = rest;
      at += this.#write(into, at, first, recordBytes(first.type, first.length));
    }
    await this.#ground.settled();
    return at;
  }

  async #nextRun(): Promise<Run | null> {
    // The log of this pass went: what is left of it is read from the volume in the next.
    if (this.#stage.kind === "log" && this.#redo !== null) return null;
    this.#runs ??= this.#open(this.#stage);
    const { value, done } = await this.#runs.next();
    return done === true ? null : value;
  }

  #open(stage: Stage): AsyncGenerator<Run> | Generator<Run> {
    const { volume, offset } = this.#cursor;
    const { volumes } = this.#ground;
    if (stage.kind === "log") return stage.coalescer.runs({ volume, offset });
    return volumeRuns(stage.set, volumes, { volume, offset });
  }

  #write(into: Bytes, at: number, run: Run, bytes: number): number {
    const { pass } = this.#cursor;
    const { volume, offset, length } = run;
    if (run.type === RecordType.WRITE) {
      const start = at + RECORD_HEADER_BYTES;
      const payload = into.subarray(start, start + length);
      if (run.source === null) this.#ground.volumes[volume]?.readApplied(payload, offset);
      else this.#ground.log.readAt(run.source, payload);
      if (run.source === null && isZero(payload)) {
        return this.#write(into, at, { ...run, type: RecordType.ZERO }, RECORD_HEADER_BYTES);
      }
      this.#payloadBytes += length;
      writeRun(into, at, run, pass, this.#position, payload);
    } else writeRun(into, at, run, pass, this.#position);
    this.#records++;
    this.#position += bytes;
    this.#cursor = { pass, volume, offset: offset + length };
    return bytes;
  }

  endPass(): Promise<DeltaTrailer | null> {
    return this.#alone(() => this.#endPass());
  }

  async #endPass(): Promise<DeltaTrailer | null> {
    const { log, stableLsn } = this.#ground;
    if (this.#stage.kind === "log" && this.#redo === null) return this.#trailer(this.#stage.toLsn);
    // What came as a delta meanwhile may be half applied: its blocks are read again when it is.
    while (!this.#isClosed) {
      const gap = log.nextGap(this.#sinceLsn);
      if (gap === null || gap.fromLsn > stableLsn()) break;
      await this.#foldTo(gap.toLsn);
    }
    if (this.#redo !== null) {
      await this.#applied(this.#sinceLsn);
      this.#beginPass({ kind: "volume", set: this.#redo });
      this.#redo = null;
      return null;
    }
    const toLsn = stableLsn();
    if (toLsn === this.#sinceLsn) return this.#trailer(toLsn);
    this.#beginPass(this.#logStage(toLsn));
    return null;
  }

  #beginPass(stage: Stage): void {
    this.#stage = stage;
    this.#passPosition = this.#position;
    this.#cursor = { pass: this.#cursor.pass + 1, volume: 0, offset: 0 };
    this.#endRuns();
  }

  async #applied(lsn: number): Promise<void> {
    const { appliedLsn, clock } = this.#ground;
    while (appliedLsn() < lsn && !this.#isClosed) {
      // What is held back may never be applied: the node stops, and waits for whoever folds.
      if (this.#isLeft) throw new CascadeError("connection-lost", "the connection was closed");
      await new Promise<void>((go) => clock.after(LOOK_MS, go));
    }
  }

  #trailer(toLsn: number): DeltaTrailer {
    const { history, timeAtMs } = this.#ground;
    const { id, fromLsn } = this.header;
    return {
      id,
      toLsn,
      bodyBytes: this.#position,
      records: this.#records,
      payloadBytes: this.#payloadBytes,
      logBytes: toLsn - fromLsn,
      history: history.epochs.filter((epoch) => epoch.firstLsn < toLsn),
      timeMs: timeAtMs(toLsn),
    };
  }

  foldTo(lsn: number): Promise<void> {
    return this.#alone(() => this.#foldTo(lsn));
  }

  async #foldTo(lsn: number): Promise<void> {
    if (lsn <= this.#sinceLsn || this.#isClosed) return;
    if (this.#ground.volumes.length === 0) {
      throw new CascadeError("log-gone", "the log goes, and this node has no volume to read from");
    }
    const redo = this.#redo ?? new BlockSet(this.#ground.sizes);
    await visitExtents(this.#ground, this.#sinceLsn, lsn, (volume, offset, length) => {
      redo.add(volume, offset, length);
    });
    // A log pass that is cut short always has a volume pass behind it, however little was touched.
    this.#redo = redo;
    if (this.#stage.kind === "log") this.#endRuns();
    this.#sinceLsn = lsn;
  }

  /** What is waited for to ship it is waited for no more; {@linkcode MadeDelta.seek} takes it up again. */
  leave(): void {
    this.#isLeft = true;
  }

  close(): void {
    this.#isClosed = true;
  }
}

/** What of a run makes a record of about so many bytes, in whole blocks; and the rest, if any. */
function cut(run: Run, bytes: number): [Run, Run | null] {
  const blocks = Math.max(1, Math.floor((bytes - RECORD_HEADER_BYTES) / BLOCK_BYTES));
  const length = blocks * BLOCK_BYTES;
  if (run.type !== RecordType.WRITE || run.length <= length) return [run, null];
  const { offset, source } = run;
  return [{ ...run, length }, {
    ...run,
    offset: offset + length,
    length: run.length - length,
    source: source === null ? null : source + length,
  }];
}
