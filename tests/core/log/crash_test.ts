import { assert, assertEquals } from "@std/assert";
import { recordBytes, RecordType } from "../../../core/log/record.ts";
import { isDeath } from "../../sim/life.ts";
import type { Prng } from "../../sim/prng.ts";
import { assertSameBytes, contentOf, LogWorld, recordAt, SEGMENT_BYTES } from "./world.ts";

/** `SEED=17 deno test -A tests/core/log/crash_test.ts` replays; `SEEDS=3000` looks for more. */
const FIRST_SEED = Number(Deno.env.get("SEED") ?? 1);
const SEEDS = Number(Deno.env.get("SEEDS") ?? 60);
const PAYLOAD_MAX = 9000;
const STREAM_BYTES = 4 * 1024 * 1024;

/** What the log must hold: an oracle beside it. */
class Oracle {
  readonly stream = new Uint8Array(STREAM_BYTES);
  /** Ends of records that were appended, in order. */
  ends: number[] = [0];
  /** What was claimed to be durable, and the mark. */
  durableLsn = 0;
  mark = 0;
  checkpointLsn = 0;

  get endLsn(): number {
    return this.ends.at(-1) ?? 0;
  }

  append(record: Uint8Array): void {
    this.stream.set(record, this.endLsn);
    this.ends.push(this.endLsn + record.length);
  }

  cut(lsn: number): void {
    this.ends = this.ends.filter((end) => end <= lsn);
  }

  forgetBeyond(lsn: number): void {
    this.durableLsn = Math.min(this.durableLsn, lsn);
    this.mark = Math.min(this.mark, lsn);
  }
}

/** One host that lives and dies again and again, doing all that a log can do. */
class Torture {
  readonly world: LogWorld;
  readonly oracle = new Oracle();
  readonly #draw: Prng;
  readonly #options = { budgetBytes: 5 * SEGMENT_BYTES };
  #lives = 0;
  epoch = 1;

  constructor(seed: number) {
    this.world = new LogWorld(seed);
    this.#draw = this.world.prng.fork("torture");
  }

  /** Opens the log and compares it with what it must hold. */
  async open(): Promise<void> {
    const { oracle, world } = this;
    this.#lives++;
    const log = await world.open({ ...this.#options, checkpointLsn: oracle.checkpointLsn }).catch(
      (e) => {
        throw e;
      },
    );
    assert(log.endLsn >= oracle.durableLsn, `${log.endLsn} is there of ${oracle.durableLsn}`);
    assert(oracle.ends.includes(log.endLsn), `${log.endLsn} is the end of a record`);
    assert(log.startLsn <= oracle.checkpointLsn, "the log reaches back to the checkpoint");
    assert(log.upstreamMark >= oracle.mark, "the mark is there");
    const content = contentOf(log);
    assertSameBytes(content, oracle.stream.subarray(log.startLsn, log.endLsn), "the content");
    oracle.cut(log.endLsn);
    this.#claim();
  }

  #claim(): void {
    const { log } = this.world;
    assert(log.durableLsn <= log.endLsn && log.upstreamMarkDurable <= log.upstreamMark);
    this.oracle.durableLsn = Math.max(this.oracle.durableLsn, log.durableLsn);
    this.oracle.mark = Math.max(this.oracle.mark, log.upstreamMarkDurable);
  }

  /** Some random doings; throws when the process dies in the midst of one. */
  async live(steps: number): Promise<void> {
    for (let i = 0; i < steps && this.world.life.alive; i++) {
      await this.#step();
      if (!this.world.life.alive || this.#hasFailed()) return;
      this.#claim();
    }
  }

  #hasFailed(): boolean {
    return this.world.told.includes("fatal");
  }

  // deno-lint-ignore require-await -- a step that fails is a promise that rejects
  async #step(): Promise<void> {
    const { log } = this.world;
    const draw = this.#draw;
    const kind = draw.below(12);
    if (kind < 5) return this.#append(1 + draw.below(6));
    if (kind < 7) return log.requestFlush();
    if (kind === 7) return log.setUpstreamMark(this.#someEnd(log.upstreamMark));
    if (kind === 8) return this.#drop();
    if (kind === 9 && draw.chance(0.5)) return this.#cutBack();
    if (kind === 10 && draw.chance(0.3)) return this.world.settle(log.flushed());
    return this.world.wait(draw.fraction() * 6);
  }

