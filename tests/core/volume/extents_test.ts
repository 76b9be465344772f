import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { DATA, ExtentMap, ZERO } from "../../../core/volume/extents.ts";

const HEADER_BYTES = 40;

/** What one byte of the volume is: null, or its kind and its own log position (DATA). */
type Cell = { kind: 0 | 1; source: number } | null;

/** The same as the map, byte by byte. */
class Model {
  readonly cells: Cell[];
  constructor(size: number) {
    this.cells = new Array<Cell>(size).fill(null);
  }

  set(start: number, end: number, kind: 0 | 1, source: number): void {
    for (let i = start; i < end; i++) {
      this.cells[i] = { kind, source: kind === DATA ? source + i - start : source };
    }
  }

  prune(lsn: number): void {
    this.cells.forEach((cell, i) => {
      if (cell !== null && cell.source < lsn) this.cells[i] = null;
    });
  }
}

/** The map's answer for [start, end) as cells; checks order, clipping and gaps on the way. */
function cellsOf(map: ExtentMap, start: number, end: number): Cell[] {
  const cells = new Array<Cell>(end - start).fill(null);
  let at = start;
  map.lookup(start, end, (from, to, kind, source) => {
    if (from < at || to > end || from >= to) throw new Error(`visited [${from}, ${to}) at ${at}`);
    for (let i = from; i < to; i++) {
      cells[i - start] = { kind, source: kind === DATA ? source + i - from : source };
    }
    at = to;
  });
  return cells;
}

type Step =
  | { do: "set"; start: number; length: number; kind: 0 | 1 }
  | { do: "look"; start: number; length: number }
  | { do: "prune"; back: number }
  | { do: "cut"; start: number }
  | { do: "clear" };

function steps(size: number, lengthMax: number): fc.Arbitrary<Step> {
  const start = fc.integer({ min: 0, max: size - 1 });
  const length = fc.oneof(
    { weight: 8, arbitrary: fc.integer({ min: 1, max: lengthMax }) },
    { weight: 1, arbitrary: fc.integer({ min: 1, max: size }) },
    { weight: 1, arbitrary: fc.constant(0) },
  );
  const kind = fc.constantFrom<0 | 1>(ZERO, DATA);
  return fc.oneof(
    { weight: 60, arbitrary: fc.record({ do: fc.constant("set" as const), start, length, kind }) },
    { weight: 20, arbitrary: fc.record({ do: fc.constant("look" as const), start, length }) },
    {
      weight: 6,
      arbitrary: fc.record({
        do: fc.constant("prune" as const),
        back: fc.integer({ min: 0, max: 60 }),
      }),
    },
    { weight: 2, arbitrary: fc.record({ do: fc.constant("cut" as const), start }) },
    { weight: 1, arbitrary: fc.record({ do: fc.constant("clear" as const) }) },
  );
}

/** Runs the steps on map and model and compares them throughout. */
function run(size: number, leafExtents: number, list: Step[]): void {
  const map = new ExtentMap(leafExtents);
  const model = new Model(size);
  const recordEnds: number[] = [];
  let lsn = 0;
  for (const step of list) {
    if (step.do === "set") {
      const end = Math.min(size, step.start + step.length);
      const source = step.kind === DATA ? lsn + HEADER_BYTES : lsn;
      map.set(step.start, end, step.kind, source);
      model.set(step.start, end, step.kind, source);
      lsn += HEADER_BYTES + (step.kind === DATA ? end - step.start : 0);
      recordEnds.push(lsn);
    } else if (step.do === "look") {
      const end = Math.min(size, step.start + step.length);
      const expected = model.cells.slice(step.start, end);
      assertEquals(cellsOf(map, step.start, end), expected);
      assertEquals(map.isEmptyIn(step.start, end), expected.every((cell) => cell === null));
    } else if (step.do === "prune") {
      const applied = recordEnds.at(-1 - step.back) ?? 0;
      map.prune(applied);
      model.prune(applied);
    } else if (step.do === "cut") {
      map.cutAt(step.start);
      model.cells.fill(null, step.start);
    } else {
      map.clear();
      model.cells.fill(null);
      assertEquals(map.count, 0);
    }
  }
  assertEquals(cellsOf(map, 0, size), model.cells);
}

