import { assertEquals } from "@std/assert";
import { SeedMap } from "../../../core/link/seed_map.ts";
import { RecordType } from "../../../core/log/record.ts";
import type { MadeUp } from "../delta/made_up_log.ts";
import { MadeUpGround } from "../delta/made_up_ground.ts";
import { LogWorld } from "../log/world.ts";
import { MemoryJournal } from "../../support/small.ts";

const RECORDS: MadeUp[] = Array.from({ length: 20 }, (_, i) => ({
  type: RecordType.WRITE,
  volume: 0,
  offset: i * 8192,
  length: 100,
}));

/** The map of a node whose peers have all below record number `taken`. */
function makeMap(world: LogWorld, taken = 0) {
  const ground = new MadeUpGround(RECORDS, [1_000_000]);
  ground.goTo(ground.made.endLsn);
  const isTaken = (lsn: number) => lsn <= ground.made.startOf(taken) && taken > 0;
  return { ground, map: new SeedMap(ground, world.disk, "/log/maps", isTaken) };
}

/** Another life of the node, whose log begins at record number `first`. */
async function reload(world: LogWorld, first = 0) {
  const made = makeMap(world);
  made.ground.startLsn = made.ground.made.startOf(first);
  const journal = new MemoryJournal();
  await world.settle(made.map.load(journal));
  return { ...made, journal };
}

function recordsIn({ map }: SeedMap): number[] {
  return [...map?.set.extents() ?? []].map(({ offset }) => offset / 8192);
}

Deno.test("what was touched since a seed is kept when the log goes, also over a power cut", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const world = new LogWorld(seed);
    const { map, ground: { made } } = makeMap(world);
    assertEquals(map.heldLsn, Infinity);
    await world.settle(map.begin(made.startOf(5)));
    assertEquals(map.heldLsn, made.startOf(5));
    await world.settle(map.foldTo(made.startOf(9)));
    world.crash("power");
    const found = (await reload(world, 9)).map;
    assertEquals(recordsIn(found), [5, 6, 7, 8]);
    assertEquals([found.map?.fromLsn, found.heldLsn], [made.startOf(5), made.startOf(9)]);
  }
});

Deno.test("the last seed is the one that counts", async () => {
  const world = new LogWorld(1);
  const { map, ground: { made } } = makeMap(world);
  await world.settle(map.begin(made.startOf(2)));
  await world.settle(map.begin(made.startOf(8)));
  await world.settle(map.foldTo(made.startOf(9)));
  assertEquals(recordsIn(map), [8]);
});

Deno.test("the map goes once all nodes below are past the seed", async () => {
  const world = new LogWorld(1);
  const { map, ground: { made } } = makeMap(world, 6);
  await world.settle(map.begin(made.startOf(5)));
  await world.settle(map.foldTo(made.startOf(9)));
  assertEquals([map.map, map.heldLsn], [null, Infinity]);
  assertEquals((await reload(world)).map.map, null);
});

Deno.test("a map whose log went without it, or that is damaged, is forgotten", async () => {
  const world = new LogWorld(1);
  const { map, ground: { made } } = makeMap(world);
  await world.settle(map.begin(made.startOf(5)));
  assertEquals((await reload(world, 7)).map.map, null);
  await world.settle(map.begin(made.startOf(5)));
  world.host.flip("/log/maps/seed@.map", 9, 4);
  const { map: found, journal } = await reload(world);
  assertEquals([found.map, journal.lines.length], [null, 1]);
  assertEquals((await reload(world)).journal.lines.length, 0);
});
