import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { Scheduler, SimClock } from "./clock.ts";
import { Life, SimDeath } from "./life.ts";
import { Prng } from "./prng.ts";
import { Trace } from "./trace.ts";

const LIMITS = { until: () => false, timeMsMax: 1e9, stepsMax: 1e6 };

function clockOf(scheduler: Scheduler, life = new Life("a", 1)): SimClock {
  return new SimClock(scheduler, life, new Prng(1), { originMs: 1_000_000 });
}

Deno.test("events run in the order of their time, and of their making when it is the same", async () => {
  const scheduler = new Scheduler();
  const seen: number[] = [];
  const prng = new Prng(7);
  for (let i = 0; i < 500; i++) {
    const delayMs = prng.below(50);
    scheduler.after(delayMs, null, () => seen.push(delayMs * 1000 + i));
  }
  assertEquals(await scheduler.run(LIMITS), "idle");
  assertEquals(seen, [...seen].sort((a, b) => a - b));
  assertEquals(seen.length, 500);
});

Deno.test("all microtasks run between two events, however long their chain", async () => {
  const scheduler = new Scheduler();
  let turns = 0;
  scheduler.after(0, null, () => {
    (async () => {
      for (let i = 0; i < 1000; i++) {
        await null;
        turns++;
      }
    })();
  });
  let atSecond = 0;
  scheduler.after(0, null, () => atSecond = turns);
  await scheduler.run(LIMITS);
  assertEquals(atSecond, 1000);
});

Deno.test("a cancelled timer does not fire, and may be cancelled again", async () => {
  const scheduler = new Scheduler();
  const timer = clockOf(scheduler).after(5, () => assert(false));
  timer.cancel();
  timer.cancel();
  assertEquals(await scheduler.run(LIMITS), "idle");
});

Deno.test("soon comes after what is ready now, in order, and time goes on", async () => {
  const scheduler = new Scheduler();
  const clock = clockOf(scheduler);
  const seen: string[] = [];
  clock.soon(() => seen.push("first turn"));
  clock.soon(() => seen.push("second turn"));
  scheduler.after(0, null, () => seen.push("ready"));
  await scheduler.run(LIMITS);
  assertEquals(seen, ["ready", "first turn", "second turn"]);
  assert(clock.monotonicMs() > 0);
});

Deno.test("nothing of a dead process happens, and its ports throw", async () => {
  const scheduler = new Scheduler();
  const life = new Life("a", 1);
  const clock = clockOf(scheduler, life);
  clock.after(5, () => assert(false));
  clock.soon(() => life.end());
  assertEquals(await scheduler.run(LIMITS), "idle");
  let thrown: unknown = null;
  try {
    clock.soon(() => {});
  } catch (error) {
    thrown = error;
  }
  assert(thrown instanceof SimDeath);
});

Deno.test("a run ends when its condition holds, its time is over or its steps are spent", async () => {
  const scheduler = new Scheduler();
  let count = 0;
  const again = () => {
    count++;
    scheduler.after(1, null, again);
  };
  again();
  assertEquals(await scheduler.run({ ...LIMITS, until: () => count === 5 }), "done");
  assertEquals(await scheduler.run({ ...LIMITS, timeMsMax: 50 }), "time");
  assertEquals(await scheduler.run({ ...LIMITS, stepsMax: 100 }), "steps");
  assertEquals(scheduler.steps, 100);
});

Deno.test("a forked generator does not depend on what its parent has drawn", () => {
  const parent = new Prng(42);
  const before = parent.fork("disk").next();
  parent.next();
  assertEquals(parent.fork("disk").next(), before);
  assertNotEquals(parent.fork("net").next(), before);
  assertNotEquals(new Prng(43).fork("disk").next(), before);
});

Deno.test("a generator's draws spread evenly over their range", () => {
  const prng = new Prng(3);
  const counts = new Array<number>(10).fill(0);
  for (let i = 0; i < 10_000; i++) counts[prng.below(10)]! += 1;
  assert(counts.every((count) => count > 850 && count < 1150), counts.join());
  const bytes = new Uint8Array(1001);
  prng.fill(bytes);
  assert(new Set(bytes).size > 200);
});

Deno.test("a trace's hash tells runs apart by any detail", () => {
  const hashOf = (...details: (string | number)[]) => {
    const trace = new Trace();
    trace.note("a", "write", ...details);
    return trace.hash;
  };
  assertEquals(hashOf("x", 1), hashOf("x", 1));
  assertNotEquals(hashOf("x", 1), hashOf("x", 2));
  assertNotEquals(hashOf("x", 1), hashOf("y", 1));
});
