import { assertEquals, assertRejects, assertThrows } from "@std/assert";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { DirtyMap, DirtyMapFile, type RecordSource } from "../../../core/delta/dirty_map.ts";
import { CascadeError } from "../../../core/errors.ts";
import { recordBytes, RecordType, writeRecord } from "../../../core/log/record.ts";
import type { Clock } from "../../../core/ports.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

const SIZES = [1_000_000, 5_000];
const clock: Clock = {
  nowMs: () => 0,
  monotonicMs: () => 0,
  after: () => ({ cancel() {} }),
  soon: (call) => queueMicrotask(call),
};

/** Records one behind the other from LSN 0 on, told one record a read. */
function logOf(
  list: readonly [RecordType, number, number, number][],
): RecordSource & { end: number } {
  const bytes = new Uint8Array(100_000);
  let end = 0;
  for (const [type, volume, offset, length] of list) {
    const payload = new Uint8Array(
      type === RecordType.WRITE || type === RecordType.MARK ? length : 0,
    )
      .fill(65);
    end += writeRecord(bytes, end, type, 0, volume, 1, end, offset, length, 0, payload);
  }
  return {
    end,
    read(lsn, into, limitLsn) {
      for (let at = 0, i = 0; at < limitLsn; i++) {
        const total = recordBytes(list[i]![0], list[i]![3]);
        if (at === lsn) into.set(bytes.subarray(at, at + total));
        if (at === lsn) return total;
        at += total;
      }
      return 0;
    },
  };
}

const LOG = logOf([
  [RecordType.WRITE, 0, 5_000, 10],
  [RecordType.MARK, 0, 0, 3],
  [RecordType.ZERO, 0, 8_191, 2],
  [RecordType.TRIM, 1, 4_999, 1],
]);

function map(): DirtyMap {
  return new DirtyMap(new BlockSet(SIZES), 0);
}

const extents = (of: DirtyMap) => [...of.set.extents()].map((e) => [e.volume, e.offset, e.length]);
const ALL = [[0, 4096, 8192], [1, 4096, 904]];

Deno.test("writes, zeroes and trims of a log range are folded in, and nothing else", async () => {
  const dirty = map();
  await dirty.fold(LOG, 64, clock);
  assertEquals([dirty.foldLsn, extents(dirty)], [64, [[0, 4096, 4096]]]);
  await dirty.fold(LOG, LOG.end, clock);
  assertEquals([dirty.fromLsn, dirty.foldLsn, extents(dirty)], [0, LOG.end, ALL]);
});

Deno.test("a fold that fails goes on where it was", async () => {
  const dirty = map();
  const broken: RecordSource = {
    read(lsn, into, limitLsn) {
      if (lsn > 0) throw new CascadeError("log-corrupt", "a bad place");
      return LOG.read(lsn, into, limitLsn);
    },
  };
  await assertRejects(() => dirty.fold(broken, LOG.end, clock), CascadeError, "bad place");
  assertEquals(dirty.foldLsn, 64);
  await dirty.fold(LOG, LOG.end, clock);
  assertEquals(extents(dirty), ALL);
});

Deno.test("maps are merged without a gap", () => {
  const one = new DirtyMap(new BlockSet(SIZES), 10, 20);
  const two = new DirtyMap(new BlockSet(SIZES), 20, 30);
  two.set.add(1, 0, 1);
  one.merge(two);
  assertEquals([one.fromLsn, one.foldLsn, extents(one)], [10, 30, [[1, 0, 4096]]]);
  assertThrows(() => one.merge(new DirtyMap(new BlockSet(SIZES), 31, 40)), CascadeError, "gap");
});

Deno.test("a map is saved, loaded and cleared, each durably", async () => {
  const disk = new MemoryDisk();
  disk.makeFolder("/n");
  const file = new DirtyMapFile(disk, "/n", "a-b.map");
  assertEquals(file.load(SIZES), null);
  const dirty = map();
  await dirty.fold(LOG, LOG.end, clock);
  await file.save(dirty);
  assertEquals(disk.events, [
    "flush /n/a-b.map.new",
    "rename /n/a-b.map.new /n/a-b.map",
    "flush /n",
  ]);
  const loaded = file.load(SIZES)!;
  assertEquals([loaded.fromLsn, loaded.foldLsn, extents(loaded)], [0, LOG.end, ALL]);
  await file.clear();
  assertEquals([file.load(SIZES), disk.events.at(-1), disk.openCount], [null, "flush /n", 0]);
});

Deno.test("a save that fails leaves the map that was there", async () => {
  const disk = new MemoryDisk();
  disk.makeFolder("/n");
  const file = new DirtyMapFile(disk, "/n", "a-b.map");
  await file.save(map());
  const dirty = map();
  await dirty.fold(LOG, LOG.end, clock);
  for (let fails = 0; fails < 3; fails++) {
    let writes = 0;
    disk.beforeWrite = () => {
      if (writes++ === fails) throw new CascadeError("disk-full", "no room");
    };
    await assertRejects(() => file.save(dirty), CascadeError, "no room");
    assertEquals(file.load(SIZES)?.foldLsn, 0);
  }
  disk.beforeWrite = () => {};
  disk.beforeFlush = () => Promise.reject(new CascadeError("disk-failed", "no flush"));
  await assertRejects(() => file.save(dirty), CascadeError, "no flush");
  assertEquals(file.load(SIZES)?.foldLsn, 0);
});

Deno.test("every flipped bit and every cut of the file is named", async () => {
  const disk = new MemoryDisk();
  disk.makeFolder("/n");
  const file = new DirtyMapFile(disk, "/n", "a-b.map");
  const dirty = map();
  await dirty.fold(LOG, LOG.end, clock);
  await file.save(dirty);
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