  #append(count: number): void {
    const { log } = this.world;
    const draw = this.#draw;
    const records: Uint8Array[] = [];
    let bytes = 0;
    for (let i = 0; i < count; i++) {
      // In every life other bytes, of the same epoch: no stream is as bad as that.
      const payloadBytes = draw.chance(0.5) ? 3000 : 1 + draw.below(PAYLOAD_MAX);
      if (bytes + recordBytes(RecordType.WRITE, payloadBytes) > log.room()) break;
      const record = recordAt(log.endLsn + bytes, payloadBytes, this.epoch, this.#lives);
      records.push(record);
      bytes += record.length;
    }
    const batch = new Uint8Array(bytes);
    let at = 0;
    for (const record of records) {
      batch.set(record, at);
      at += record.length;
      this.oracle.append(record);
    }
    log.append(batch);
  }

  #someEnd(fromLsn: number): number {
    const { log } = this.world;
    const ends = this.oracle.ends.filter((end) => end >= fromLsn && end <= log.endLsn);
    return this.#draw.pick(ends);
  }

  #drop(): void {
    const { log } = this.world;
    const next = log.oldestSegmentEnd;
    if (next === null || next > log.durableLsn) return;
    this.oracle.checkpointLsn = Math.max(this.oracle.checkpointLsn, next);
    log.dropBelow(next);
  }

  async #cutBack(): Promise<void> {
    const { oracle, world } = this;
    const lsn = this.#someEnd(Math.max(world.log.startLsn, oracle.checkpointLsn));
    oracle.forgetBeyond(lsn);
    await world.settle(world.log.cutBack(lsn));
    if (!world.life.alive) return;
    oracle.cut(lsn);
    assertEquals(world.log.endLsn, lsn);
  }

  /** Dies in the midst of some change of the disk, or between two; the power may go with it. */
  async crash(): Promise<void> {
    const draw = this.#draw;
    const { conditions } = this.world.host;
    if (draw.chance(0.7)) this.world.dieAfter(1 + draw.below(30));
    if (draw.chance(0.2)) conditions.flushesToFailure = 1 + draw.below(20);
    conditions.phantom = draw.chance(0.5);
    conditions.roomBytes = draw.chance(0.2) ? draw.below(8) * SEGMENT_BYTES : Infinity;
    await this.live(30).catch((error) => {
      if (!isDeath(error) && !this.#hasFailed()) throw error;
    });
    conditions.flushesToFailure = 0;
    conditions.roomBytes = Infinity;
    this.world.crash(draw.chance(0.7) ? "power" : "process");
  }

  get lives(): number {
    return this.#lives;
  }
}

/** A dead process's promises never settle, and what it throws last is its death. */
function ignoreDeath(event: PromiseRejectionEvent): void {
  if (isDeath(event.reason)) event.preventDefault();
}

async function withSeeds(count: number, run: (seed: number) => Promise<void>): Promise<void> {
  globalThis.addEventListener("unhandledrejection", ignoreDeath);
  try {
    for (let seed = FIRST_SEED; seed < FIRST_SEED + count; seed++) {
      await run(seed).catch((error) => {
        throw new Error(`seed ${seed}`, { cause: error });
      });
    }
  } finally {
    globalThis.removeEventListener("unhandledrejection", ignoreDeath);
  }
}

async function openThroughCrashes(torture: Torture, draw: Prng): Promise<void> {
  for (let tries = 0; tries < 5; tries++) {
    // Recovery itself may be cut short, at any step of it.
    if (draw.chance(0.4)) torture.world.dieAfter(1 + draw.below(8));
    try {
      await torture.open();
      torture.world.dieAfter(0);
      return;
    } catch (error) {
      if (!isDeath(error)) throw error;
    }
    torture.world.crash(draw.chance(0.7) ? "power" : "process");
  }
  await torture.open();
}

Deno.test("after any crash the log is what was appended, up to at least what was durable", async () => {
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
  });
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
