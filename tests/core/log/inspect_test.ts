import { assertEquals, assertRejects } from "@std/assert";
import fc from "fast-check";
import { assert } from "../../../core/assert.ts";
import { CascadeError, isCascadeError } from "../../../core/errors.ts";
import { SECTOR_BYTES } from "../../../core/limits.ts";
import { inspect, type Inspection } from "../../../core/log/inspect.ts";
import { recover } from "../../../core/log/recovery.ts";
import { SLOT_OFFSETS } from "../../../core/log/segment.ts";
import { SegmentFolder } from "../../../core/log/segment_file.ts";
import { GOLDEN_LOG } from "../../golden/log_list.ts";
import { FOLDER, LogWorld } from "./world.ts";

const SMALL = { segmentBytes: 6144, budgetBytes: 4 * 6144 };
const RECORD = 256;

/** Two full segments of eight records, and a third with four; all durable. */
async function smallLog(): Promise<LogWorld> {
  const world = new LogWorld();
  await world.open(SMALL);
  await world.write(20, 200);
  await world.flush();
  await world.until(() => world.segmentNames().length === 4);
  await world.settle(world.log.close());
  world.crash("process");
  return world;
}

function look(world: LogWorld, checkpointLsn: number | null = null): Promise<Inspection> {
  const folder = new SegmentFolder(world.disk, FOLDER, true);
  return world.settle(inspect({ folder, clock: world.clock, checkpointLsn }));
}

function placesOf({ damage }: Inspection): (string | number | null)[][] {
  return damage.map(({ file, offset, lsn }) => [file.slice(-10), offset, lsn]);
}

Deno.test("a whole log is told segment by segment", async () => {
  const found = await look(await smallLog(), 3 * RECORD);
  assertEquals(found.damage, []);
  assertEquals([found.startLsn, found.endLsn, found.records, found.torn], [0, 5120, 20, null]);
  assertEquals([found.checkpointLsn, found.knownDurableLsn], [768, 5120]);
  assertEquals(
    found.segments.map(({ state, baseLsn, endLsn, records }) => [state, baseLsn, endLsn, records]),
    [["stream", 0, 2048, 8], ["stream", 2048, 4096, 8], ["stream", 4096, 5120, 4], [
      "free",
      null,
      null,
      0,
    ]],
  );
});

Deno.test("all damage is told, also behind damage", async () => {
  const world = await smallLog();
  for (const [name, index] of [[1, 2], [1, 3], [1, 7], [2, 0], [3, 3]] as const) {
    world.host.flip(`${FOLDER}/00000${name}.seg`, 4096 + index * RECORD + 60, 1);
  }
  const found = await look(world);
  assertEquals(placesOf(found), [
    // Two in a row are one place: behind the first the next whole record is looked for.
    ["000001.seg", 4096 + 2 * RECORD, 2 * RECORD],
    ["000001.seg", 4096 + 7 * RECORD, 7 * RECORD],
    ["000002.seg", 4096, 8 * RECORD],
    ["000003.seg", 4096 + 3 * RECORD, 19 * RECORD],
  ]);
  assertEquals(found.records, 15);
});

Deno.test("a segment that is missing is told, and what is behind it still read", async () => {
  const world = await smallLog();
  world.disk.remove(`${FOLDER}/000002.seg`);
  const found = await look(world);
  assertEquals(placesOf(found), [["000001.seg", 4096 + 8 * RECORD, 8 * RECORD]]);
  assertEquals(found.records, 12);
});

Deno.test("a damaged header is told, and the records that it hides", async () => {
  const world = await smallLog();
  world.host.flip(`${FOLDER}/000001.seg`, 15, 4);
  const found = await look(world, 0);
  assertEquals(placesOf(found), [["000001.seg", 0, null], ["000002.seg", 0, 0]]);
});

Deno.test("a log that ends before the checkpoint is told", async () => {
  const found = await look(await smallLog(), 5376);
  assertEquals(placesOf(found), [["000003.seg", 4096 + 4 * RECORD, 5120]]);
});

/** Three full records, a gap, none, another gap, and four records; all durable. */
async function logWithGaps(): Promise<LogWorld> {
  const world = new LogWorld();
  await world.open(SMALL);
  await world.write(3, 200);
  await world.settle(world.log.jump(4096));
  await world.settle(world.log.jump(8192));
  await world.write(4, 200);
  await world.flush();
  await world.until(() => world.segmentNames().length === 4);
  await world.settle(world.log.close());
  world.crash("process");
  return world;
}

const GAPS = [{ fromLsn: 3 * RECORD, toLsn: 4096 }, { fromLsn: 4096, toLsn: 8192 }];

