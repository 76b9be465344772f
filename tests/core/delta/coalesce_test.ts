import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { LogCoalescer } from "../../../core/delta/coalesce.ts";
import type { Run } from "../../../core/delta/run.ts";
import { RecordFlag, RecordType } from "../../../core/log/record.ts";
import { applied, type MadeUp, MadeUpLog, quickClock } from "./made_up_log.ts";

const SIZES = [4096, 700];

function coalescer(log: MadeUpLog, extentsMax = 1000): LogCoalescer {
  const { endLsn } = log;
  return new LogCoalescer({
    log,
    sizes: SIZES,
    fromLsn: 0,
    toLsn: endLsn,
    clock: quickClock,
    extentsMax,
  });
}

async function collect(runs: AsyncGenerator<Run>): Promise<Run[]> {
  const all: Run[] = [];
  for await (const run of runs) all.push(run);
  return all;
}

function told(runs: readonly Run[]) {
  return runs.map(({ volume, offset, length, type, flags }) => [
    volume,
    offset,
    length,
    type,
    flags,
  ]);
}

const RECORDS: MadeUp[] = [
  { type: RecordType.WRITE, volume: 0, offset: 100, length: 50, fill: 1 },
  { type: RecordType.MARK, volume: 0, offset: 0, length: 3 },
  { type: RecordType.TRIM, volume: 1, offset: 0, length: 700 },
  { type: RecordType.WRITE, volume: 0, offset: 120, length: 10, fill: 2 },
  { type: RecordType.ZERO, volume: 0, offset: 140, length: 400, flags: RecordFlag.NO_HOLE },
  { type: RecordType.ZERO, volume: 0, offset: 200, length: 8 },
];

Deno.test("the last writer wins, to the byte, and zeroes keep their kind", async () => {
  const runs = await collect(coalescer(new MadeUpLog(RECORDS)).runs());
  assertEquals(told(runs), [
    [0, 100, 20, RecordType.WRITE, 0],
    [0, 120, 10, RecordType.WRITE, 0],
    [0, 130, 10, RecordType.WRITE, 0],
    [0, 140, 60, RecordType.ZERO, RecordFlag.NO_HOLE],
    [0, 200, 8, RecordType.ZERO, 0],
    [0, 208, 332, RecordType.ZERO, RecordFlag.NO_HOLE],
    [1, 0, 700, RecordType.TRIM, 0],
  ]);
});

Deno.test("a plan tells what clients wrote, and what is left of it in whole blocks", async () => {
  const log = new MadeUpLog([
    { type: RecordType.WRITE, volume: 0, offset: 0, length: 300 },
    { type: RecordType.WRITE, volume: 0, offset: 100, length: 300 },
    { type: RecordType.WRITE, volume: 1, offset: 0, length: 700 },
    { type: RecordType.TRIM, volume: 1, offset: 0, length: 700 },
  ]);
  assertEquals(await coalescer(log).plan(), { recordBytes: 1300, deltaBytes: 4096 });
});

const record = fc.oneof(
  { weight: 4, arbitrary: fc.constant(RecordType.WRITE) },
  { weight: 1, arbitrary: fc.constantFrom(RecordType.ZERO, RecordType.TRIM) },
).chain((type) =>
  fc.record({
    type: fc.constant(type),
    volume: fc.nat(1),
    offset: fc.nat(600),
    length: fc.integer({ min: 1, max: 99 }),
    fill: fc.integer({ min: 1, max: 255 }),
  })
);

Deno.test("runs make of blank volumes what the records make, whatever the window", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { maxLength: 60 }),
      fc.integer({ min: 1, max: 40 }),
      async (records, extentsMax) => {
        const log = new MadeUpLog(records);
        const images = SIZES.map((size) => new Uint8Array(size));
        let [volumeBefore, endBefore] = [0, 0];
        for await (const run of coalescer(log, extentsMax).runs()) {
          const { volume, offset, length, type, source } = run;
          assert(volume > volumeBefore || (volume === volumeBefore && offset >= endBefore));
          [volumeBefore, endBefore] = [volume, offset + length];
          const image = images[volume]!.subarray(offset, offset + length);
          if (type === RecordType.WRITE) log.readAt(source!, image);
          else image.fill(0);
        }
        assertEquals(images, applied(records, SIZES));
      },
    ),
  );
});

Deno.test("runs from a cursor are what remains behind it", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(record, { maxLength: 30 }),
      fc.record({ volume: fc.nat(1), offset: fc.nat(700) }),
      async (records, cursor) => {
        const log = new MadeUpLog(records);
        const rest = await collect(coalescer(log).runs(cursor));
        const bytes = (runs: readonly Run[]) =>
          runs.flatMap(({ volume, offset, length, type, source }) =>
            Array.from(
              { length },
              (_, i) => [volume, offset + i, type, source === null ? null : source + i].join(),
            )
          );
        const isBehind = (text: string) => {
          const [volume = 0, offset = 0] = text.split(",").map(Number);
          return volume > cursor.volume || (volume === cursor.volume && offset >= cursor.offset);
        };
        const all = bytes(await collect(coalescer(log).runs()));
        assertEquals(bytes(rest), all.filter(isBehind));
      },
    ),
  );
});
