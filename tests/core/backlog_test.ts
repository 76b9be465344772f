import { assert, assertEquals } from "@std/assert";
import { writeRun } from "../../core/delta/delta_body.ts";
import { NO_EPOCH } from "../../core/history.ts";
import { RECORD_HEADER_BYTES, recordBytes, RecordType } from "../../core/log/record.ts";
import { settle, until } from "../support/manual_clock.ts";
import {
  beginReign,
  makeRecord,
  makeRig,
  makeWrite,
  type Rig,
  type RigOptions,
} from "../support/rig.ts";

const BLOCK_BYTES = 4096;

function append(rig: Rig, offset: number, value: number, length = 512): void {
  rig.log.append(makeWrite(1, rig.log.endLsn, offset, length, value));
  rig.pipeline.appended();
}

/** Reads as clients do, without a turn of the event loop: nothing can be applied meanwhile. */
function read(rig: Rig, bytes: number): Uint8Array {
  const into = new Uint8Array(bytes);
  rig.volumes[0]?.read(into, 0);
  return into;
}

/** A log that is durable, and of which nothing is in the volume. */
async function unapplied(
  write: (rig: Rig) => void | Promise<void>,
  options: RigOptions = {},
): Promise<Rig> {
  const rig = await makeRig(options);
  await beginReign(rig, 0);
  rig.pipeline.holdAt(0);
  await write(rig);
  rig.pipeline.flushNow();
  await rig.log.flushed();
  assertEquals(rig.pipeline.appliedLsn, 0);
  await rig.pipeline.stop(null);
  return rig;
}

Deno.test("a reign shows its clients at once what is in the log, and applies it behind them", async () => {
  const before = await unapplied((rig) => {
    append(rig, 0, 1, BLOCK_BYTES);
    append(rig, 512, 2);
    rig.log.append(makeRecord(RecordType.ZERO, 1, rig.log.endLsn, 1024, 512));
    append(rig, 1024, 3, 256);
  });
  const rig = await makeRig({ disk: before.disk });
  await rig.pipeline.inherit(0);
  assertEquals(rig.pipeline.appliedLsn, 0);
  const expected = new Uint8Array(2 * BLOCK_BYTES).fill(1, 0, BLOCK_BYTES).fill(2, 512, 1024)
    .fill(0, 1024, 1536).fill(3, 1024, 1280);
  assertEquals(read(rig, 2 * BLOCK_BYTES), expected);
  const { endLsn } = rig.log;
  await until(() => rig.pipeline.appliedLsn === endLsn, "all is applied", rig.clock);
  assertEquals(rig.disk.file("/data").bytes.subarray(0, 2 * BLOCK_BYTES), expected);
  assertEquals(read(rig, 2 * BLOCK_BYTES), expected);
});

Deno.test("what a reign writes lies over what it inherited", async () => {
  const before = await unapplied((rig) => append(rig, 0, 1, BLOCK_BYTES));
  const rig = await makeRig({ disk: before.disk });
  await rig.pipeline.inherit(0);
  const { endLsn } = rig.log;
  append(rig, 0, 9);
  // As the front notes it.
  rig.volumes[0]?.overlayWrite(0, 512, endLsn + RECORD_HEADER_BYTES);
  assertEquals(read(rig, 512), new Uint8Array(512).fill(9));
  assertEquals(read(rig, 1024).subarray(512), new Uint8Array(512).fill(1));
});

Deno.test("records that came since the last time are taken up the next time", async () => {
  const before = await unapplied((rig) => append(rig, 0, 1));
  const rig = await makeRig({ disk: before.disk });
  await rig.pipeline.inherit(0);
  rig.pipeline.holdAt(0);
  append(rig, 512, 2);
  rig.pipeline.flushNow();
  await rig.log.flushed();
  assertEquals(read(rig, 1024)[512], 0);
  await rig.pipeline.inherit(rig.pipeline.appliedLsn);
  assertEquals([read(rig, 1024)[0], read(rig, 1024)[512]], [1, 2]);
});

Deno.test("a long backlog that was inherited does not slow clients down", async () => {
  const options = { segmentBytes: 64 * 1024, budgetBytes: 16 * 64 * 1024 };
  const before = await unapplied(async (rig) => {
    for (let i = 0; i < 160; i++) {
      append(rig, i * BLOCK_BYTES, 1, BLOCK_BYTES);
      // The log's next segment is prepared meanwhile.
      if (i % 8 === 0) await settle();
    }
  }, options);
  const waiting = await makeRig({ ...options, disk: before.disk });
  waiting.pipeline.holdAt(0);
  assert(!waiting.pipeline.accepts(512));
  await waiting.pipeline.stop(null);
  const rig = await makeRig({ ...options, disk: before.disk });
  await rig.pipeline.inherit(0);
  assertEquals(rig.pipeline.appliedLsn, 0);
  assert(rig.pipeline.accepts(512));
});

Deno.test("a delta in the log is applied before a reign shows anything, the records behind it are not", async () => {
  const rig = await makeRig({ reigns: false });
  const toLsn = 1024 * 1024;
  const volumes = rig.volumes.map(({ name, sizeBytes }) => ({ name, sizeBytes }));
  const id = "ab".repeat(16);
  const incoming = rig.pipeline.shelf.begin({
    ...{ id, cluster: "c", epochId: NO_EPOCH, fromLsn: 0, toLsn: null, sinceLsn: 0 },
    ...{ source: "volume", full: false, volumes },
  });
  const record = new Uint8Array(recordBytes(RecordType.WRITE, BLOCK_BYTES));
  const run = { type: RecordType.WRITE, flags: 0, volume: 0, offset: 0, length: BLOCK_BYTES };
  const payload = new Uint8Array(BLOCK_BYTES).fill(1);
  writeRun(record, 0, { ...run, source: null }, 1, incoming.position, payload);
  incoming.append(record);
  const delta = await rig.pipeline.shelf.commit({
    ...{ id, toLsn, bodyBytes: record.length, records: 1, logBytes: toLsn },
    ...{ payloadBytes: BLOCK_BYTES, history: [], timeMs: 0 },
  });
  rig.pipeline.holdAt(0);
  await rig.pipeline.takeDelta(delta);
  append(rig, 0, 2);
  rig.pipeline.setUpstreamMark(rig.log.endLsn);
  rig.pipeline.flushNow();
  await rig.log.flushed();
  await settle();
  await rig.pipeline.stop(null);
  assertEquals(rig.disk.file("/data").bytes[0], 0);
  const reign = await makeRig({ disk: rig.disk });
  await reign.pipeline.inherit(0);
  assertEquals(reign.pipeline.appliedLsn, toLsn);
  assertEquals([read(reign, 1024)[0], read(reign, 1024)[512]], [2, 1]);
  assertEquals(reign.disk.file("/data").bytes[0], 1);
});
