import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { assertSameBytes, contentOf, FOLDER, LogWorld, recordAt, SEGMENT_BYTES } from "./world.ts";

Deno.test("what was appended is read back, from memory and from the files", async () => {
  const world = new LogWorld();
  await world.open({ budgetBytes: 40 * SEGMENT_BYTES });
  const written: Uint8Array[] = [];
  for (let i = 0; i < 300; i++) {
    const record = recordAt(world.log.endLsn, 1 + (i * 977) % 9000);
    await world.until(() => world.log.room() >= record.length);
    world.log.append(record);
    written.push(record);
  }
  const all = new Uint8Array(await new Blob(written as BlobPart[]).arrayBuffer());
  assertSameBytes(contentOf(world.log), all, "from memory");
  await world.flush();
  await world.reopen({ budgetBytes: 40 * SEGMENT_BYTES });
  assert(world.log.oldestSegmentEnd !== null, "the log has several segments");
  assertSameBytes(contentOf(world.log), all, "from the files");
  assertEquals(world.report?.records, 300);
});

Deno.test("one batch may span segments and splits where a record begins", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.until(() => log.room() > SEGMENT_BYTES);
  const records: Uint8Array[] = [];
  let lsn = 0;
  while (lsn < SEGMENT_BYTES + 8000) {
    records.push(recordAt(lsn, 5000));
    lsn += 5056;
  }
  const batch = new Uint8Array(await new Blob(records as BlobPart[]).arrayBuffer());
  log.append(batch);
  assertEquals(log.endLsn, batch.length);
  assertEquals(log.oldestSegmentEnd, null, "the next segment is not durable yet");
  await world.flush();
  assertEquals(log.oldestSegmentEnd, 12 * 5056);
  await world.reopen();
  assertSameBytes(contentOf(world.log), batch, "after reopening");
});

Deno.test("requests during a flush are served by one more", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.write(1, 100);
  log.requestFlush();
  for (let i = 0; i < 10; i++) {
    await world.write(1, 100);
    log.requestFlush();
  }
  await world.until(() => log.durableLsn === log.endLsn);
  assertEquals(log.flushCount, 2);
});

Deno.test("a request that comes just as a flush ends is not lost", async () => {
  const world = new LogWorld();
  const log = await world.open();
  for (let i = 0; i < 20; i++) {
    await world.write(1, 100);
    log.requestFlush();
    let more = i;
    const later = () => {
      // Asked some microtasks after the flush ended, at each distance once.
      if (more-- > 0) return queueMicrotask(later);
      log.append(recordAt(log.endLsn, 100));
      log.requestFlush();
    };
    const before = log.durableLsn;
    await world.until(() => log.durableLsn > before);
    later();
    await world.until(() => log.durableLsn === log.endLsn);
  }
});

Deno.test("a failed flush is told once, and the log refuses everything from then on", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.write(1, 100);
  await world.wait(100);
  world.host.conditions.flushesToFailure = 1;
  log.requestFlush();
  await assertRejects(() => world.settle(log.flushed()), CascadeError, "cannot flush");
  assertThrows(() => log.append(recordAt(log.endLsn, 100)), CascadeError, "cannot flush");
  assertThrows(() => log.read(0, new Uint8Array(4096), 144), CascadeError, "cannot flush");
  assertEquals([log.room(), log.roomAhead(), log.durableLsn], [0, 0, 0]);
  log.requestFlush();
  await world.wait(1000);
  assertEquals(world.told.filter((what) => what === "fatal").length, 1);
  assertEquals(log.durableLsn, 0);
});

Deno.test("a batch for which there is no room is refused as a whole", async () => {
  const world = new LogWorld();
  const log = await world.open({ budgetBytes: SEGMENT_BYTES });
  await world.until(() => log.room() > SEGMENT_BYTES);
  await world.write(23, 5000);
  const room = log.room();
  const batch = new Uint8Array(
    await new Blob([recordAt(log.endLsn, 5000), recordAt(log.endLsn + 5056, 5000)] as BlobPart[])
      .arrayBuffer(),
  );
  const end = log.endLsn;
  const error = assertThrows(() => log.append(batch), CascadeError);
  assertEquals([error.code, log.endLsn, log.room()], ["log-full", end, room]);
  log.append(batch.subarray(0, 5056));
});

Deno.test("a record that no segment holds is refused before anything is written", async () => {
  const world = new LogWorld();
  const log = await world.open();
  const error = assertThrows(() => log.append(recordAt(0, 62_000)), CascadeError);
  assertEquals([error.code, log.endLsn], ["log-full", 0]);
});

