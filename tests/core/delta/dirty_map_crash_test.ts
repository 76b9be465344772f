/** A crash at every step of a save of a dirty map, on a disk that loses and tears what is not flushed. */
import { assertEquals } from "@std/assert";
import { assert } from "../../../core/assert.ts";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { DirtyMap, DirtyMapFile } from "../../../core/delta/dirty_map.ts";
import type { CrashKind } from "../../sim/life.ts";
import { FOLDER, LogWorld } from "../log/world.ts";

const SIZES = [10_000_000];

function map(foldLsn: number, blocks: number): DirtyMap {
  const set = new BlockSet(SIZES);
  for (let block = 0; block < blocks; block++) set.add(0, block * 8192, 1);
  return new DirtyMap(set, "12".repeat(16), 16, foldLsn);
}

async function crashIn(kind: CrashKind, operations: number, seed: number): Promise<boolean> {
  const world = new LogWorld(seed);
  const file = () => new DirtyMapFile(world.disk, FOLDER, "a-b.map");
  await world.settle(file().save(map(32, 10), world.clock));
  world.dieAfter(operations);
  let isSaved = false;
  try {
    await world.settle(file().save(map(64, 1_100), world.clock));
    isSaved = true;
  } catch (error) {
    if (world.life.alive) throw error;
  }
  world.crash(kind);
  const found = file().load(SIZES);
  assert(found !== null, "there is a map after a crash");
  if (isSaved) assertEquals(found.foldLsn, 64);
  const wanted = found.foldLsn === 64 ? map(64, 1_100) : map(32, 10);
  assertEquals(found.foldLsn, wanted.foldLsn);
  assertEquals([...found.set.extents()], [...wanted.set.extents()]);
  return isSaved;
}

for (const kind of ["process", "power"] as const) {
  Deno.test(`a dirty map is the old or the new one after any crash (${kind})`, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      let operations = 1;
      while (!await crashIn(kind, operations, seed)) operations++;
      assert(operations > 5, "a save has several steps, and each was met");
    }
  });
}
