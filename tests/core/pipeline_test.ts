import { assert, assertEquals } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import { RecordType } from "../../core/log/record.ts";
import {
  CHECKPOINT_INTERVAL_MS,
  DISK_FULL_RETRY_MS,
  FLUSH_DELAY_MS,
} from "../../core/node_limits.ts";
import { settle, until } from "../support/manual_clock.ts";
import { beginReign, makeRecord, makeRig, makeWrite, type Rig } from "../support/rig.ts";
import { assertRejectsCode } from "../support/small.ts";

const MIB = 1024 * 1024;

/** Appends a write as the front or a receiver would. */
function append(rig: Rig, offset: number, value: number, length = 512): number {
  rig.log.append(makeWrite(1, rig.log.endLsn, offset, length, value));
  rig.pipeline.appended();
  return rig.log.endLsn;
}

function volumeOf(rig: Rig): Uint8Array {
  return rig.disk.file("/data").bytes;
}

Deno.test("what is appended becomes durable by itself, after a short delay", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  const endLsn = append(rig, 0, 1);
  await settle();
  assert(rig.pipeline.durableLsn < endLsn);
  rig.clock.advance(FLUSH_DELAY_MS);
  await rig.log.flushed();
  assertEquals(rig.pipeline.durableLsn, endLsn);
});

Deno.test("nothing is written to a volume before its record is durable", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  let go = () => {};
  rig.disk.beforeFlush = () => new Promise((resolve) => go = resolve);
  const endLsn = append(rig, 0, 7);
  rig.pipeline.flushNow();
  await settle();
  assertEquals([volumeOf(rig)[0], rig.pipeline.appliedLsn < endLsn], [0, true]);
  rig.disk.beforeFlush = () => Promise.resolve();
  go();
  await until(() => rig.pipeline.appliedLsn === endLsn, "applied", rig.clock);
  assertEquals(volumeOf(rig)[0], 7);
});

Deno.test("below the primary, nothing is applied before it is durably known to be stable", async () => {
  const rig = await makeRig({ reigns: false });
  await beginReign(rig, 0);
  const endLsn = append(rig, 0, 7);
  rig.pipeline.flushNow();
  await rig.log.flushed();
  await settle();
  assertEquals([rig.pipeline.durableLsn, rig.pipeline.stableLsn], [endLsn, 0]);
  let go = () => {};
  rig.disk.beforeFlush = () => new Promise((resolve) => go = resolve);
  rig.pipeline.setUpstreamMark(endLsn);
  rig.clock.advance(FLUSH_DELAY_MS);
  await settle();
  assertEquals([rig.pipeline.stableLsn, volumeOf(rig)[0]], [0, 0]);
  rig.disk.beforeFlush = () => Promise.resolve();
  go();
  await until(() => rig.pipeline.appliedLsn === endLsn, "applied", rig.clock);
  assertEquals(volumeOf(rig)[0], 7);
});

Deno.test("records are applied in order, zeroes and trims too", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  append(rig, 0, 1, 4096);
  append(rig, 1024, 2, 1024);
  rig.log.append(makeRecord(RecordType.ZERO, 1, rig.log.endLsn, 512, 1024));
  rig.log.append(makeRecord(RecordType.TRIM, 1, rig.log.endLsn, 3072, 512));
  append(rig, 3328, 3, 128);
  rig.pipeline.flushNow();
  await until(() => rig.pipeline.appliedLsn === rig.log.endLsn, "applied", rig.clock);
  const expected = new Uint8Array(4096).fill(1);
  expected.fill(2, 1024, 2048).fill(0, 512, 1536).fill(0, 3072, 3584).fill(3, 3328, 3456);
  assertEquals(volumeOf(rig).subarray(0, 4096), expected);
});