Deno.test("an append that finds the disk full leaves the log as it was, and nothing behind its end", async () => {
  const world = new LogWorld(3);
  const log = await world.open();
  await world.write(2, 3000);
  await world.flush();
  const end = log.endLsn;
  const file = world.disk.open(`${FOLDER}/000001.seg`);
  const batch = new Uint8Array(
    await new Blob([recordAt(end, 3000), recordAt(end + 3056, 3000)] as BlobPart[]).arrayBuffer(),
  );
  // A file system that copies on write: the last bytes of the batch find no room.
  file.writeAt(batch, 4096 + end);
  const proto = Object.getPrototypeOf(file) as { writeAt(bytes: Uint8Array, at: number): void };
  const { writeAt } = proto;
  proto.writeAt = () => {
    throw new CascadeError("disk-full", "no room");
  };
  try {
    const error = assertThrows(() => log.append(batch), CascadeError);
    assertEquals([error.code, log.endLsn], ["disk-full", end]);
  } finally {
    proto.writeAt = writeAt;
  }
  log.append(recordAt(end, 3000, 1, 5));
  await world.flush();
  await world.reopen();
  assertEquals(world.log.endLsn, end + 3056);
});

Deno.test("what is promised as room can be appended, whatever the records' sizes", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const world = new LogWorld(seed);
    const log = await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
    const draw = world.prng.fork("sizes");
    for (let round = 0; round < 6; round++) {
      await world.wait(draw.fraction() * 30);
      let room = log.room();
      while (room >= 64) {
        const largest = Math.min(room, log.recordBytesMax) - 48;
        const record = recordAt(log.endLsn, 1 + draw.below(largest - 15) & ~0);
        if (record.length > room) continue;
        log.append(record);
        room -= record.length;
      }
    }
  }
});

Deno.test("segments are made ahead, recycled, and never more than the budget and one", async () => {
  const world = new LogWorld();
  const budgetBytes = 3 * SEGMENT_BYTES;
  const log = await world.open({ budgetBytes });
  const names = new Set<string>();
  for (let i = 0; i < 200; i++) {
    await world.write(1, 5000);
    await world.flush();
    if (log.roomAhead() < SEGMENT_BYTES) log.dropBelow(log.oldestSegmentEnd ?? 0);
    for (const name of world.segmentNames()) names.add(name);
    assert(world.segmentNames().length <= 4, "within the budget and one");
    assertEquals(log.bytesOnDisk, world.segmentNames().length * SEGMENT_BYTES);
  }
  assertEquals(names.size, 4, "files are used again");
  assert(log.startLsn > 0);
  const start = log.startLsn;
  const content = contentOf(log);
  assertThrows(
    () => log.read(start - 5056, new Uint8Array(8192), log.endLsn),
    CascadeError,
    "begins",
  );
  await world.reopen({ budgetBytes, checkpointLsn: start });
  assertSameBytes(contentOf(world.log, start), content, "after recycling");
});

Deno.test("room ahead counts what the budget still allows, so nothing is dropped too early", async () => {
  const world = new LogWorld();
  const log = await world.open({ budgetBytes: 10 * SEGMENT_BYTES });
  await world.until(() => log.room() > SEGMENT_BYTES);
  assert(log.roomAhead() > 5 * SEGMENT_BYTES);
});

Deno.test("a full disk is told once, leaves what there is in use, and is tried again", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.until(() => log.room() > SEGMENT_BYTES);
  world.host.conditions.roomBytes = world.host.usedBytes() + 10_000;
  await world.write(20, 5000);
  await world.wait(5000);
  assertEquals(world.told.filter((what) => what === "disk-full").length, 1);
  assert(world.host.usedBytes() <= 2 * SEGMENT_BYTES, "what was begun was given back");
  assert(log.roomAhead() < SEGMENT_BYTES, "what cannot be had is not counted");
  await world.flush();
  assertEquals(log.durableLsn, log.endLsn);
  assertEquals(world.told.includes("disk-room"), false);
  world.host.conditions.roomBytes = Infinity;
  await world.write(12, 5000);
  assertEquals(world.told.filter((what) => what.startsWith("disk")), ["disk-full", "disk-room"]);
  assertEquals(world.told.includes("fatal"), false);
});

Deno.test("a disk without room for the first segment is told when the log is opened", async () => {
  const world = new LogWorld();
  world.host.conditions.roomBytes = 10_000;
  const error = await assertRejects(() => world.open(), CascadeError);
  assertEquals(error.code, "disk-full");
});

Deno.test("a lowered budget takes effect as segments are dropped", async () => {
  const world = new LogWorld();
  await world.open({ budgetBytes: 8 * SEGMENT_BYTES });
  await world.write(80, 5000);
  await world.flush();
  const log = await world.reopen({ budgetBytes: 2 * SEGMENT_BYTES });
  log.dropBelow(log.endLsn);
  await world.until(() => world.segmentNames().length <= 3);
  await world.write(14, 5000);
  assert(world.segmentNames().length <= 3, "and holds from then on");
});