Deno.test("what came as a delta is told as that, and is no damage", async () => {
  const found = await look(await logWithGaps(), 8192);
  assertEquals([found.damage, found.torn, found.gaps], [[], null, GAPS]);
  assertEquals([found.startLsn, found.endLsn, found.records], [0, 8192 + 4 * RECORD, 7]);
  assertEquals(found.knownDurableLsn, 8192 + 4 * RECORD);
  assertEquals(
    found.segments.slice(0, 3).map(({ baseLsn, endLsn, jumpFromLsn }) => [
      baseLsn,
      endLsn,
      jumpFromLsn,
    ]),
    [[0, 768, null], [4096, 4096, 768], [8192, 9216, 4096]],
  );
});

Deno.test("what is missing before a gap is told with its place", async () => {
  const world = await logWithGaps();
  world.host.flip(`${FOLDER}/000001.seg`, 4096 + 2 * RECORD + 60, 1);
  assertEquals(placesOf(await look(world)), [["000001.seg", 4096 + 2 * RECORD, 2 * RECORD]]);
  const folder = new SegmentFolder(world.disk, FOLDER, true);
  const error = await assertRejects(
    () => world.settle(recover(folder, world.clock, 0)),
    CascadeError,
  );
  assertEquals([error.code, error.where], ["log-corrupt", {
    file: `${FOLDER}/000001.seg`,
    offset: 4096 + 2 * RECORD,
    LSN: 2 * RECORD,
  }]);
});

Deno.test("a jump whose watermark is lost still proves what is before it", async () => {
  const world = await logWithGaps();
  for (const name of [1, 2, 3, 4]) {
    for (const slot of SLOT_OFFSETS) world.host.flip(`${FOLDER}/00000${name}.seg`, slot + 3, 1);
  }
  assertEquals((await look(world)).knownDurableLsn, 8192);
  world.host.flip(`${FOLDER}/000001.seg`, 4096 + 2 * RECORD + 60, 1);
  const error = await assertRejects(() => world.open(SMALL), CascadeError);
  assertEquals(error.code, "log-corrupt");
});

for (const [what, make] of [["a log", smallLog], ["one with gaps", logWithGaps]] as const) {
  Deno.test(`what recovery refuses is told, and what it takes is not: ${what}`, async () => {
    const world = await make();
    for (let round = 0; round < 400; round++) {
      const name = `${FOLDER}/00000${1 + world.prng.below(4)}.seg`;
      const [offset, mask] = [world.prng.below(6144), 1 << world.prng.below(8)];
      world.host.flip(name, offset, mask);
      const folder = new SegmentFolder(world.disk, FOLDER, true);
      const taken = await world.settle(recover(folder, world.clock, 0)).catch(() => null);
      const { damage } = await look(world, 0);
      const wanted = taken === null || taken.report.damage.length > 0;
      assertEquals(damage.length > 0, wanted, `${name} ${offset} ${mask}`);
      world.host.flip(name, offset, mask);
    }
  });
}

Deno.test("a flipped bit in the header of a jump is found, whichever it is", async () => {
  const world = await logWithGaps();
  for (const name of [2, 3]) {
    const path = `${FOLDER}/00000${name}.seg`;
    for (let offset = 0; offset < SECTOR_BYTES; offset++) {
      world.host.flip(path, offset, 1 << offset % 8);
      const folder = new SegmentFolder(world.disk, FOLDER, true);
      const error = await world.settle(recover(folder, world.clock, 0)).then(() => null, (e) => e);
      assertEquals([error?.code, error?.where["damaged header"]], ["log-corrupt", path]);
      assert((await look(world, 0)).damage.some(({ file }) => file === path), "it is told");
      world.host.flip(path, offset, 1 << offset % 8);
    }
  }
});

Deno.test("any files in the folder are judged without a crash", async () => {
  const bytes = fc.uint8Array({ maxLength: 9000 });
  const changes = fc.array(fc.tuple(fc.nat(6143), fc.nat(255)), { maxLength: 6 });
  await fc.assert(
    fc.asyncProperty(bytes, changes, fc.boolean(), async (noise, changes, first) => {
      const world = new LogWorld();
      const golden = GOLDEN_LOG.find(({ name }) => name.endsWith("stream.seg"))?.make();
      assert(golden !== undefined, "there is a golden segment");
      for (const [at, value] of changes) golden[at] = value;
      world.host.place(`${FOLDER}/000001.seg`, first ? golden : noise);
      world.host.place(`${FOLDER}/000002.seg`, first ? noise : golden);
      world.host.place(`${FOLDER}/readme.txt`, noise);
      await look(world).catch((error) => {
        if (!isCascadeError(error) || error.code === "bug") throw error;
      });
      await world.open({ ...SMALL, checkpointLsn: 2 ** 40 }).catch((error) => {
        if (!isCascadeError(error) || error.code === "bug") throw error;
      });
    }),
    { numRuns: 150 },
  );
});
