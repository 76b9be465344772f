import { crc32 } from "node:zlib";
import { assertEquals, assertRejects } from "@std/assert";
import { assert } from "../../../core/assert.ts";
import { CascadeError } from "../../../core/errors.ts";
import { SECTOR_BYTES, SEGMENT_HEADER_BYTES } from "../../../core/limits.ts";
import { recover } from "../../../core/log/recovery.ts";
import { encodeHeader } from "../../../core/log/segment.ts";
import { SegmentFolder } from "../../../core/log/segment_file.ts";
import { encodeEpoch, recordBytes, RecordType, writeRecord } from "../../../core/log/record.ts";
import { assertSameBytes, contentOf, FOLDER, LogWorld, recordAt } from "./world.ts";

const SMALL = { segmentBytes: 6144, budgetBytes: 4 * 6144 };
const PAYLOAD = 200;
const RECORD = recordAt(0, PAYLOAD).length;

/** Three segments of eight records at the most, one free one, all durable; closed. */
async function smallLog(): Promise<LogWorld> {
  const world = new LogWorld();
  await world.open(SMALL);
  await world.write(20, PAYLOAD);
  await world.flush();
  world.log.setUpstreamMark(world.log.endLsn);
  await world.flush();
  await world.until(() => world.segmentNames().length === 4);
  await world.settle(world.log.close());
  world.crash("process");
  return world;
}

interface Image {
  readonly name: string;
  readonly baseLsn: number;
  readonly endLsn: number;
}

const IMAGES: readonly Image[] = [
  { name: "000001.seg", baseLsn: 0, endLsn: 8 * RECORD },
  { name: "000002.seg", baseLsn: 8 * RECORD, endLsn: 16 * RECORD },
  { name: "000003.seg", baseLsn: 16 * RECORD, endLsn: 20 * RECORD },
];
const FREE = ["000004.seg"];

/** What opening the log says once this byte is flipped. Flips it back. */
async function openFlipped(world: LogWorld, name: string, offset: number): Promise<unknown> {
  const path = `${FOLDER}/${name}`;
  const mask = 1 << offset % 8;
  world.host.flip(path, offset, mask);
  try {
    const folder = new SegmentFolder(world.disk, FOLDER, true);
    const found = await world.settle(recover(folder, world.clock, 0));
    return { endLsn: found.endLsn, torn: found.report.tornBytes, damage: found.report.damage };
  } catch (error) {
    return error;
  } finally {
    world.host.flip(path, offset, mask);
  }
}

Deno.test("a flipped bit in any byte of a durable record is found with file, offset and LSN", async () => {
  const world = await smallLog();
  for (const { name, baseLsn, endLsn } of IMAGES) {
    for (let lsn = baseLsn; lsn < endLsn; lsn++) {
      const offset = SEGMENT_HEADER_BYTES + lsn - baseLsn;
      const error = await openFlipped(world, name, offset);
      assert(error instanceof CascadeError, `${name} ${offset}`);
      const start = lsn - lsn % RECORD;
      assertEquals([error.code, error.where["file"], error.where["offset"], error.where["LSN"]], [
        "log-corrupt",
        `${FOLDER}/${name}`,
        SEGMENT_HEADER_BYTES + start - baseLsn,
        start,
      ]);
    }
  }
});

Deno.test("a flipped bit in the header of a segment in use is found with its file", async () => {
  const world = await smallLog();
  for (const { name } of IMAGES) {
    for (let offset = 0; offset < SECTOR_BYTES; offset++) {
      const error = await openFlipped(world, name, offset);
      assert(error instanceof CascadeError, `${name} ${offset}`);
      assertEquals(error.code, "log-corrupt");
      assertEquals(error.where["damaged header"], `${FOLDER}/${name}`);
    }
  }
});

