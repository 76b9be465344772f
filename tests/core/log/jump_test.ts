import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { inspect } from "../../../core/log/inspect.ts";
import type { Log } from "../../../core/log/log.ts";
import { encodeHeader, SegmentState } from "../../../core/log/segment.ts";
import { SegmentFolder } from "../../../core/log/segment_file.ts";
import { assertSameBytes, contentOf, FOLDER, LogWorld, recordAt, SEGMENT_BYTES } from "./world.ts";

const RECORD = 3056;
const CAPACITY = SEGMENT_BYTES - 4096;

/** How the log stands: oldest, end, durable, mark, durable mark. */
function standing(log: Log): number[] {
  return [log.startLsn, log.endLsn, log.durableLsn, log.upstreamMark, log.upstreamMarkDurable];
}

async function jump(world: LogWorld, toLsn: number): Promise<void> {
  await world.settle(world.log.jump(toLsn));
}

Deno.test("after a jump the log goes on at its new end, and says what it lacks", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.write(3, 3000);
  const from = log.endLsn;
  await jump(world, 1_000_000);
  assertEquals(standing(log), [0, 1_000_000, 1_000_000, 1_000_000, 1_000_000]);
  const gap = { fromLsn: from, toLsn: 1_000_000 };
  assertEquals(log.gaps, [gap]);
  assertEquals([log.gapAt(from - 1), log.gapAt(1_000_000)], [null, null]);
  assertEquals([log.gapAt(from), log.gapAt(999_999)], [gap, gap]);
  assertEquals([log.nextGap(0), log.nextGap(from), log.nextGap(from + 1)], [gap, gap, null]);
  assert(world.told.includes("durable"), "it is told that more is durable");
  assert(log.room() >= CAPACITY, "there is room in the new segment");
  await world.write(3, 3000);
  await world.flush();
  const content = contentOf(log);
  await world.reopen();
  const end = 1_000_000 + 3 * RECORD;
  assertEquals(standing(world.log), [0, end, end, 1_000_000, 1_000_000]);
  assertEquals([world.log.gaps, world.report?.gaps], [[gap], [gap]]);
  assertSameBytes(contentOf(world.log), content, "after reopening");
  assertEquals(world.report?.records, 6);
});

Deno.test("a jump makes durable what was appended before it, and wakes who waits for that", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.write(3, 3000);
  log.setUpstreamMark(RECORD);
  const waiting = log.flushed();
  const jumping = log.jump(64_000);
  assertEquals(log.room(), 0, "nothing is appended meanwhile");
  await world.settle(Promise.all([waiting, jumping]));
  world.crash("power");
  await world.open();
  assertEquals(standing(world.log), [0, 64_000, 64_000, 64_000, 64_000]);
});

Deno.test("nothing is read across a gap, from memory or from the files", async () => {
  const world = new LogWorld();
  await world.open();
  await world.write(3, 3000);
  const from = world.log.endLsn;
  await jump(world, 320_000);
  await world.write(2, 3000);
  await world.flush();
  for (const round of ["memory", "files"]) {
    const { log } = world;
    const into = new Uint8Array(SEGMENT_BYTES);
    assertEquals(log.read(RECORD, into, log.endLsn), 2 * RECORD, round);
    assertEquals(log.read(RECORD, into.subarray(0, RECORD), log.endLsn), RECORD, round);
    assertEquals(log.read(320_000, into, log.endLsn), 2 * RECORD, round);
    for (const lsn of [from, from + 16, 319_984]) {
      assertEquals(log.view(lsn, 1 << 20, log.endLsn), null);
      for (const read of [() => log.read(lsn, into, log.endLsn), () => log.readAt(lsn, into)]) {
        const error = assertThrows(read, CascadeError);
        assertEquals([error.code, error.where["LSN"]], ["log-gone", lsn]);
      }
    }
    await world.reopen();
  }
});

