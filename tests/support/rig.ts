/**
 * A real log and pipeline over a disk in memory: what tests of the parts above them stand on.
 *
 * @module
 */
import { DeltaShelf } from "../../core/delta/delta_shelf.ts";
import { type Epoch, History } from "../../core/history.ts";
import { Log } from "../../core/log/log.ts";
import { encodeEpoch, recordBytes, RecordType, writeRecord } from "../../core/log/record.ts";
import { Pipeline } from "../../core/pipeline.ts";
import type { PipelineEvents } from "../../core/pipeline_parts.ts";
import type { Bytes } from "../../core/ports.ts";
import { Volume } from "../../core/volume/volume.ts";
import { ManualClock, settle } from "./manual_clock.ts";
import { MemoryDisk } from "./memory_disk.ts";
import { makeEpoch } from "./small.ts";

const NO_PAYLOAD = new Uint8Array(0);

/** How to make a rig. */
export interface RigOptions {
  readonly reigns?: boolean;
  readonly segmentBytes?: number;
  readonly budgetBytes?: number;
  readonly volumeBytes?: number;
  /** No volumes: a log-only node. */
  readonly logOnly?: boolean;
  /** A rig whose disk is gone on with, as after a restart. */
  readonly disk?: MemoryDisk;
  readonly checkpointLsn?: number;
  readonly clock?: ManualClock;
}

/** See the module's text. */
export interface Rig {
  readonly disk: MemoryDisk;
  readonly clock: ManualClock;
  readonly log: Log;
  readonly history: History;
  readonly pipeline: Pipeline;
  readonly volumes: readonly Volume[];
  /** What the pipeline told. */
  readonly fatal: unknown[];
  readonly overflows: number[];
  readonly checkpoints: number[];
  progress: number;
  neededLsn: number;
  stallLsn: number;
  failLsn: number;
  /** Called by the pipeline when it makes progress. */
  onProgress: () => void;
}

export async function makeRig(options: RigOptions = {}): Promise<Rig> {
  const disk = options.disk ?? new MemoryDisk();
  const clock = options.clock ?? new ManualClock();
  disk.makeFolder("/log");
  const segmentBytes = options.segmentBytes ?? 64 * 1024;
  const budgetBytes = options.budgetBytes ?? 16 * segmentBytes;
  const checkpointLsn = options.checkpointLsn ?? 0;
  const fatal: unknown[] = [];
  const holder: { pipeline: Pipeline | null } = { pipeline: null };
  const { log, report } = await Log.open({
    disk,
    clock,
    folder: "/log",
    budgetBytes,
    segmentBytes,
    checkpointLsn,
    events: {
      onDurable: () => holder.pipeline?.onDurable(),
      onRoom: () => {},
      onDiskFull: () => {},
      onFatal: (error) => fatal.push(error),
    },
  });
  log.requestFlush();
  await log.flushed();
  const volumes = options.logOnly === true ? [] : [makeVolume(disk, options.volumeBytes, log)];
  const rig: Omit<Rig, "pipeline"> & { pipeline: Pipeline | null } = {
    disk,
    clock,
    log,
    history: new History(report.epochs),
    pipeline: null,
    volumes,
    fatal,
    overflows: [],
    checkpoints: [],
    progress: 0,
    neededLsn: Infinity,
    stallLsn: Infinity,
    failLsn: Infinity,
    onProgress: () => {},
  };
  const events: PipelineEvents = {
    onProgress: () => {
      rig.progress++;
      rig.onProgress();
    },
    saveCheckpoint: (lsn) => {
      rig.checkpoints.push(lsn);
      return Promise.resolve();
    },
    neededLsn: () => rig.neededLsn,
    heldLsn: () => Infinity,
    stallLsn: () => rig.stallLsn,
    failLsn: () => rig.failLsn,
    onCutBack: () => {},
    letGo: (lsn) => {
      if (lsn > rig.neededLsn) rig.overflows.push(lsn);
      return true;
    },
    onFatal: (error) => fatal.push(error),
  };
  const shelf = await DeltaShelf.open(disk, "/delta", clock);
  const pipeline = new Pipeline({
    log,
    shelf,
    history: rig.history,
    volumes,
    reigns: options.reigns ?? true,
    checkpointLsn,
    budgetBytes,
    segmentBytes,
    clock,
    events,
  });
  holder.pipeline = pipeline;
  rig.pipeline = pipeline;
  return rig as Rig;
}

function makeVolume(disk: MemoryDisk, sizeBytes = 1024 * 1024, log: Log): Volume {
  if (!disk.exists("/data")) disk.place("/data", new Uint8Array(sizeBytes));
  return new Volume("data", sizeBytes, disk.open("/data"), (lsn, into) => log.readAt(lsn, into));
}

/** One record's bytes. */
export function makeRecord(
  type: RecordType,
  epoch: number,
  lsn: number,
  offset: number,
  length: number,
  payload: Uint8Array = NO_PAYLOAD,
): Bytes {
  const bytes = new Uint8Array(recordBytes(type, length));
  writeRecord(bytes, 0, type, 0, 0, epoch, lsn, offset, length, 1000 + lsn, payload);
  return bytes;
}

/** A write of `length` bytes of `value`. */
export function makeWrite(
  epoch: number,
  lsn: number,
  offset: number,
  length: number,
  value: number,
): Bytes {
  const payload = new Uint8Array(length).fill(value);
  return makeRecord(RecordType.WRITE, epoch, lsn, offset, length, payload);
}

/** The record that begins `epoch`. */
export function makeEpochRecord(epoch: Epoch): Bytes {
  const payload = encodeEpoch(epoch);
  return makeRecord(RecordType.EPOCH, epoch.number, epoch.firstLsn, 0, payload.length, payload);
}

/** Records one after the other, from `lsn` on: the first begins `epoch`, the others are writes. */
export function makeReign(epoch: Epoch, writes: number, value = epoch.number): Bytes[] {
  const records = [makeEpochRecord(epoch)];
  let lsn = epoch.firstLsn + (records[0]?.length ?? 0);
  for (let i = 0; i < writes; i++) {
    const record = makeWrite(epoch.number, lsn, 4096 * i, 512, value);
    records.push(record);
    lsn += record.length;
  }
  return records;
}

export function concat(parts: readonly Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Appends a first reign with some writes, and makes it durable; returns its end. */
export async function beginReign(rig: Rig, writes: number, epoch = makeEpoch(1, 0)) {
  const records = makeReign(epoch, writes);
  rig.history.add(epoch);
  for (const record of records) rig.log.append(record);
  rig.pipeline.appended();
  rig.pipeline.flushNow();
  await rig.log.flushed();
  await settle();
  return rig.log.endLsn;
}