Deno.test("a flipped bit in a slot of the watermark, or a free header, is told and harmless", async () => {
  const world = await smallLog();
  const whole = { endLsn: 20 * RECORD, torn: 0 };
  for (const name of [...IMAGES.map(({ name }) => name), ...FREE]) {
    const isFree = FREE.includes(name);
    for (let offset = isFree ? 0 : SECTOR_BYTES; offset < 3 * SECTOR_BYTES; offset++) {
      const found = await openFlipped(world, name, offset);
      assert(!(found instanceof Error), `${name} ${offset}: ${found}`);
      const { damage, ...rest } = found as { damage: { file: string; offset: number }[] };
      assertEquals<unknown>(rest, whole);
      assertEquals(damage.map(({ file, offset }) => ({ file, offset })), [
        { file: `${FOLDER}/${name}`, offset: offset - offset % SECTOR_BYTES },
      ]);
    }
  }
});

Deno.test("a flipped bit where nothing is kept changes nothing", async () => {
  const world = await smallLog();
  const unused = (name: string, from: number) => ({ name, from });
  const places = [
    ...IMAGES.map(({ name, baseLsn, endLsn }) => unused(name, 4096 + endLsn - baseLsn)),
    ...FREE.map((name) => unused(name, 4096)),
    ...[...IMAGES.map(({ name }) => name), ...FREE].map((name) => unused(name, 3 * SECTOR_BYTES)),
  ];
  for (const { name, from } of places) {
    const to = from < SEGMENT_HEADER_BYTES ? SEGMENT_HEADER_BYTES : SMALL.segmentBytes;
    for (let offset = from; offset < to; offset += 7) {
      const found = await openFlipped(world, name, offset);
      assertEquals(found, { endLsn: 20 * RECORD, torn: 0, damage: [] }, `${name} ${offset}`);
    }
  }
});

Deno.test("a flipped bit in a record that was never flushed cuts the log there", async () => {
  const world = new LogWorld();
  await world.open(SMALL);
  await world.write(2, PAYLOAD);
  await world.flush();
  await world.write(3, PAYLOAD);
  world.crash("process");
  for (let lsn = 2 * RECORD; lsn < 5 * RECORD; lsn++) {
    const found = await openFlipped(world, "000001.seg", SEGMENT_HEADER_BYTES + lsn);
    assert(!(found instanceof Error), String(found));
    const { endLsn, torn } = found as { endLsn: number; torn: number };
    assertEquals(endLsn, lsn - lsn % RECORD);
    const isLast = endLsn === 4 * RECORD;
    const inMagicOrLsn = lsn % RECORD < 4 || (lsn % RECORD >= 16 && lsn % RECORD < 24);
    assertEquals(torn > 0, !(isLast && inMagicOrLsn), `byte ${lsn - endLsn}`);
  }
});

Deno.test("a log that ends before the checkpoint is damaged, also when nothing is left of it", async () => {
  const world = await smallLog();
  const error = await assertRejects(
    () => world.open({ ...SMALL, checkpointLsn: 21 * RECORD }),
    CascadeError,
  );
  assertEquals([error.code, error.where["LSN"]], ["log-corrupt", 20 * RECORD]);
  for (const name of world.segmentNames()) world.disk.remove(`${FOLDER}/${name}`);
  const empty = await assertRejects(() => world.open({ ...SMALL, checkpointLsn: 1 }), CascadeError);
  assertEquals([empty.code, empty.where["folder"]], ["log-corrupt", FOLDER]);
});

Deno.test("a segment that is missing is damage, and nothing is changed", async () => {
  for (const { name, baseLsn } of IMAGES.slice(0, 2)) {
    const world = await smallLog();
    world.disk.remove(`${FOLDER}/${name}`);
    const error = await assertRejects(() => world.open(SMALL), CascadeError);
    assertEquals([error.code, error.where["LSN"]], ["log-corrupt", baseLsn]);
    assertEquals(world.segmentNames().length, 3);
  }
});

