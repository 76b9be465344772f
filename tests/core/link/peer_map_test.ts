import { assert, assertEquals } from "@std/assert";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { PeerMap } from "../../../core/link/peer_map.ts";
import { RecordType } from "../../../core/log/record.ts";
import { MemoryJournal } from "../../support/small.ts";
import { LogWorld } from "../log/world.ts";
import { MadeUpGround } from "../delta/made_up_ground.ts";
import type { MadeUp } from "../delta/made_up_log.ts";

const SIZES = [1_000_000];
const RECORDS: MadeUp[] = Array.from({ length: 20 }, (_, i) => ({
  type: RecordType.WRITE,
  volume: 0,
  offset: i * 8192,
  length: 100,
}));

/** A map on a disk that crashes, of a log that is all stable. */
function makeMap(world: LogWorld): { map: PeerMap; ground: MadeUpGround } {
  const ground = new MadeUpGround(RECORDS, SIZES);
  ground.goTo(ground.made.endLsn);
  return { map: new PeerMap(ground, world.disk, "/log/maps", "a-b"), ground };
}

/** Blocks of records [from, to). */
function blocks(from: number, to: number): string[] {
  const set = new BlockSet(SIZES);
  for (const { offset, length } of RECORDS.slice(from, to)) set.add(0, offset, length);
  return [...set.extents()].map(({ offset }) => String(offset));
}

function blocksOf(map: PeerMap): string[] {
  return [...map.map?.set.extents() ?? []].map(({ offset }) => String(offset));
}

async function load(world: LogWorld): Promise<{ map: PeerMap; ground: MadeUpGround }> {
  const made = makeMap(world);
  await world.settle(made.map.load(new MemoryJournal(), false));
  return made;
}

Deno.test("a map takes in what was touched, and grows", async () => {
  const world = new LogWorld(1);
  const { map, ground } = makeMap(world);
  await world.settle(map.foldTo(ground.made.startOf(5), 0));
  await world.settle(map.foldTo(ground.made.startOf(9), 0));
  assertEquals(blocksOf(map), blocks(0, 9));
  assertEquals([map.map?.fromLsn, map.map?.foldLsn], [0, ground.made.startOf(9)]);
  await world.settle(map.foldTo(ground.made.startOf(3), 0));
  assertEquals(map.map?.foldLsn, ground.made.startOf(9));
});

Deno.test("a map that a start found is there after a power cut", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const world = new LogWorld(seed);
    const { map, ground } = makeMap(world);
    await world.settle(map.foldTo(ground.made.startOf(2), 0));
    const rename = world.disk.rename.bind(world.disk);
    let isRenamed = false;
    world.disk.rename = (from, to) => {
      rename(from, to);
      isRenamed = true;
    };
    const folding = map.foldTo(ground.made.startOf(7), 0);
    folding.catch(() => {/* it dies before it ends */});
    await world.until(() => isRenamed);
    world.crash("process");
    assertEquals((await load(world)).map.map?.foldLsn, ground.made.startOf(7));
    world.crash("power");
    assertEquals((await load(world)).map.map?.foldLsn, ground.made.startOf(7));
  }
});

Deno.test("the folder of a map is durable even if its maker died before it flushed its name", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const world = new LogWorld(seed);
    world.disk.makeFolder("/log/maps");
    world.crash("process");
    const { map, ground } = makeMap(world);
    await world.settle(map.foldTo(ground.made.startOf(2), 0));
    world.crash("power");
    assert((await load(world)).map.map !== null);
  }
});

Deno.test("a map that was removed, and came back when the log had gone on, is begun anew", async () => {
  const world = new LogWorld(1);
  const { map, ground } = makeMap(world);
  await world.settle(map.foldTo(ground.made.startOf(2), 0));
  world.crash("process");
  const found = await load(world);
  found.ground.startLsn = ground.made.startOf(5);
  await world.settle(found.map.foldTo(ground.made.startOf(9), ground.made.startOf(6)));
  assertEquals(found.map.map?.fromLsn, ground.made.startOf(6));
  assertEquals(blocksOf(found.map), blocks(6, 9));
});

Deno.test("a damaged map is told and forgotten, but not while blocks come in place", async () => {
  const world = new LogWorld(1);
  const { map, ground } = makeMap(world);
  await world.settle(map.foldTo(ground.made.startOf(2), 0));
  world.host.flip("/log/maps/a-b.map", 9, 4);
  const refused = makeMap(world).map;
  let isRefused = false;
  await world.settle(refused.load(new MemoryJournal(), true)).catch(() => isRefused = true);
  assert(isRefused);
  const journal = new MemoryJournal();
  const forgotten = makeMap(world).map;
  await world.settle(forgotten.load(journal, false));
  assertEquals([forgotten.map, journal.lines.length], [null, 1]);
  assertEquals(world.disk.exists("/log/maps/a-b.map"), false);
});

Deno.test("a map that the peer has caught up with is gone, durably", async () => {
  const world = new LogWorld(1);
  const { map, ground } = makeMap(world);
  await world.settle(map.foldTo(ground.made.startOf(2), 0));
  await world.settle(map.clear());
  world.crash("power");
  assertEquals((await load(world)).map.map, null);
});

Deno.test("what a map is made from stays while it is read, however far the peer is by then", async () => {
  const world = new LogWorld(1);
  const { map, ground } = makeMap(world);
  assertEquals(map.heldLsn, Infinity);
  const folding = map.foldTo(ground.made.startOf(9), ground.made.startOf(4));
  assertEquals(map.heldLsn, ground.made.startOf(4));
  await world.settle(folding);
  assertEquals(map.heldLsn, Infinity);
  const growing = map.foldTo(ground.made.startOf(12), ground.made.startOf(11));
  assertEquals(map.heldLsn, ground.made.startOf(9));
  await world.settle(growing);
  assertEquals([map.heldLsn, map.map?.foldLsn], [Infinity, ground.made.startOf(12)]);
});
