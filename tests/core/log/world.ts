/**
 * A log on a simulated host: opened, crashed and opened again, in virtual time.
 *
 * @module
 */
import { assertEquals } from "@std/assert";
import { assert } from "../../../core/assert.ts";
import { Log, type LogOptions, type RecoveryReport } from "../../../core/log/log.ts";
import { recordBytes, RecordType, writeRecord } from "../../../core/log/record.ts";
import type { Bytes } from "../../../core/ports.ts";
import { Scheduler, SimClock, turn } from "../../sim/clock.ts";
import { HostDisk, SimDisk } from "../../sim/disk.ts";
import { type CrashKind, Life } from "../../sim/life.ts";
import { Prng } from "../../sim/prng.ts";
import { Trace } from "../../sim/trace.ts";

export const FOLDER = "/log";
export const KIB = 1024;
/** Small segments: 60 KiB of records in each. */
export const SEGMENT_BYTES = 64 * KIB;

const LIMITS = { timeMsMax: 1e9, stepsMax: 1e6 };

export class LogWorld {
  readonly scheduler = new Scheduler();
  readonly prng: Prng;
  readonly host: HostDisk;
  life = new Life("a", 1);
  disk: SimDisk;
  clock: SimClock;
  /** What the log told since it was opened. */
  readonly told: string[] = [];
  #log: Log | null = null;
  report: RecoveryReport | null = null;

  constructor(seed = 1) {
    this.prng = new Prng(seed);
    this.host = new HostDisk("a", this.scheduler, new Trace(), this.prng.fork("host"));
    this.host.placeFolder(FOLDER);
    [this.disk, this.clock] = this.#ports();
  }

  #ports(): [SimDisk, SimClock] {
    const wall = { originMs: 1_700_000_000_000 };
    const clock = new SimClock(this.scheduler, this.life, this.prng.fork("clock"), wall);
    return [new SimDisk(this.host, this.life), clock];
  }

  get log(): Log {
    assert(this.#log !== null, "the log is open");
    return this.#log;
  }

  options(change: Partial<LogOptions> = {}): LogOptions {
    return {
      disk: this.disk,
      clock: this.clock,
      folder: FOLDER,
      budgetBytes: 4 * SEGMENT_BYTES,
      segmentBytes: SEGMENT_BYTES,
      checkpointLsn: 0,
      events: {
        onDurable: () => void this.told.push("durable"),
        onRoom: () => void this.told.push("room"),
        onDiskFull: (error) => void this.told.push(error === null ? "disk-room" : "disk-full"),
        onFatal: () => void this.told.push("fatal"),
      },
      ...change,
    };
  }

  async open(change: Partial<LogOptions> = {}): Promise<Log> {
    this.told.length = 0;
    const { log, report } = await this.settle(Log.open(this.options(change)));
    this.#log = log;
    this.report = report;
    return log;
  }

  /** Runs the world until `work` has settled. Throws `SimDeath` when the process dies before. */
  async settle<T>(work: Promise<T>): Promise<T> {
    let isOver = false;
    const end = () => isOver = true;
    work.then(end, end);
    // A promise that is settled already settles within a turn, without any event.
    await turn();
    await this.scheduler.run({ ...LIMITS, until: () => isOver || !this.life.alive });
    if (!isOver) this.life.check();
    assert(isOver, "what was waited for settles");
    return work;
  }

  /** Runs until `done`, or nothing is left to happen. */
  async until(done: () => boolean): Promise<void> {
    await turn();
    await this.scheduler.run({ ...LIMITS, until: () => done() || !this.life.alive });
    assert(done(), "what was waited for has come");
  }

  /** Runs for so long. */
  async wait(ms: number): Promise<void> {
    const timeMsMax = this.scheduler.nowMs + ms;
    await turn();
    await this.scheduler.run({ until: () => false, timeMsMax, stepsMax: LIMITS.stepsMax });
  }

  /** Ends this process; the next one finds what a crash of this kind leaves. */
  crash(kind: CrashKind): void {
    this.life.end();
    this.host.crash(kind);
    this.life = new Life("a", this.life.number + 1);
    [this.disk, this.clock] = this.#ports();
    this.#log = null;
  }

  /** The process dies in the midst of its `operations`-th change of the disk from now. */
  dieAfter(operations: number): void {
    this.life.light(operations, () => {});
  }

  /** Closes in order and starts anew; what was not flushed stays in memory. */
  async reopen(change: Partial<LogOptions> = {}): Promise<Log> {
    await this.settle(this.log.close());
    this.crash("process");
    return this.open(change);
  }

  /** Waits until `bytes` can be appended, then appends `count` records of `payloadBytes` each. */
  async write(count: number, payloadBytes: number, epoch = 1): Promise<void> {
    for (let i = 0; i < count; i++) {
      const record = recordAt(this.log.endLsn, payloadBytes, epoch);
      await this.until(() => this.log.room() >= record.length);
      this.log.append(record);
    }
  }

  async flush(): Promise<void> {
    await this.settle(this.log.flushed());
  }

  segmentNames(): string[] {
    return this.host.names.list(FOLDER);
  }
}

/** A write record whose payload tells of its LSN, epoch and `salt`, so that any other is seen. */
export function recordAt(lsn: number, payloadBytes: number, epoch = 1, salt = 0): Bytes {
  const payload = new Uint8Array(payloadBytes);
  const first = lsn / 16 * 31 + epoch * 101 + salt * 57;
  for (let i = 0; i < payloadBytes; i++) payload[i] = first + i * 7;
  const record = new Uint8Array(recordBytes(RecordType.WRITE, payloadBytes));
  const timeMs = 1_700_000_000_000 + lsn;
  writeRecord(record, 0, RecordType.WRITE, 0, 0, epoch, lsn, 4096, payloadBytes, timeMs, payload);
  return record;
}

/** The whole log, read back. */
export function contentOf(log: Log, fromLsn = log.startLsn): Uint8Array {
  const content = new Uint8Array(log.endLsn - fromLsn);
  const piece = new Uint8Array(SEGMENT_BYTES);
  for (let at = 0; at < content.length;) {
    // What came as a delta reads as zeroes.
    const gap = log.gapAt(fromLsn + at);
    if (gap !== null) {
      at = gap.toLsn - fromLsn;
      continue;
    }
    const bytes = log.read(fromLsn + at, piece, log.endLsn);
    content.set(piece.subarray(0, bytes), at);
    at += bytes;
  }
  return content;
}

/** Fails with the place of the first difference, which is easier to read than two buffers. */
export function assertSameBytes(found: Uint8Array, wanted: Uint8Array, what: string): void {
  assertEquals(found.length, wanted.length, `${what}: length`);
  const at = found.findIndex((byte, index) => byte !== wanted[index]);
  assertEquals(at, -1, `${what}: first difference`);
}