Deno.test("segments of another size go as they are dropped, and the mark outlives them", async () => {
  for (let seed = 1; seed <= 20; seed++) {
    const world = new LogWorld(seed);
    await world.open();
    await world.write(30, 5000);
    await world.flush();
    const other = { segmentBytes: 2 * SEGMENT_BYTES, budgetBytes: 8 * SEGMENT_BYTES };
    const log = await world.reopen(other);
    log.setUpstreamMark(log.endLsn);
    await world.flush();
    const mark = log.endLsn;
    await world.write(14, 5000);
    await world.flush();
    log.dropBelow(log.durableLsn);
    assert(log.startLsn > 0 && log.oldestSegmentEnd === null);
    await world.until(() => !world.segmentNames().includes("000003.seg"));
    const checkpointLsn = log.startLsn;
    world.crash("power");
    await world.open({ ...other, checkpointLsn });
    assert(world.log.upstreamMark >= mark, `seed ${seed}`);
  }
});

Deno.test("the upstream mark is relied on only once it is durable, and outlives a power cut", async () => {
  for (let seed = 1; seed <= 50; seed++) {
    const world = new LogWorld(seed);
    const log = await world.open();
    const draw = world.prng.fork("marks");
    for (let i = 0; i < 20; i++) {
      await world.write(1, draw.below(6000) + 1);
      if (draw.chance(0.5)) log.setUpstreamMark(log.endLsn);
      if (draw.chance(0.5)) log.requestFlush();
      await world.wait(draw.fraction() * 2);
    }
    const { upstreamMarkDurable, durableLsn } = log;
    world.crash("power");
    await world.open();
    assert(world.log.upstreamMark >= upstreamMarkDurable, `seed ${seed}: the mark`);
    assert(world.log.durableLsn >= durableLsn, `seed ${seed}: what was durable`);
  }
});

Deno.test("a flush is made for the mark alone", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.write(1, 100);
  await world.flush();
  log.setUpstreamMark(log.endLsn);
  await world.flush();
  assertEquals(log.upstreamMarkDurable, log.endLsn);
});

Deno.test("bytes of a record are read by position from memory and from the file", async () => {
  const world = new LogWorld();
  await world.open();
  await world.write(3, 3000);
  const record = recordAt(3056, 3000);
  const into = new Uint8Array(1000);
  world.log.readAt(3056 + 500, into);
  assertSameBytes(into, record.subarray(500, 1500), "from memory");
  await world.reopen();
  world.log.readAt(3056 + 500, into.fill(0));
  assertSameBytes(into, record.subarray(500, 1500), "from the file");
});

Deno.test("damage that comes while the log is open is found by the reader", async () => {
  const world = new LogWorld();
  await world.open();
  await world.write(10, 3000);
  await world.flush();
  await world.reopen();
  const name = world.segmentNames()[0];
  world.host.flip(`${FOLDER}/${name}`, 4096 + 3056 * 2 + 777, 4);
  const into = new Uint8Array(SEGMENT_BYTES);
  const error = assertThrows(() => world.log.read(0, into, world.log.endLsn), CascadeError);
  assertEquals([error.code, error.where["LSN"]], ["log-corrupt", 2 * 3056]);
  assertEquals(error.where["offset"], 4096 + 2 * 3056);
});

Deno.test("a cut, or a jump, waits for a file that is being removed, which takes a flush", async () => {
  for (const isCut of [true, false]) {
    const world = new LogWorld();
    await world.open({ budgetBytes: 8 * SEGMENT_BYTES });
    await world.write(110, 3000);
    await world.flush();
    // So that there are too many files, and one that is freed is removed.
    const log = await world.reopen({ budgetBytes: 5 * SEGMENT_BYTES });
    log.dropBelow(log.oldestSegmentEnd ?? 0);
    const lsn = isCut ? 60 * 3056 : 1_000_000;
    if (!isCut) log.dropBelow(60 * 3056);
    await world.settle(isCut ? log.cutBack(lsn) : log.jump(lsn));
    assertEquals(log.endLsn, lsn);
    await world.write(1, 3000);
    await world.flush();
  }
});

Deno.test("a log that was closed is not used any more", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.write(1, 100);
  log.requestFlush();
  await world.settle(log.close());
  assertEquals(log.durableLsn, log.endLsn, "the flush in flight was waited for");
  const error = assertThrows(() => log.append(recordAt(log.endLsn, 100)), CascadeError);
  assertEquals(error.code, "stopping");
});
