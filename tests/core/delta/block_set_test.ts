import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { BlockSet } from "../../../core/delta/block_set.ts";

const KIB = 1024;
const TIB = 2 ** 40;

Deno.test("what is added is rounded outward to blocks, and merged", () => {
  const set = new BlockSet([100 * KIB, 10_000]);
  set.add(0, 4095, 2);
  set.add(0, 8 * KIB, 1);
  set.add(1, 9_999, 1);
  assertEquals([...set.extents()], [
    { volume: 0, offset: 0, length: 12 * KIB },
    { volume: 1, offset: 8192, length: 10_000 - 8192 },
  ]);
  assertEquals(set.countBytes(), 12 * KIB + 10_000 - 8192);
});

Deno.test("a block is removed only when all of it is named", () => {
  const set = new BlockSet([10_000]);
  set.add(0, 0, 10_000);
  set.remove(0, 1, 8191);
  assertEquals([...set.extents()], [
    { volume: 0, offset: 0, length: 4096 },
    { volume: 0, offset: 8192, length: 1808 },
  ]);
  set.remove(0, 8192, 1807);
  assertEquals(set.has(0, 9_999), true);
  set.remove(0, 8192, 1808);
  set.remove(0, 0, 4096);
  assertEquals(set.isEmpty, true);
});

Deno.test("a terabyte costs little when it is sparse, and nothing when it is one run", () => {
  const set = new BlockSet([TIB]);
  set.add(0, TIB / 2, 1);
  set.add(0, TIB - 1, 1);
  assertEquals(set.memoryBytes, 8192);
  set.add(0, 0, TIB);
  assertEquals(set.memoryBytes, 0);
  assertEquals(set.countBytes(), TIB);
  assertEquals(set.next(), { volume: 0, offset: 0, length: TIB });
  for (let at = 0; at < TIB; at += set.leafBytes) set.remove(0, at, 4096);
  assertEquals(set.memoryBytes, 32 * KIB * KIB);
});

Deno.test("an extent is cut at the length that is asked for, and goes on from there", () => {
  const set = new BlockSet([1024 * KIB]);
  set.add(0, 0, 20 * KIB);
  assertEquals([...set.extents(0, 4096, 9 * KIB)].map((e) => [e.offset / KIB, e.length / KIB]), [
    [4, 8],
    [12, 8],
  ]);
});

Deno.test("ranges outside of a volume are refused", () => {
  const set = new BlockSet([KIB]);
  assertThrows(() => set.add(0, 0, KIB + 1));
  assertThrows(() => set.add(1, 0, 1));
  assertThrows(() => new BlockSet([KIB], 1000));
});

Deno.test("any adds, removes and unions give what a plain list of blocks gives", () => {
  // Blocks of 512 bytes: a leaf has 16 MiB, and ranges are drawn near the border of two.
  const border = 512 * 32_768;
  const sizes = [border * 2 + 777, 5_000];
  const range = fc.record({
    what: fc.constantFrom("add", "remove", "unite"),
    volume: fc.constantFrom(0, 1),
    from: fc.integer({ min: 0, max: 1 }),
    offset: fc.integer({ min: -5_000, max: 5_000 }),
    length: fc.integer({ min: 0, max: 6_000 }),
  });
  fc.assert(
    fc.property(fc.array(range, { maxLength: 40 }), (steps) => {
      const set = new BlockSet(sizes, 512);
      const model = new Set<number>();
      const key = (volume: number, block: number) => volume * 1e9 + block;
      for (const { what, volume, from, offset, length } of steps) {
        const size = sizes[volume]!;
        const middle = volume === 1 ? 2_500 : from === 0 ? border : size - 3_000;
        const start = Math.min(size, Math.max(0, middle + offset));
        const end = Math.min(size, start + length);
        for (let block = Math.floor(start / 512); block * 512 < end; block++) {
          const whole = block * 512 >= start && Math.min(size, block * 512 + 512) <= end;
          if (what !== "remove" && end > start) model.add(key(volume, block));
          else if (whole) model.delete(key(volume, block));
        }
        if (what === "add") set.add(volume, start, end - start);
        else if (what === "remove") set.remove(volume, start, end - start);
        else {
          const other = new BlockSet(sizes, 512);
          other.add(volume, start, end - start);
          set.addAll(other);
        }
      }
      const found: number[] = [];
      let bytes = 0;
      let before = -1;
      for (const { volume, offset, length } of set.extents()) {
        const first = key(volume, offset / 512);
        assertEquals(first > before, true, "extents are in order and merged");
        for (let at = 0; at < length; at += 512) found.push(first + at / 512);
        before = first + Math.ceil(length / 512);
        bytes += length;
      }
      assertEquals(found, [...model].sort((a, b) => a - b));
      assertEquals(set.countBytes(), bytes);
      assertEquals(set.isEmpty, model.size === 0);
    }),
    { numRuns: 150 },
  );
});
