import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { allocationExtents } from "../../../core/nbd/block_status.ts";
import { EXTENTS_MAX, STATUS_WINDOW_BYTES } from "../../../core/nbd/nbd_limits.ts";
import type { DataRange } from "../../../core/ports.ts";

const HOLE = 3;

/** A volume with these data ranges; counts how often it is asked. */
function volume(ranges: DataRange[]): {
  calls: number;
  dataRanges(offset: number, length: number, rangesMax: number): DataRange[];
} {
  return {
    calls: 0,
    dataRanges(offset, length) {
      this.calls++;
      return ranges
        .map(({ start, end }) => ({
          start: Math.max(start, offset),
          end: Math.min(end, offset + length),
        }))
        .filter(({ start, end }) => start < end);
    },
  };
}

Deno.test("extents cover the range, alternate, and are data exactly where the volume says", () => {
  fc.assert(
    fc.property(
      fc.array(fc.nat({ max: 200 }), { maxLength: 20 }),
      fc.nat({ max: 100 }),
      fc.integer({ min: 1, max: 100 }),
      (edges, offset, length) => {
        const sorted = [...new Set(edges)].sort((a, b) => a - b);
        const ranges: DataRange[] = [];
        for (let i = 0; i + 1 < sorted.length; i += 2) {
          ranges.push({ start: sorted[i] ?? 0, end: sorted[i + 1] ?? 0 });
        }
        const { lengths, flags } = allocationExtents(volume(ranges), offset, length);
        let at = offset;
        lengths.forEach((each, index) => {
          assert(each > 0 && flags[index] !== flags[index + 1]);
          for (let byte = at; byte < at + each; byte++) {
            const isData = ranges.some(({ start, end }) => start <= byte && byte < end);
            assertEquals(flags[index], isData ? 0 : HOLE);
          }
          at += each;
        });
        assertEquals(at, offset + length);
      },
    ),
  );
});

Deno.test("neighbouring ranges, and windows, do not show", () => {
  const end = 100 * STATUS_WINDOW_BYTES;
  const touching = volume([{ start: 0, end: 5 }, { start: 5, end }]);
  assertEquals(allocationExtents(touching, 0, end), { lengths: [end], flags: [0] });
});

Deno.test("a range of 4 GiB with little in it takes few looks", () => {
  const sparse = volume([{ start: 2 ** 31, end: 2 ** 31 + 4096 }]);
  const length = 2 ** 32 - 1;
  const { lengths } = allocationExtents(sparse, 0, length);
  assertEquals(lengths.reduce((sum, each) => sum + each), length);
  assert(sparse.calls < 6, `${sparse.calls} looks`);
});

Deno.test("a range with much in it is told in part, and the rest is not looked at", () => {
  const dense: DataRange[] = [];
  for (let start = 0; start < 8 * STATUS_WINDOW_BYTES; start += 8192) {
    dense.push({ start, end: start + 4096 });
  }
  const busy = volume(dense);
  const { lengths, flags } = allocationExtents(busy, 0, 8 * STATUS_WINDOW_BYTES);
  assertEquals([lengths.length, flags.length], [EXTENTS_MAX, EXTENTS_MAX]);
  assert(lengths.every((length) => length === 4096), "all of them are whole");
  assertEquals(busy.calls, 2);
});

Deno.test("when one extent is wanted, it is the first, whole", () => {
  const ranges = volume([{ start: 10, end: 20 }, { start: 20, end: 30 }, { start: 40, end: 50 }]);
  assertEquals(allocationExtents(ranges, 0, 100, 1), { lengths: [10], flags: [HOLE] });
  assertEquals(allocationExtents(ranges, 12, 88, 1), { lengths: [18], flags: [0] });
  assertEquals(allocationExtents(ranges, 60, 5, 1), { lengths: [5], flags: [HOLE] });
});

Deno.test("no more ranges are asked for than an answer holds, however large the window has grown", () => {
  const first = 64 * STATUS_WINDOW_BYTES;
  let toldMax = 0;
  const backend = {
    dataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
      const ranges: DataRange[] = [];
      const begin = Math.max(first, offset - offset % 8192);
      for (let at = begin; at < offset + length && ranges.length < rangesMax; at += 8192) {
        const [start, end] = [Math.max(at, offset), Math.min(at + 4096, offset + length)];
        if (start < end) ranges.push({ start, end });
      }
      toldMax = Math.max(toldMax, ranges.length);
      return ranges;
    },
  };
  const { lengths } = allocationExtents(backend, 0, 100 * first);
  assertEquals([lengths.length, lengths[0]], [EXTENTS_MAX, first]);
  assert(lengths.slice(1).every((length) => length === 4096));
  assert(toldMax <= EXTENTS_MAX + 2, `${toldMax} ranges told`);
});
