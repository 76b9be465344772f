import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { DataRange, DiskFile } from "../../../core/ports.ts";
import { DATA, ExtentMap, ZERO } from "../../../core/volume/extents.ts";
import { Volume } from "../../../core/volume/volume.ts";
import { mergedRanges } from "../../../core/volume/data_ranges.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

const SIZE = 200;

/** A file that knows where its data is; counts how often a range of it is looked at. */
class RangesFile {
  looks = 0;
  told = 0;
  readonly #ranges: readonly DataRange[];

  constructor(ranges: readonly DataRange[]) {
    this.#ranges = ranges;
  }

  dataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
    const found = this.#ranges
      .map(({ start, end }) => ({
        start: Math.max(start, offset),
        end: Math.min(end, offset + length),
      }))
      .filter(({ start, end }) => start < end).slice(0, rangesMax);
    this.told += found.length;
    return found.map(({ start, end }) => this.#watched(start, end));
  }

  #watched(start: number, end: number): DataRange {
    const look = (value: number) => {
      this.looks++;
      return value;
    };
    return {
      get start() {
        return look(start);
      },
      get end() {
        return look(end);
      },
    };
  }

  /** As much of a file as is asked for ranges. */
  get file(): DiskFile {
    const disk = new MemoryDisk();
    disk.place("/data", new Uint8Array(0));
    return Object.assign(disk.open("/data"), { dataRanges: this.dataRanges.bind(this) });
  }
}

const spans = fc.array(
  fc.record({ start: fc.nat(SIZE - 1), length: fc.integer({ min: 1, max: 30 }), kind: fc.nat(1) }),
  { maxLength: 12 },
);

Deno.test("what is told is data exactly where file and overlay say so, however few are asked for", () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.nat(SIZE), { maxLength: 30 }),
      spans,
      fc.nat(SIZE - 1),
      fc.integer({ min: 1, max: SIZE }),
      fc.integer({ min: 1, max: 5 }),
      (edges, extents, from, length, rangesMax) => {
        const sorted = edges.sort((a, b) => a - b);
        const ranges: DataRange[] = [];
        const model = new Array<boolean>(SIZE).fill(false);
        for (let i = 0; i + 1 < sorted.length; i += 2) {
          ranges.push({ start: sorted[i] ?? 0, end: sorted[i + 1] ?? 0 });
          model.fill(true, sorted[i], sorted[i + 1]);
        }
        const overlay = new ExtentMap(4);
        extents.forEach(({ start, length, kind }, index) => {
          const end = Math.min(SIZE, start + length);
          overlay.set(start, end, kind === 1 ? DATA : ZERO, 100 * index);
          model.fill(kind === 1, start, end);
        });
        const { file } = new RangesFile(ranges);
        const until = Math.min(SIZE, from + length);
        const found = new Array<boolean>(SIZE).fill(false);
        for (let at = from; at < until;) {
          const told = mergedRanges(file, overlay, at, until, rangesMax);
          assert(told.length <= rangesMax);
          told.forEach(({ start, end }, index) => {
            assert(at <= start && start < end && end <= until);
            assert(index === 0 || start > (told[index - 1]?.end ?? 0), "merged and in order");
            found.fill(true, start, end);
          });
          at = told.length < rangesMax ? until : told.at(-1)?.end ?? until;
        }
        assertEquals(found.slice(from, until), model.slice(from, until));
      },
    ),
    { numRuns: 500 },
  );
});

/** 2000 data ranges, and 2000 extents that lie across their ends. */
function makeBusy() {
  const ranges = Array.from({ length: 2000 }, (_, i) => ({ start: 100 * i, end: 100 * i + 50 }));
  const busy = new RangesFile(ranges);
  const volume = new Volume("data", 200_000, busy.file, () => {});
  ranges.forEach(({ end }, i) => volume.overlayWrite(end - 5, 10, 100 * i));
  return { busy, volume };
}

Deno.test("file ranges and extents are walked once, not each for each", () => {
  const { busy, volume } = makeBusy();
  assertEquals(volume.dataRanges(0, 200_000).length, 2000);
  assert(busy.looks < 100 * 2000, `${busy.looks} looks`);
});

Deno.test("no more is looked for than is asked for, nor where a zero hides it", () => {
  const { busy, volume } = makeBusy();
  assertEquals(volume.dataRanges(0, 200_000, 3), [
    { start: 0, end: 55 },
    { start: 100, end: 155 },
    { start: 200, end: 255 },
  ]);
  assert(busy.told <= 256, `${busy.told} ranges told`);
  volume.overlayZero(0, 199_900, 1e6);
  busy.told = 0;
  assertEquals(volume.dataRanges(0, 200_000, 3), [{ start: 199_900, end: 199_955 }]);
  assert(busy.told <= 1, `${busy.told} ranges told`);
});
