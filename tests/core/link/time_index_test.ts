import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { TimeIndex } from "../../../core/link/time_index.ts";

const START_MS = 1_700_000_000_000;

Deno.test("nothing is known of a record before anything was noted", () => {
  assertEquals(new TimeIndex().ageSeconds(0, START_MS), null);
});

Deno.test("the age of a record is counted by the clock that is given", () => {
  const times = new TimeIndex();
  times.note(0, START_MS);
  times.note(160, START_MS + 1000);
  assertEquals(times.ageSeconds(160, START_MS + 1500), 0.5);
  assertEquals(times.ageSeconds(0, START_MS + 1500), 1.5);
  assertEquals(times.ageSeconds(159, START_MS + 1500), 1.5);
  assertEquals(times.ageSeconds(9999, START_MS + 1500), 0.5);
});

Deno.test("an age is never below zero", () => {
  const times = new TimeIndex();
  times.note(0, START_MS);
  assertEquals(times.ageSeconds(0, START_MS - 5000), 0);
});

Deno.test("what is known of the time of being caught up makes an age smaller", () => {
  const times = new TimeIndex();
  times.note(0, START_MS);
  assertEquals(times.ageSeconds(0, START_MS + 9000, START_MS + 8000), 1);
});

Deno.test("an age is never told too small, and too large by little for its size", () => {
  const steps = fc.array(
    fc.tuple(fc.integer({ min: 1, max: 1e5 }), fc.integer({ min: 0, max: 300 })),
    { minLength: 1, maxLength: 3000 },
  );
  fc.assert(
    fc.property(steps, fc.double({ min: 0, max: 1, noNaN: true }), (gaps, where) => {
      const times = new TimeIndex();
      const records: [number, number][] = [];
      let [lsn, timeMs] = [0, START_MS];
      for (const [bytes, ms] of gaps) {
        records.push([lsn, timeMs]);
        times.note(lsn, timeMs);
        lsn += bytes;
        timeMs += ms;
      }
      const record = records[Math.floor(where * (records.length - 1))] ?? [0, START_MS];
      const age = (timeMs - record[1]) / 1000;
      const told = times.ageSeconds(record[0], timeMs) ?? 0;
      assert(told >= age, `told ${told}, is ${age}`);
      assert(told <= age * 1.25 + 0.7, `told ${told}, is ${age}`);
    }),
    { numRuns: 50 },
  );
});

Deno.test("after a year of writes a young record is still told to be young", () => {
  const times = new TimeIndex();
  const [yearMs, stepMs] = [365 * 86_400_000, 60_000];
  let timeMs = START_MS;
  for (; timeMs < START_MS + yearMs; timeMs += stepMs) times.note(timeMs - START_MS, timeMs);
  for (let turn = 0; turn < 100; turn++, timeMs += 50) times.note(timeMs - START_MS, timeMs);
  const age = times.ageSeconds(timeMs - 500 - START_MS, timeMs) ?? Infinity;
  assert(age >= 0.5 && age < 1, `told ${age}`);
});

Deno.test("the index does not grow with what is noted", () => {
  const times = new TimeIndex();
  for (let i = 0; i < 100_000; i++) times.note(16 * i, START_MS + 21 * i);
  assert(times.sampleCount <= 1024, `${times.sampleCount} samples`);
});

Deno.test("samples of a tail that was cut off count no more", () => {
  const times = new TimeIndex();
  times.note(0, START_MS);
  times.note(160, START_MS + 100);
  times.note(320, START_MS + 200);
  // The log was cut back to 160, and goes on there under a new reign.
  times.note(160, START_MS + 900);
  assertEquals(times.ageSeconds(320, START_MS + 1000), 0.1);
  assertEquals(times.ageSeconds(0, START_MS + 1000), 1);
});