Deno.test("extents agree with a map of single bytes, in leaves of four", () => {
  fc.assert(
    fc.property(fc.array(steps(64, 12), { maxLength: 120 }), (list) => run(64, 4, list)),
    { numRuns: 400 },
  );
});

Deno.test("extents agree with a map of single bytes, with many leaves", () => {
  fc.assert(
    fc.property(
      fc.array(steps(600, 6), { minLength: 200, maxLength: 600 }),
      fc.constantFrom(4, 5, 8, 128),
      (list, leafExtents) => run(600, leafExtents, list),
    ),
    { numRuns: 60 },
  );
});

Deno.test("extents agree with a map of single bytes, when sweeps remove what is stale", () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 1, max: 300 }), (seed, behind) => {
      let state = seed | 0;
      const next = (below: number) => {
        state = Math.imul(state ^ (state >>> 15), 0x2c1b3c6d) + 0x9e3779b9 | 0;
        return (state >>> 1) % below;
      };
      const list: Step[] = [];
      for (let i = 0; i < 6000; i++) {
        const start = next(400);
        const length = 1 + next(5);
        if (i % 97 === 0) list.push({ do: "look", start: 0, length: 400 });
        else if (i % 10 === 0) list.push({ do: "prune", back: behind });
        else list.push({ do: "set", start, length, kind: next(4) === 0 ? ZERO : DATA });
      }
      run(400, 8, list);
    }),
    { numRuns: 15 },
  );
});

Deno.test("a look-up clips an extent and moves its source, for data alone", () => {
  const map = new ExtentMap();
  map.set(4096, 12288, DATA, 1000);
  map.set(20480, 28672, ZERO, 9300);
  const seen: number[][] = [];
  map.lookup(8192, 24576, (...visit) => seen.push(visit));
  assertEquals(seen, [[8192, 12288, DATA, 1000 + 4096], [20480, 24576, ZERO, 9300]]);
});

Deno.test("a write into the middle of another leaves both of its ends", () => {
  const map = new ExtentMap();
  map.set(0, 100, DATA, 1000);
  map.set(40, 60, DATA, 5000);
  const seen: number[][] = [];
  map.lookup(0, 100, (...visit) => seen.push(visit));
  assertEquals(seen, [[0, 40, DATA, 1000], [40, 60, DATA, 5000], [60, 100, DATA, 1060]]);
  assertEquals(map.count, 3);
});

Deno.test("what was applied is skipped at once, before it is removed", () => {
  const map = new ExtentMap();
  map.set(0, 10, DATA, 100);
  map.set(10, 20, DATA, 200);
  map.prune(150);
  assertEquals(map.count, 2);
  assertEquals(map.isEmptyIn(0, 10), true);
  assertEquals(map.isEmptyIn(0, 11), false);
  assertEquals(cellsOf(map, 0, 10), new Array<Cell>(10).fill(null));
});

Deno.test("a map of which all was applied holds nothing", () => {
  const map = new ExtentMap();
  for (let i = 0; i < 10_000; i++) map.set(i * 8192, i * 8192 + 4096, DATA, 40 + i * 4136);
  map.prune(10_000 * 4136);
  assertEquals(map.count, 0);
  assertEquals(map.isEmptyIn(0, 10_000 * 8192), true);
});

Deno.test("extents held stay bounded by what is not applied, however long it runs", () => {
  const map = new ExtentMap();
  const waiting = 1000;
  let countMax = 0;
  for (let i = 0; i < 100_000; i++) {
    const start = (Math.imul(i, 2654435761) >>> 0) % 1_000_000 * 4096;
    map.set(start, start + 4096, DATA, 40 + i * 4136);
    if (i % 16 === 0) map.prune((i - waiting) * 4136);
    countMax = Math.max(countMax, map.count);
  }
  if (countMax > 4 * waiting) throw new Error(`${countMax} extents held for ${waiting} waiting`);
});

Deno.test("a zero over the whole volume takes the place of every extent", () => {
  const map = new ExtentMap(4);
  for (let i = 0; i < 1000; i++) map.set(i * 10, i * 10 + 5, DATA, i * 50);
  map.set(0, 2 ** 40, ZERO, 60_000);
  assertEquals(map.count, 1);
  const seen: number[][] = [];
  map.lookup(0, 2 ** 50, (...visit) => seen.push(visit));
  assertEquals(seen, [[0, 2 ** 40, ZERO, 60_000]]);
});