Deno.test("a checkpoint is saved only after the volumes were flushed, at the applied position", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  const endLsn = append(rig, 0, 1);
  rig.pipeline.flushNow();
  await until(() => rig.pipeline.appliedLsn === endLsn, "applied", rig.clock);
  let go = () => {};
  rig.disk.beforeFlush = (path) =>
    path === "/data" ? new Promise((resolve) => go = resolve) : Promise.resolve();
  const done = rig.pipeline.checkpoint();
  // More is applied while the flush is under way: it is not part of this checkpoint.
  append(rig, 512, 2);
  rig.pipeline.flushNow();
  await until(() => rig.pipeline.appliedLsn > endLsn, "more applied", rig.clock);
  assertEquals([rig.checkpoints, rig.pipeline.checkpointedLsn], [[], 0]);
  go();
  await done;
  assertEquals([rig.checkpoints, rig.pipeline.checkpointedLsn], [[endLsn], endLsn]);
});

Deno.test("a nearly idle node is checkpointed now and then, an idle one not again", async () => {
  const rig = await makeRig();
  await beginReign(rig, 1);
  await until(() => rig.pipeline.appliedLsn === rig.log.endLsn, "applied", rig.clock);
  rig.pipeline.tick();
  await settle();
  assertEquals(rig.checkpoints.length, 0);
  for (let turn = 0; turn < 3; turn++) {
    rig.clock.advance(CHECKPOINT_INTERVAL_MS);
    rig.pipeline.tick();
    await settle();
  }
  assertEquals(rig.checkpoints, [rig.log.endLsn]);
});

Deno.test("a failed flush of a volume is fatal, and nothing is said to be checkpointed", async () => {
  const rig = await makeRig();
  await beginReign(rig, 1);
  await until(() => rig.pipeline.appliedLsn === rig.log.endLsn, "applied", rig.clock);
  rig.disk.beforeFlush = (path) =>
    path === "/data" ? Promise.reject(new CascadeError("disk-failed", "no")) : Promise.resolve();
  rig.clock.advance(CHECKPOINT_INTERVAL_MS);
  rig.pipeline.tick();
  await until(() => rig.fatal.length > 0, "fatal");
  assertEquals([rig.checkpoints, rig.pipeline.checkpointedLsn], [[], 0]);
});

Deno.test("a full volume blocks applying, loses nothing, and is tried again", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  rig.disk.beforeWrite = (path) => {
    if (path === "/data") throw new CascadeError("disk-full", "no room");
  };
  const endLsn = append(rig, 0, 5);
  rig.pipeline.flushNow();
  await until(() => rig.pipeline.blocked !== null, "blocked", rig.clock);
  assertEquals([rig.fatal, volumeOf(rig)[0]], [[], 0]);
  rig.disk.beforeWrite = () => {};
  rig.clock.advance(DISK_FULL_RETRY_MS);
  await until(() => rig.pipeline.appliedLsn === endLsn, "applied", rig.clock);
  assertEquals([rig.pipeline.blocked, volumeOf(rig)[0]], [null, 5]);
});

Deno.test("a failed write to a volume is fatal", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  rig.disk.beforeWrite = (path) => {
    if (path === "/data") throw new CascadeError("disk-failed", "no");
  };
  append(rig, 0, 5);
  rig.pipeline.flushNow();
  await until(() => rig.fatal.length > 0, "fatal", rig.clock);
});

Deno.test("after a restart the log is applied again from the checkpoint on", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  append(rig, 0, 1);
  rig.pipeline.flushNow();
  await until(() => rig.pipeline.appliedLsn === rig.log.endLsn, "applied", rig.clock);
  await rig.pipeline.checkpoint();
  const checkpointLsn = rig.pipeline.checkpointedLsn;
  append(rig, 512, 2);
  append(rig, 0, 3, 256);
  rig.pipeline.flushNow();
  await rig.log.flushed();
  await rig.pipeline.stop(null);
  // The volume lost what was not flushed.
  volumeOf(rig).fill(0, 512, 1024);
  const again = await makeRig({ disk: rig.disk, checkpointLsn });
  await again.pipeline.applyAll();
  const expected = new Uint8Array(1024).fill(3, 0, 256).fill(1, 256, 512).fill(2, 512, 1024);
  assertEquals(volumeOf(again).subarray(0, 1024), expected);
  assertEquals(again.pipeline.appliedLsn, again.log.endLsn);
});

