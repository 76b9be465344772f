import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { volumeRuns } from "../../../core/delta/volume_runs.ts";
import { RecordType } from "../../../core/log/record.ts";
import type { DataRange } from "../../../core/ports.ts";

const SIZES = [20_000, 9_000];

/** A volume with data here and there. */
function imageOf(data: readonly DataRange[]) {
  return {
    appliedDataRanges(offset: number, length: number, rangesMax: number): DataRange[] {
      const end = offset + length;
      return data.filter((range) => range.end > offset && range.start < end)
        .map((range) => ({
          start: Math.max(offset, range.start),
          end: Math.min(end, range.end),
        })).slice(0, rangesMax);
    },
  };
}

const HALVES = [[{ start: 0, end: 10_000 }], [{ start: 512, end: 1024 }]].map(imageOf);

Deno.test("blocks are runs of data and of zeroes, where the volumes have data and holes", () => {
  const set = new BlockSet(SIZES);
  set.add(0, 8192, 8192);
  set.add(1, 0, 9_000);
  const runs = [...volumeRuns(set, HALVES)].map((run) => [
    run.volume,
    run.offset,
    run.length,
    run.type === RecordType.WRITE,
  ]);
  assertEquals(runs, [
    [0, 8192, 1808, true],
    [0, 10_000, 6384, false],
    [1, 0, 512, false],
    [1, 512, 512, true],
    [1, 1024, 7976, false],
  ]);
});

Deno.test("runs cover the set behind any cursor, ascending, and nothing else", () => {
  const range = fc.record({ start: fc.nat(8_000), length: fc.integer({ min: 1, max: 3_000 }) });
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.nat(1), range), { maxLength: 8 }),
      fc.record({ volume: fc.nat(1), offset: fc.nat(9_000) }),
      (added, cursor) => {
        const set = new BlockSet(SIZES, 512);
        for (const [volume, { start, length }] of added) {
          set.add(volume, start, Math.min(length, 9_000 - start));
        }
        const covered = new Set<string>();
        let before = [0, 0];
        for (const { volume, offset, length } of volumeRuns(set, HALVES, cursor)) {
          assert(volume > before[0]! || offset >= before[1]!);
          before = [volume, offset + length];
          for (let at = offset; at < offset + length; at++) covered.add(`${volume},${at}`);
        }
        for (const [volume, size] of SIZES.entries()) {
          for (let at = 0; at < size; at++) {
            const isBehind = volume > cursor.volume ||
              (volume === cursor.volume && at >= cursor.offset);
            assertEquals(covered.has(`${volume},${at}`), isBehind && set.has(volume, at));
          }
        }
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("a fragmented volume is asked for its data piece by piece", () => {
  const data = Array.from({ length: 3_000 }, (_, i) => ({ start: i * 1024, end: i * 1024 + 512 }));
  const set = new BlockSet([3_000 * 1024]);
  set.add(0, 0, 3_000 * 1024);
  const runs = [...volumeRuns(set, [imageOf(data)])];
  assertEquals(runs.length, 6_000);
  assertEquals(runs.reduce((sum, { length }) => sum + length, 0), 3_000 * 1024);
});