Deno.test("a log jumps when it is empty, again at once, and when its segment is full", async () => {
  const world = new LogWorld();
  const log = await world.open({ budgetBytes: 20 * SEGMENT_BYTES });
  await jump(world, 16);
  await jump(world, 4096);
  await jump(world, 8192);
  const gaps = [{ fromLsn: 0, toLsn: 16 }, { fromLsn: 16, toLsn: 4096 }, {
    fromLsn: 4096,
    toLsn: 8192,
  }];
  assertEquals(log.gaps, gaps);
  await world.write(19, 3000);
  await world.write(1, CAPACITY - 19 * RECORD - 48);
  assertEquals(log.endLsn, 8192 + CAPACITY, "the segment is full");
  await jump(world, 1_000_000);
  const before = log.gaps;
  assertEquals(before.length, 4);
  await world.reopen({ budgetBytes: 20 * SEGMENT_BYTES });
  assertEquals(world.log.gaps, before);
  assertEquals(standing(world.log), [0, 1_000_000, 1_000_000, 1_000_000, 1_000_000]);
  await world.write(30, 3000);
  await world.flush();
  await world.reopen({ budgetBytes: 20 * SEGMENT_BYTES });
  assertEquals(world.log.gaps, before);
  assertEquals(world.log.endLsn, 1_000_000 + 30 * RECORD);
});

Deno.test("a gap goes with the segment before it, once all up to its end may go", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await world.write(3, 3000);
  await jump(world, 320_000);
  await jump(world, 640_000);
  await world.write(2, 3000);
  assertEquals(log.oldestSegmentEnd, 320_000);
  log.dropBelow(319_984);
  assertEquals([log.startLsn, log.gaps.length], [0, 2]);
  log.dropBelow(320_000);
  assertEquals([log.startLsn, log.gaps], [320_000, [{ fromLsn: 320_000, toLsn: 640_000 }]]);
  assertEquals(assertThrows(() => log.readAt(3, new Uint8Array(1)), CascadeError).code, "log-gone");
  await world.reopen({ checkpointLsn: 320_000 });
  assertEquals(world.log.gaps.length, 1);
  world.log.dropBelow(640_000);
  assertEquals([world.log.startLsn, world.log.gaps, world.log.oldestSegmentEnd], [
    640_000,
    [],
    null,
  ]);
  await world.until(() => world.log.room() > 2 * CAPACITY - RECORD * 10);
  await world.reopen({ checkpointLsn: 640_000 });
  assertEquals([world.log.startLsn, world.report?.gaps], [640_000, []]);
  assertEquals(world.log.endLsn, 640_000 + 2 * RECORD);
});

Deno.test("a jump waits for a spare segment, and is refused when none can be had", async () => {
  const world = new LogWorld();
  const log = await world.open({ budgetBytes: 2 * SEGMENT_BYTES });
  await jump(world, 320_000);
  await jump(world, 640_000);
  const error = await assertRejects(() => jump(world, 960_000), CascadeError);
  assertEquals([error.code, error.retryable], ["log-full", true]);
  assertEquals([log.endLsn, log.room(), log.gaps.length], [640_000, CAPACITY, 2]);
  await world.write(1, 3000);
  log.dropBelow(320_000);
  const jumping = log.jump(960_000);
  await world.settle(jumping);
  assertEquals([log.startLsn, log.endLsn], [320_000, 960_000]);
  assert(!world.told.includes("fatal"));
});

Deno.test("a jump that finds the disk full changes nothing", async () => {
  const world = new LogWorld();
  const log = await world.open();
  await jump(world, 320_000);
  await world.wait(50);
  world.host.conditions.roomBytes = 0;
  for (let lsn = 640_000;; lsn += 320_000) {
    const end = log.endLsn;
    const error = await world.settle(log.jump(lsn)).then(() => null, (error) => error);
    if (error === null) continue;
    assertEquals([error.code, error.retryable, log.endLsn], ["log-full", true, end]);
    break;
  }
  await world.write(2, 3000);
  await world.flush();
  world.host.conditions.roomBytes = Infinity;
  await world.wait(3000);
  await jump(world, 9_600_000);
  assertEquals(log.endLsn, 9_600_000);
});

Deno.test("a cut goes back to where a gap ends, and the log jumps from there", async () => {
  const world = new LogWorld();
  const log = await world.open({ budgetBytes: 20 * SEGMENT_BYTES });
  await world.write(3, 3000);
  await jump(world, 320_000);
  await world.write(40, 3000);
  await assertRejects(() => world.settle(log.cutBack(4 * RECORD)), Error, "within the log");
  await world.settle(log.cutBack(320_000));
  assertEquals(standing(log), [0, 320_000, 320_000, 320_000, 320_000]);
  await world.write(2, 3000, 1);
  await world.settle(log.cutBack(320_000 + RECORD));
  await jump(world, 640_000);
  const gaps = [{ fromLsn: 3 * RECORD, toLsn: 320_000 }, {
    fromLsn: 320_000 + RECORD,
    toLsn: 640_000,
  }];
  assertEquals(log.gaps, gaps);
  world.crash("power");
  await world.open({ budgetBytes: 20 * SEGMENT_BYTES });
  assertEquals(world.log.gaps, gaps);
  assertEquals(world.log.endLsn, 640_000);
  assertEquals(world.report?.records, 4);
});

