import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { DirtyMap, DirtyMapFile } from "../../../core/delta/dirty_map.ts";
import { CascadeError } from "../../../core/errors.ts";
import type { Clock } from "../../../core/ports.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

const EPOCH = "12".repeat(16);
const SIZES = [1_000_000, 5_000];
const clock: Clock = {
  nowMs: () => 0,
  monotonicMs: () => 0,
  after: () => ({ cancel() {} }),
  soon: (call) => queueMicrotask(call),
};

/** A map of [0, fold) with some blocks. */
function map(foldLsn = 0): DirtyMap {
  const made = new DirtyMap(new BlockSet(SIZES), EPOCH, 0, foldLsn);
  if (foldLsn === 0) return made;
  made.set.add(0, 5_000, 8_191);
  made.set.add(1, 4_999, 1);
  return made;
}

const END = 256;
const extents = (of: DirtyMap) => [...of.set.extents()].map((e) => [e.volume, e.offset, e.length]);
const ALL = [[0, 4096, 12288], [1, 4096, 904]];

Deno.test("a map only grows", () => {
  const dirty = map(END);
  dirty.advance(END + 16);
  assertEquals([dirty.fromLsn, dirty.foldLsn], [0, END + 16]);
  assertThrows(() => dirty.advance(END), CascadeError, "grows");
});

Deno.test("a map is saved, loaded and cleared, each durably", async () => {
  const disk = new MemoryDisk();
  disk.makeFolder("/n");
  const file = new DirtyMapFile(disk, "/n", "a-b.map");
  assertEquals(file.load(SIZES), null);
  const dirty = map(END);
  await file.save(dirty, clock);
  assertEquals(disk.events, [
    "flush /n/a-b.map.new",
    "rename /n/a-b.map.new /n/a-b.map",
    "flush /n",
  ]);
  const loaded = file.load(SIZES)!;
  assertEquals([loaded.epochId, loaded.fromLsn, loaded.foldLsn], [EPOCH, 0, END]);
  assertEquals(extents(loaded), ALL);
  await file.clear();
  assertEquals([file.load(SIZES), disk.events.at(-1), disk.openCount], [null, "flush /n", 0]);
});

Deno.test("a save that fails leaves the map that was there", async () => {
  const disk = new MemoryDisk();
  disk.makeFolder("/n");
  const file = new DirtyMapFile(disk, "/n", "a-b.map");
  await file.save(map(), clock);
  const dirty = map(END);
  for (let fails = 0; fails < 3; fails++) {
    let writes = 0;
    disk.beforeWrite = () => {
      if (writes++ === fails) throw new CascadeError("disk-full", "no room");
    };
    await assertRejects(() => file.save(dirty, clock), CascadeError, "no room");
    assertEquals(file.load(SIZES)?.foldLsn, 0);
  }
  disk.beforeWrite = () => {};
  disk.beforeFlush = () => Promise.reject(new CascadeError("disk-failed", "no flush"));
  await assertRejects(() => file.save(dirty, clock), CascadeError, "no flush");
  assertEquals(file.load(SIZES)?.foldLsn, 0);
});

Deno.test("every flipped bit and every cut of the file is named", async () => {
  const disk = new MemoryDisk();
  disk.makeFolder("/n");
  const file = new DirtyMapFile(disk, "/n", "a-b.map");
  const dirty = map(END);
  await file.save(dirty, clock);
  const good = disk.file("/n/a-b.map").bytes.slice();
  for (let bit = 0; bit < good.length * 8; bit++) {
    const bytes = good.slice();
    bytes[bit >>> 3]! ^= 1 << (bit & 7);
    disk.place("/n/a-b.map", bytes);
    assertThrows(() => file.load(SIZES), CascadeError, "the dirty map is damaged");
  }
  for (let end = 0; end < good.length; end++) {
    disk.place("/n/a-b.map", good.slice(0, end));
    assertThrows(() => file.load(SIZES), CascadeError, "the dirty map is damaged");
  }
});
