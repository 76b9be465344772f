/**
 * A log that lives through crash after crash, and an oracle of what it must hold.
 *
 * @module
 */
import { assert, assertEquals } from "@std/assert";
import { isCascadeError } from "../../../core/errors.ts";
import type { Gap } from "../../../core/log/log.ts";
import { recordBytes, RecordType } from "../../../core/log/record.ts";
import { isDeath } from "../../sim/life.ts";
import type { Prng } from "../../sim/prng.ts";
import { assertSameBytes, contentOf, LogWorld, recordAt, SEGMENT_BYTES } from "./world.ts";

/** `SEED=17 deno test -A tests/core/log/crash_test.ts` replays; `SEEDS=3000` looks for more. */
const FIRST_SEED = Number(Deno.env.get("SEED") ?? 1);
export const SEEDS = Number(Deno.env.get("SEEDS") ?? 60);
const PAYLOAD_MAX = 9000;
const STREAM_BYTES = 4 * 1024 * 1024;

/** What the log must hold: an oracle beside it. */
class Oracle {
  readonly stream = new Uint8Array(STREAM_BYTES);
  /** Ends of records that were appended, in order. */
  ends: number[] = [0];
  /** What the log jumped over, in order. */
  gaps: Gap[] = [];
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

  jump(toLsn: number): void {
    const fromLsn = this.endLsn;
    this.stream.fill(0, fromLsn, toLsn);
    this.ends.push(toLsn);
    this.gaps.push({ fromLsn, toLsn });
  }

  cut(lsn: number): void {
    this.ends = this.ends.filter((end) => end <= lsn);
    this.gaps = this.gaps.filter(({ toLsn }) => toLsn <= lsn);
  }

  forgetBeyond(lsn: number): void {
    this.durableLsn = Math.min(this.durableLsn, lsn);
    this.mark = Math.min(this.mark, lsn);
  }
}

/** One host that lives and dies again and again, doing all that a log can do. */
export class Torture {
  readonly world: LogWorld;
  readonly oracle = new Oracle();
  readonly #draw: Prng;
  readonly #options = { budgetBytes: 5 * SEGMENT_BYTES };
  #lives = 0;
  /** Gaps that were met when the log was opened. */
  jumps = 0;
  epoch = 1;

  constructor(seed: number) {
    this.world = new LogWorld(seed);
    this.#draw = this.world.prng.fork("torture");
  }

  /** Opens the log and compares it with what it must hold. */
  async open(): Promise<void> {
    const { oracle, world } = this;
    this.#lives++;
    const log = await world.open({ ...this.#options, checkpointLsn: oracle.checkpointLsn });
    assert(log.endLsn >= oracle.durableLsn, `${log.endLsn} is there of ${oracle.durableLsn}`);
    assert(oracle.ends.includes(log.endLsn), `${log.endLsn} is the end of a record`);
    assert(log.startLsn <= oracle.checkpointLsn, "the log reaches back to the checkpoint");
    assert(log.upstreamMark >= oracle.mark, "the mark is there");
    const content = contentOf(log);
    assertSameBytes(content, oracle.stream.subarray(log.startLsn, log.endLsn), "the content");
    oracle.cut(log.endLsn);
    const kept = oracle.gaps.filter(({ fromLsn }) => fromLsn >= log.startLsn);
    assertEquals([log.gaps, world.report?.gaps], [kept, kept], "the gaps");
    this.jumps += kept.length;
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
    if (kind === 11 && draw.chance(0.4)) return this.#jump();
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

  async #jump(): Promise<void> {
    const { oracle, world } = this;
    const { endLsn } = world.log;
    const toLsn = endLsn + 16 * (1 + this.#draw.below(1000));
    oracle.jump(toLsn);
    try {
      await world.settle(world.log.jump(toLsn));
      assertEquals([world.log.endLsn, world.log.upstreamMarkDurable], [toLsn, toLsn]);
    } catch (error) {
      if (!isCascadeError(error, "log-full")) throw error;
      oracle.cut(endLsn);
    }
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

/** Runs with many seeds, and tells the one that failed. */
export async function withSeeds(
  count: number,
  run: (seed: number) => Promise<void>,
): Promise<void> {
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

/** Opens the log, after crashes in the midst of that. */
export async function openThroughCrashes(torture: Torture, draw: Prng): Promise<void> {
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