Deno.test("a cut to before gaps takes them along, whatever a crash leaves of it", async () => {
  for (const lsn of [3 * RECORD, 2 * RECORD]) {
    for (let step = 1; step < 40; step++) {
      const world = new LogWorld();
      const log = await world.open({ budgetBytes: 20 * SEGMENT_BYTES });
      await world.write(3, 3000);
      await jump(world, 320_000);
      await world.write(40, 3000);
      await jump(world, 640_000);
      await world.write(2, 3000);
      await world.flush();
      world.dieAfter(step);
      const isWhole = await world.settle(log.cutBack(lsn)).then(() => true, () => false);
      if (!isWhole) {
        // An end between the old one and the new one, and then the cut is made again.
        world.crash("power");
        await world.open({ budgetBytes: 20 * SEGMENT_BYTES });
        assert(world.log.endLsn >= lsn, `step ${step}: the log ends at ${world.log.endLsn}`);
        await world.settle(world.log.cutBack(lsn));
      } else {
        assert(step > 3, "a cut takes some steps");
        world.dieAfter(0);
        step = Infinity;
      }
      assertEquals([world.log.gaps, world.log.endLsn], [[], lsn], `step ${step}`);
      await world.write(2, 3000, 1);
      await world.flush();
      world.crash("power");
      await world.open({ budgetBytes: 20 * SEGMENT_BYTES });
      assertEquals([world.log.gaps, world.log.endLsn], [[], lsn + 2 * RECORD]);
    }
  }
});

Deno.test("what stands behind the end that a jump names is never taken for records", async () => {
  const world = new LogWorld();
  await world.open();
  await world.write(3, 3000);
  await jump(world, 640_000);
  await world.settle(world.log.close());
  const file = `${FOLDER}/000001.seg`;
  const handle = world.disk.open(file);
  handle.writeAt(recordAt(3 * RECORD, 3000), 4096 + 3 * RECORD);
  handle.close();
  world.crash("process");
  await world.open();
  assertEquals([world.log.endLsn, world.report?.records], [640_000, 3]);
});

Deno.test("a log that is closed during a jump is found at its old end or at its new one", async () => {
  for (let ms = 0; ms < 12; ms++) {
    const world = new LogWorld(ms);
    const log = await world.open();
    await world.write(3, 3000);
    await world.flush();
    const jumping = log.jump(640_000).then(() => true, (error) => error.code);
    await world.wait(ms / 4);
    await world.settle(log.close());
    const outcome = await world.settle(jumping);
    assert(outcome === true || outcome === "stopping", String(outcome));
    world.crash("power");
    await world.open();
    const { endLsn } = world.log;
    assertEquals(endLsn, outcome === true ? 640_000 : 3 * RECORD);
    await world.write(1, 3000);
  }
});

Deno.test("a jump that names an end where no record ends is damage", async () => {
  for (const from of [2 * RECORD - 16, 3 * RECORD + 16]) {
    const world = new LogWorld();
    await world.open();
    await world.write(3, 3000);
    await jump(world, 640_000);
    await world.settle(world.log.close());
    const handle = world.disk.open(`${FOLDER}/000002.seg`);
    const { STREAM } = SegmentState;
    const header = { state: STREAM, baseLsn: 640_000, fileBytes: SEGMENT_BYTES };
    handle.writeAt(encodeHeader({ ...header, jumpFromLsn: from }), 0);
    handle.close();
    world.crash("process");
    const error = await assertRejects(() => world.open(), CascadeError);
    const lsn = from < 3 * RECORD ? 2 * RECORD : 3 * RECORD;
    assertEquals([error.code, error.where], ["log-corrupt", {
      file: `${FOLDER}/000001.seg`,
      offset: 4096 + lsn,
      LSN: lsn,
    }]);
    const folder = new SegmentFolder(world.disk, FOLDER, true);
    const options = { folder, clock: world.clock, checkpointLsn: 0 };
    const { damage } = await world.settle(inspect(options));
    assert(damage.length > 0, "and is told");
  }
});