Deno.test("what was stable before a restart is stable after it", async () => {
  const rig = await makeRig({ reigns: false });
  await beginReign(rig, 2);
  const stable = rig.log.endLsn;
  rig.pipeline.setUpstreamMark(stable);
  append(rig, 0, 9);
  rig.pipeline.flushNow();
  await until(() => rig.pipeline.appliedLsn === stable, "applied", rig.clock);
  await rig.pipeline.stop(null);
  const again = await makeRig({ disk: rig.disk, reigns: false });
  await again.pipeline.applyAll();
  assertEquals(again.pipeline.stableLsn, stable);
  assertEquals(again.pipeline.appliedLsn, stable);
});

Deno.test("log that nobody needs is dropped to make room", async () => {
  const rig = await makeRig({ segmentBytes: 32 * 1024, budgetBytes: 128 * 1024 });
  await beginReign(rig, 0);
  for (let i = 0; i < 100; i++) {
    await until(() => rig.pipeline.accepts(8192), "room", rig.clock);
    append(rig, 0, 1 + i, 8192);
    rig.pipeline.flushNow();
    await rig.log.flushed();
    await settle(4);
  }
  assert(rig.log.startLsn > 0 && rig.log.startLsn <= rig.pipeline.checkpointedLsn);
  assert(rig.log.bytesOnDisk <= 128 * 1024 + 32 * 1024, `${rig.log.bytesOnDisk} bytes`);
  assertEquals(rig.overflows, []);
});

Deno.test("log that a link needs is dropped only when the budget is spent, and it is told", async () => {
  const rig = await makeRig({ segmentBytes: 8 * MIB, budgetBytes: 32 * MIB });
  await beginReign(rig, 0);
  rig.neededLsn = 0;
  while (rig.overflows.length === 0) {
    await until(() => rig.pipeline.accepts(MIB / 2), "room", rig.clock);
    if (rig.overflows.length === 0) assertEquals(rig.log.startLsn, 0);
    append(rig, 0, 1, MIB / 2);
    rig.pipeline.flushNow();
    await rig.log.flushed();
    await settle(4);
  }
  assert(rig.log.endLsn >= 20 * MIB, `overflow at ${rig.log.endLsn}`);
  assert((rig.overflows[0] ?? 0) <= rig.pipeline.checkpointedLsn);
});

Deno.test("cutting back takes the history along, and refuses to go below what is stable", async () => {
  const rig = await makeRig({ reigns: false });
  await beginReign(rig, 2);
  const stable = rig.log.endLsn;
  rig.pipeline.setUpstreamMark(stable);
  append(rig, 0, 9);
  rig.pipeline.flushNow();
  await until(() => rig.pipeline.appliedLsn === stable, "applied", rig.clock);
  await assertRejectsCode(rig.pipeline.cutBack(stable - 16), "bug");
  await rig.pipeline.cutBack(stable);
  assertEquals([rig.log.endLsn, rig.pipeline.stableLsn, rig.history.lastNumber], [
    stable,
    stable,
    1,
  ]);
});

Deno.test("a log-only node has applied what is stable", async () => {
  const rig = await makeRig({ reigns: false, logOnly: true });
  await beginReign(rig, 2);
  rig.pipeline.setUpstreamMark(rig.log.endLsn);
  rig.pipeline.flushNow();
  await rig.log.flushed();
  assertEquals(rig.pipeline.appliedLsn, rig.log.endLsn);
  await rig.pipeline.checkpoint();
  assertEquals(rig.checkpoints, [rig.log.endLsn]);
});

Deno.test("a clean stop makes all durable, applied and checkpointed before it is said to be clean", async () => {
  const rig = await makeRig();
  await beginReign(rig, 0);
  const endLsn = append(rig, 0, 4);
  let atClean: number[] = [];
  await rig.pipeline.stop(() => {
    atClean = [rig.pipeline.durableLsn, rig.pipeline.appliedLsn, rig.pipeline.checkpointedLsn];
    return Promise.resolve();
  });
  assertEquals([atClean, volumeOf(rig)[0]], [[endLsn, endLsn, endLsn], 4]);
  assertEquals(rig.pipeline.accepts(1), false);
});
