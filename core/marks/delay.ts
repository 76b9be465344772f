/**
 * `applyDelay`: what is received and durable at once is applied only when it is old enough by the primary's
 * clock. Up to where it may be applied is written down before it is: after a crash the volumes are brought to
 * there again, whatever the clock says then, and are an image that existed.
 *
 * @module
 */
import { TICK_INTERVAL_MS } from "../node_limits.ts";
import { TimeWalk } from "./find_lsn.ts";
import type { MarksHost } from "./marks_host.ts";

/** How often it is looked what is due: bounds the flushes of the state file. */
const LOOK_INTERVAL_MS = 1_000;
/** Pieces of the log that are looked into in one turn of the event loop. */
const STEPS_PER_TURN = 4;
/** How often it is told that records were applied early. */
const TELL_INTERVAL_MS = 60_000;

/** See the module's text. */
export class ApplyDelay {
  readonly delayMs: number;
  readonly #host: MarksHost;
  readonly #walk: TimeWalk;
  readonly #onMoved: () => void;
  readonly #startedMs: number;
  #reachLsn: number;
  #nextLookMs = 0;
  #work: Promise<void> = Promise.resolve();
  #isBusy = false;
  #isStopped = false;
  #earlyBytes = 0;
  #toldMs = -Infinity;

  constructor(host: MarksHost, reachLsn: number, onMoved: () => void) {
    this.#host = host;
    this.delayMs = host.config.applyDelayMs;
    this.#walk = new TimeWalk(host.pipeline);
    this.#onMoved = onMoved;
    this.#reachLsn = reachLsn;
    this.#startedMs = host.ports.clock.monotonicMs();
  }

  /** Nothing behind it is applied. */
  get limitLsn(): number {
    return Math.max(this.#reachLsn, this.#host.pipeline.appliedLsn);
  }

  /** Bytes of the log that were applied before their time. */
  get earlyBytes(): number {
    return this.#earlyBytes;
  }

  /**
   * The primary's time; before anything was heard of it, a time that it is past for sure, so that nothing is
   * applied early because this host's clock is wrong.
   */
  primaryMs(): number {
    const { tide, ports: { clock }, lastTimeMs } = this.#host;
    return tide.known ? tide.timeMs() : lastTimeMs + clock.monotonicMs() - this.#startedMs;
  }

  /** The primary's time of the oldest record that is not applied; null: none, or not known. */
  oldestMs(): number | null {
    return this.#walk.timeAt(this.#host.pipeline.appliedLsn);
  }

  tick(): void {
    const nowMs = this.#host.ports.clock.monotonicMs();
    if (this.#isBusy || nowMs < this.#nextLookMs) return;
    this.#nextLookMs = nowMs +
      Math.max(TICK_INTERVAL_MS, Math.min(LOOK_INTERVAL_MS, this.delayMs / 10));
    this.#run(() => this.#dueLsn());
  }

  /** The log has no room: what lies below `lsn` is applied now, early as it is. */
  press(lsn: number): void {
    if (this.#isBusy || lsn <= this.limitLsn) return;
    const { ports: { clock, journal }, pipeline } = this.#host;
    const bytes = lsn - this.limitLsn;
    this.#run(() => {
      this.#earlyBytes += bytes;
      return Promise.resolve(Math.min(lsn, pipeline.stableLsn));
    });
    if (clock.monotonicMs() - this.#toldMs < TELL_INTERVAL_MS) return;
    this.#toldMs = clock.monotonicMs();
    journal.write("warn", "the log budget is spent: records are applied before their time", {
      applyDelayMs: this.delayMs,
      lsn,
      hint: "a larger log.budget keeps the delay",
    });
  }

  /** All up to `lsn` is to be applied now. */
  async release(lsn: number): Promise<void> {
    await this.#work;
    if (lsn <= this.#reachLsn) return;
    this.#earlyBytes += lsn - this.#reachLsn;
    this.#host.ports.journal.write("warn", "records are applied before their time: all had to be", {
      lsn,
    });
    await this.#host.save({ applyReachLsn: lsn });
    this.#reachLsn = lsn;
  }

  #run(find: () => Promise<number>): void {
    this.#isBusy = true;
    this.#work = this.#advance(find).catch((error) => {
      if (!this.#isStopped) this.#host.onFatal(error);
    }).finally(() => this.#isBusy = false);
  }

  async #advance(find: () => Promise<number>): Promise<void> {
    const lsn = await find();
    if (this.#isStopped || lsn <= this.#reachLsn) return;
    // Before anything of it is applied.
    await this.#host.save({ applyReachLsn: lsn });
    this.#reachLsn = lsn;
    if (!this.#isStopped) this.#onMoved();
  }

  /** The end of what is old enough. */
  async #dueLsn(): Promise<number> {
    const { ports: { clock } } = this.#host;
    const untilMs = this.primaryMs() - this.delayMs;
    let lsn = this.limitLsn;
    for (let turn = 1; !this.#isStopped; turn++) {
      const step = this.#walk.step(lsn, untilMs);
      lsn = step.lsn;
      if (step.isOver) break;
      if (turn % STEPS_PER_TURN === 0) await new Promise<void>((go) => clock.soon(go));
    }
    return lsn;
  }

  stop(): Promise<void> {
    this.#isStopped = true;
    return this.#work;
  }
}
