import { assertEquals } from "@std/assert";
import { loadDelta } from "../../../core/delta/delta_shelf.ts";
import { DirtyMapFile } from "../../../core/delta/dirty_map.ts";
import { RecordReader } from "../../../core/log/record.ts";
import { RECORD_BYTES_MAX } from "../../../core/limits.ts";
import { GOLDEN_DELTA, GOLDEN_SET_SIZES, goldenDelta, goldenSet } from "../../golden/delta_list.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

function golden(name: string): Uint8Array<ArrayBuffer> {
  return Deno.readFileSync(new URL(`../../golden/delta/${name}`, import.meta.url));
}

for (const { name, make } of GOLDEN_DELTA) {
  Deno.test(`what is written today is ${name}, byte for byte`, async () => {
    assertEquals(await make(), golden(name));
  });
}

Deno.test("a dirty map of version 1 is read from the golden bytes", () => {
  const disk = new MemoryDisk();
  disk.place("/maps/a-b.map", golden("dirty-map-v1.map"));
  const map = new DirtyMapFile(disk, "/maps", "a-b.map").load(GOLDEN_SET_SIZES);
  assertEquals(map?.epochId, "0123456789abcdef0123456789abcdef");
  assertEquals([map?.fromLsn, map?.foldLsn], [0x1_0000_0000_10, 0x1_0000_1000_00]);
  assertEquals([...map?.set.extents() ?? []], [...goldenSet().extents()]);
});

Deno.test("a delta of version 1 is read from the golden bytes", () => {
  const disk = new MemoryDisk();
  disk.place("/delta/x.delta", golden("delta-v1.delta"));
  const delta = loadDelta(disk, "/delta/x.delta");
  assertEquals([delta.fromLsn, delta.toLsn, delta.trailer.records], [1600, 4800, 5]);
  assertEquals(delta.fileBytes, goldenDelta().length);
  const body = new Uint8Array(RECORD_BYTES_MAX);
  const bytes = delta.read(0, body);
  const record = new RecordReader();
  const found: number[][] = [];
  for (let at = 0; at < bytes; at += record.totalBytes) {
    const { type, epoch, volume, offset, length } = record.at(body, at);
    found.push([type, epoch, volume, offset, length]);
  }
  assertEquals(found, [
    [1, 1, 0, 512, 100],
    [2, 1, 0, 8192, 8192],
    [2, 1, 0, 65_536, 4096],
    [3, 1, 1, 0, 4096],
    [1, 2, 0, 512, 33],
  ]);
  delta.close();
});
