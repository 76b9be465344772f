import { assert, assertEquals } from "@std/assert";
import { isDeath } from "../../sim/life.ts";
import { openThroughCrashes, SEEDS, Torture, withSeeds } from "./torture.ts";
import { assertSameBytes, contentOf, LogWorld, recordAt, SEGMENT_BYTES } from "./world.ts";

Deno.test("after any crash the log is what was appended, up to at least what was durable", async () => {
  let jumps = 0;
  await withSeeds(SEEDS, async (seed) => {
    const torture = new Torture(seed);
    const draw = torture.world.prng.fork("openings");
    for (let life = 0; life < 12; life++) {
      await openThroughCrashes(torture, draw);
      torture.epoch = 1 + Math.floor(seed % 3) * life;
      await torture.crash();
    }
    await openThroughCrashes(torture, draw);
    assert(torture.lives > 12);
    jumps += torture.jumps;
  });
  assert(SEEDS < 60 || jumps > SEEDS, `${jumps} gaps were met`);
});

Deno.test("a cut that a crash interrupts at any step leaves the old end, the new one, or one between", async () => {
  await withSeeds(10, async (seed) => {
    for (let step = 1;; step++) {
      const world = new LogWorld(seed * 1000 + step);
      await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
      await world.write(70, 3000);
      const oldEnd = world.log.endLsn;
      const cut = 10 * 3056;
      const old = contentOf(world.log);
      world.dieAfter(step);
      const isWhole = await world.settle(world.log.cutBack(cut)).then(() => true, () => false);
      world.crash(seed % 2 === 0 ? "power" : "process");
      await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
      const end = world.log.endLsn;
      assert(end <= oldEnd && (isWhole ? end === cut : true), "the end is one of those");
      assertSameBytes(contentOf(world.log), old.subarray(0, end), "what is left");
      // Then other records of the same epoch, and another crash.
      if (end > cut) await world.settle(world.log.cutBack(cut));
      for (let i = 0; i < 3; i++) world.log.append(recordAt(world.log.endLsn, 3000, 1, 9));
      await world.flush();
      const content = contentOf(world.log);
      for (let i = 0; i < 3; i++) world.log.append(recordAt(world.log.endLsn, 3000, 1, 9));
      const longer = contentOf(world.log);
      world.crash("power");
      await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
      assert(world.log.endLsn >= content.length, "what was durable is there");
      assertSameBytes(contentOf(world.log), longer.subarray(0, world.log.endLsn), "and no more");
      if (isWhole) return;
    }
  });
});

Deno.test("a segment that was cut off never comes back, whenever the process was killed", async () => {
  await withSeeds(100, async (seed) => {
    const world = new LogWorld(seed);
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
    await world.write(70, 3000);
    const cutting = world.log.cutBack(10 * 3056);
    cutting.catch(() => {/* its process is killed */});
    await world.wait(world.prng.fork("kill").fraction() * 12);
    world.crash("process");
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
    // Other records of the same sizes: the next segment begins where the one cut off had begun.
    for (let i = 0; i < 25; i++) {
      await world.until(() => world.log.room() > 3056);
      world.log.append(recordAt(world.log.endLsn, 3000, 1, 9));
    }
    await world.flush();
    const content = contentOf(world.log);
    world.crash("power");
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
    assertSameBytes(contentOf(world.log), content, "after the power cut");
  });
});

Deno.test("a watermark torn within its sector leaves the one before", async () => {
  await withSeeds(300, async (seed) => {
    const world = new LogWorld(seed);
    const log = await world.open();
    const draw = world.prng.fork("marks");
    world.dieAfter(1 + draw.below(25));
    let claimed = 0;
    try {
      for (;;) {
        log.append(recordAt(log.endLsn, 100));
        log.setUpstreamMark(log.endLsn);
        await world.flush();
        claimed = log.upstreamMarkDurable;
      }
    } catch (error) {
      if (!isDeath(error)) throw error;
    }
    world.crash("power");
    await world.open();
    assert(world.log.upstreamMark >= claimed, `${world.log.upstreamMark} of ${claimed}`);
  });
});

Deno.test("a mark that was written beside a flush counts only with a flush of the same segment", async () => {
  await withSeeds(60, async (seed) => {
    const world = new LogWorld(seed);
    const log = await world.open();
    await world.until(() => log.room() > SEGMENT_BYTES);
    await world.write(20, 3000);
    log.requestFlush();
    await world.wait(0);
    // Set while the flush runs: written lazily, into this segment, when that has ended.
    log.setUpstreamMark(log.endLsn);
    await world.until(() => log.durableLsn === log.endLsn);
    log.append(recordAt(log.endLsn, 3000));
    await world.flush();
    const { upstreamMarkDurable } = log;
    assert(upstreamMarkDurable > 0, "the mark is durable");
    world.crash("power");
    await world.open();
    assert(world.log.upstreamMark >= upstreamMarkDurable, "the mark is there");
  });
});

Deno.test("segments are freed in order, also across a crash", async () => {
  await withSeeds(60, async (seed) => {
    const world = new LogWorld(seed);
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
    await world.write(70, 3000);
    await world.flush();
    const first = world.log.oldestSegmentEnd ?? 0;
    world.log.dropBelow(first);
    await world.wait(world.prng.fork("kill").fraction() * 2);
    world.crash("process");
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES, checkpointLsn: first });
    while (world.log.startLsn < first) world.log.dropBelow(world.log.oldestSegmentEnd ?? 0);
    const second = world.log.oldestSegmentEnd ?? 0;
    world.log.dropBelow(second);
    await world.wait(world.prng.fork("power").fraction() * 10);
    world.crash("power");
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES, checkpointLsn: second });
  });
});

Deno.test("records in a file whose header was lost never come back", async () => {
  await withSeeds(100, async (seed) => {
    const world = new LogWorld(seed);
    await world.open({ budgetBytes: SEGMENT_BYTES });
    await world.write(20, 3000);
    // So that nothing more fits: the next record begins the next segment.
    await world.write(1, 240);
    await world.flush();
    await world.until(() => world.log.room() > 30_000);
    // Into the next segment, not flushed: any of it may be there after a power cut.
    for (let i = 0; i < 40; i++) world.log.append(recordAt(world.log.endLsn, 100, 1, 1));
    world.crash("power");
    await world.open({ budgetBytes: SEGMENT_BYTES });
    const end = world.log.endLsn;
    if (end > 20 * 3056 + 288) return;
    await world.until(() => world.log.room() > 10_000);
    for (let i = 0; i < 2; i++) world.log.append(recordAt(world.log.endLsn, 100, 1, 2));
    const content = contentOf(world.log);
    await world.flush();
    world.crash("power");
    await world.open({ budgetBytes: SEGMENT_BYTES });
    assertSameBytes(contentOf(world.log), content, "after the second crash");
  });
});

Deno.test("after a free that failed nothing newer is freed, so no gap comes to be", async () => {
  await withSeeds(40, async (seed) => {
    const world = new LogWorld(seed);
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES });
    await world.write(70, 3000);
    await world.flush();
    await world.wait(100);
    world.host.conditions.flushesToFailure = 1;
    world.host.conditions.phantom = seed % 2 === 0;
    const { durableLsn } = world.log;
    world.log.dropBelow(durableLsn);
    const checkpointLsn = world.log.startLsn;
    await world.until(() => world.told.includes("fatal"));
    await world.wait(100);
    world.crash(seed % 3 === 0 ? "process" : "power");
    await world.open({ budgetBytes: 6 * SEGMENT_BYTES, checkpointLsn });
    assertEquals(world.log.endLsn, durableLsn);
  });
});
