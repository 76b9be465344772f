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

Deno.test("what a window's end cuts is whole again", async () => {
  const holes = Array.from({ length: 8 }, (_, i): MadeUp => (
    { type: RecordType.WRITE, volume: 0, offset: 8 * i + 3, length: 1 }
  ));
  const zero: MadeUp = { type: RecordType.TRIM, volume: 0, offset: 0, length: 4096 };
  const log = new MadeUpLog([zero, ...holes]);
  for (let extentsMax = 1; extentsMax <= 20; extentsMax++) {
    const runs = await collect(coalescer(log, extentsMax).runs());
    assertEquals(runs.length, 17, `with windows of ${extentsMax}`);
    assertEquals(told(runs).at(-1), [0, 60, 4036, RecordType.TRIM, 0]);
  }
});

Deno.test("a window that overflows costs no second pass", async () => {
  const records = Array.from({ length: 300 }, (_, i): MadeUp => (
    { type: RecordType.WRITE, volume: 0, offset: i * 7919 % 4096, length: 1 }
  ));
  const log = new MadeUpLog(records);
  let readBytes = 0;
  const read = (lsn: number, into: Uint8Array, limit: number) => {
    const bytes = log.read(lsn, into, limit);
    readBytes += bytes;
    return bytes;
  };
  const options = { sizes: SIZES, fromLsn: 0, toLsn: log.endLsn, clock: quickClock };
  const runs = new LogCoalescer({ ...options, log: { read }, extentsMax: 40 }).runs();
  assertEquals((await collect(runs)).length, 300);
  const passes = readBytes / log.endLsn;
  // A window keeps 30 to 40 extents.
  assert(passes >= 8 && passes <= 10, `${passes} passes`);
});

Deno.test("two readers of one range do not disturb each other", async () => {
  const made = coalescer(new MadeUpLog(RECORDS), 3);
  const wanted = await collect(made.runs());
  const [one, other] = [made.runs(), made.runs({ volume: 0, offset: 145 })];
  const first = await one.next();
  const rest = await collect(other);
  assertEquals([first.value!, ...await collect(one)], wanted);
  assertEquals(told(rest)[0], [0, 145, 55, RecordType.ZERO, RecordFlag.NO_HOLE]);
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
    flags: fc.constantFrom(...(type === RecordType.ZERO ? [0, RecordFlag.NO_HOLE] : [0])),
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
      fc.integer({ min: 1, max: 12 }),
      async (records, cursor, extentsMax) => {
        const log = new MadeUpLog(records);
        const rest = await collect(coalescer(log, extentsMax).runs(cursor));
        const bytes = (runs: readonly Run[]) =>
          runs.flatMap(({ volume, offset, length, type, flags, source }) =>
            Array.from(
              { length },
              (_, i) =>
                [volume, offset + i, type, flags, source === null ? null : source + i].join(),
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