Deno.test("a log of a version to come is refused, not taken for damage", async () => {
  const world = await smallLog();
  const sector = encodeHeader({ state: 1, baseLsn: 0, fileBytes: SMALL.segmentBytes });
  sector[4] = 2;
  new DataView(sector.buffer).setUint32(508, crc32(sector.subarray(0, 508)), true);
  world.disk.open(`${FOLDER}/000001.seg`).writeAt(sector, 0);
  const error = await assertRejects(() => world.open(SMALL), CascadeError, "format 2");
  assertEquals(error.code, "wrong-folder");
});

Deno.test("whole records behind a hole are a torn end, and never come back", async () => {
  const world = new LogWorld();
  await world.open();
  await world.write(4, 3000);
  await world.flush();
  await world.write(6, 3000);
  // The power went; of what was not flushed all is there but one record.
  world.host.flip(`${FOLDER}/000001.seg`, 4096 + 5 * 3056 + 100, 1);
  world.crash("process");
  await world.open();
  assertEquals(world.log.endLsn, 5 * 3056);
  assertEquals(world.report?.tornBytes, 4 * 3056 + 48);
  // The record that was damaged comes again; those behind it must not.
  await world.write(1, 3000);
  await world.flush();
  await world.reopen();
  assertEquals(world.log.endLsn, 6 * 3056);
});

Deno.test("a segment behind a torn end is removed, and its records never come back", async () => {
  const world = new LogWorld();
  await world.open(SMALL);
  await world.write(4, PAYLOAD);
  await world.flush();
  await world.write(8, PAYLOAD);
  world.host.flip(`${FOLDER}/000001.seg`, 4096 + 5 * RECORD, 1);
  world.crash("process");
  await world.open(SMALL);
  assertEquals(world.log.endLsn, 5 * RECORD);
  assert((world.report?.tornBytes ?? 0) > 0, "the torn end is told");
  await world.write(2, PAYLOAD);
  await world.flush();
  await world.reopen(SMALL);
  assertEquals(world.log.endLsn, 7 * RECORD);
});

Deno.test("recovery tells the epochs, the last epoch and the last time", async () => {
  const world = new LogWorld();
  await world.open();
  const epoch = { number: 3, id: "0123456789abcdef0123456789abcdef", firstLsn: 0, node: "hq" };
  const payload = encodeEpoch(epoch);
  const record = new Uint8Array(recordBytes(RecordType.EPOCH, payload.length));
  writeRecord(record, 0, RecordType.EPOCH, 0, 0, 3, 0, 0, payload.length, 77, payload);
  world.log.append(record);
  await world.write(1, 100, 4);
  await world.flush();
  await world.reopen();
  assertEquals(world.report?.epochs, [epoch]);
  assertEquals(world.report?.lastEpoch, 4);
  assertEquals(world.report?.lastTimeMs, 1_700_000_000_000 + record.length);
});

Deno.test("what a failed flush left only in memory is written again before it counts", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const world = new LogWorld(seed);
    const log = await world.open();
    await world.write(3, 3000);
    await world.flush();
    await world.write(20, 3000);
    await world.wait(100);
    world.host.conditions.phantom = true;
    world.host.conditions.flushesToFailure = 1;
    log.requestFlush();
    await world.until(() => world.told.includes("fatal"));
    world.crash("process");
    await world.open();
    const { durableLsn } = world.log;
    const content = contentOf(world.log).subarray(0, durableLsn);
    world.crash("power");
    await world.open();
    assert(world.log.endLsn >= durableLsn, `seed ${seed}`);
    assertSameBytes(contentOf(world.log).subarray(0, durableLsn), content, `seed ${seed}`);
  }
});

Deno.test("a segment file whose name was never flushed is not relied on", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const world = new LogWorld(seed);
    await world.open(SMALL);
    // Killed while the next segment is being made, then started again at once.
    await world.wait(world.prng.fork("kill").fraction() * 6);
    world.crash("process");
    await world.open(SMALL);
    await world.write(10, PAYLOAD);
    await world.flush();
    const { durableLsn } = world.log;
    world.crash("power");
    await world.open(SMALL);
    assert(world.log.endLsn >= durableLsn, `seed ${seed}`);
  }
});
