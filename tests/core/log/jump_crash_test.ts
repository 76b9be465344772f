import { assert, assertEquals } from "@std/assert";
import { isCascadeError } from "../../../core/errors.ts";
import { isDeath } from "../../sim/life.ts";
import type { CrashKind } from "../../sim/life.ts";
import { withSeeds } from "./torture.ts";
import { assertSameBytes, contentOf, LogWorld, recordAt, SEGMENT_BYTES } from "./world.ts";

const RECORD = 3056;
const WIDE = { budgetBytes: 8 * SEGMENT_BYTES };
const JUMP = 160_000;

/** The log holds what it held, as far as it reaches now. */
function assertPrefix(world: LogWorld, whole: Uint8Array, what: string): void {
  const end = world.log.endLsn - world.log.startLsn;
  assertSameBytes(contentOf(world.log), whole.subarray(0, end), what);
}

/** Appends other records than those of the lives before, some of them durable; crashes; looks. */
async function goOn(world: LogWorld, salt: number, kind: CrashKind): Promise<void> {
  for (const isDurable of [true, false]) {
    for (let i = 0; i < 25; i++) {
      await world.until(() => world.log.room() >= RECORD);
      world.log.append(recordAt(world.log.endLsn, 3000, 1, salt));
    }
    if (isDurable) await world.flush();
  }
  const { durableLsn, gaps, startLsn } = world.log;
  const content = contentOf(world.log);
  world.crash(kind);
  await world.open({ ...WIDE, checkpointLsn: startLsn });
  assert(world.log.endLsn >= durableLsn, "what was durable is there");
  assertPrefix(world, content, "and nothing else");
  assertEquals([world.log.gaps, world.report?.gaps], [gaps, gaps]);
}

for (const kind of ["power", "process"] as const) {
  Deno.test(`a jump that is interrupted at any step (${kind}) leaves the old end or the new one`, async () => {
    await withSeeds(8, async (seed) => {
      let olds = 0;
      for (let step = 1;; step++) {
        const world = new LogWorld(seed * 1000 + step);
        await world.open(WIDE);
        await world.write(seed % 4 * 10, 3000);
        await world.flush();
        // The watermark of that may be there or not, and a spare ready or not.
        await world.wait(seed % 2 === 0 ? 100 : 0);
        const from = world.log.endLsn;
        const old = contentOf(world.log);
        world.dieAfter(step);
        const isWhole = await world.settle(world.log.jump(from + JUMP)).then(
          () => true,
          (error) => {
            if (!isDeath(error)) throw error;
            return false;
          },
        );
        world.crash(kind);
        await world.open(WIDE);
        const { endLsn } = world.log;
        const isOld = endLsn === from;
        assert(isOld ? !isWhole : endLsn === from + JUMP, `step ${step}: ${endLsn}`);
        if (isOld) olds++;
        assertSameBytes(contentOf(world.log).subarray(0, from), old, "what was there before");
        const gap = { fromLsn: from, toLsn: from + JUMP };
        assertEquals(world.log.gaps, isOld ? [] : [gap]);
        assertEquals(world.log.upstreamMark, isOld ? 0 : from + JUMP);
        if (isOld && step % 2 === 0) {
          // Another delta, that ends elsewhere: the first one must never come back.
          await world.settle(world.log.jump(from + JUMP / 2));
        }
        await goOn(world, 7, kind);
        await goOn(world, 8, kind === "power" ? "process" : "power");
        if (isWhole) return assert(olds > 0, "some steps leave the old end");
      }
    });
  });
}

Deno.test("what was not flushed before a jump is lost with it, or kept with it", async () => {
  await withSeeds(10, async (seed) => {
    for (let step = 1;; step++) {
      const world = new LogWorld(seed * 1000 + step);
      await world.open(WIDE);
      await world.write(25, 3000);
      const old = contentOf(world.log);
      world.dieAfter(step);
      const isWhole = await world.settle(world.log.jump(JUMP)).then(() => true, () => false);
      world.crash("power");
      await world.open(WIDE);
      const { endLsn } = world.log;
      if (endLsn === JUMP) {
        assertSameBytes(contentOf(world.log).subarray(0, old.length), old, "all");
      } else assert(!isWhole && endLsn <= old.length && endLsn % RECORD === 0, `${endLsn}`);
      if (isWhole) return;
    }
  });
});

Deno.test("a jump whose flush fails is fatal, and found as done or as not begun", async () => {
  for (const phantom of [true, false]) {
    await withSeeds(20, async (seed) => {
      for (let flush = 1;; flush++) {
        const world = new LogWorld(seed * 100 + flush);
        await world.open(WIDE);
        await world.write(25, 3000);
        await world.flush();
        await world.wait(100);
        const from = world.log.endLsn;
        Object.assign(world.host.conditions, { flushesToFailure: flush, phantom });
        const isWhole = await world.settle(world.log.jump(from + JUMP)).then(
          () => true,
          (error) => {
            if (!isCascadeError(error, "disk-failed")) throw error;
            return false;
          },
        );
        world.host.conditions.flushesToFailure = 0;
        if (!isWhole) assert(world.told.includes("fatal"), "it is fatal");
        world.crash(seed % 2 === 0 ? "power" : "process");
        await world.open(WIDE);
        const { endLsn, durableLsn } = world.log;
        assert(endLsn === from + JUMP || (endLsn === from && !isWhole), `${endLsn}`);
        world.crash("power");
        await world.open(WIDE);
        assertEquals(world.log.endLsn, durableLsn, "what was found stays");
        await goOn(world, 3, "power");
        if (isWhole) return;
      }
    });
  }
});

Deno.test("segments around gaps are freed in order, also across a crash", async () => {
  await withSeeds(60, async (seed) => {
    const world = new LogWorld(seed);
    await world.open(WIDE);
    const draw = world.prng.fork("drops");
    for (let i = 0; i < 3; i++) {
      await world.write(draw.below(25), 3000);
      await world.settle(world.log.jump(world.log.endLsn + JUMP));
    }
    await world.write(draw.below(25), 3000);
    await world.flush();
    const content = contentOf(world.log);
    for (let life = 0; life < 3; life++) {
      const checkpointLsn = world.log.oldestSegmentEnd ?? world.log.startLsn;
      world.log.dropBelow(checkpointLsn);
      await world.wait(draw.fraction() * 3);
      world.crash(draw.chance(0.5) ? "power" : "process");
      await world.open({ ...WIDE, checkpointLsn });
      const { startLsn, gaps } = world.log;
      assert(startLsn <= checkpointLsn, "the log reaches back to the checkpoint");
      assertSameBytes(contentOf(world.log), content.subarray(startLsn), "what is kept");
      assert(gaps.every(({ fromLsn }) => fromLsn >= startLsn), "gaps go with what is before them");
    }
    await goOn(world, 5, "process");
  });
});
