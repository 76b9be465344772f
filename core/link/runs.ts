/**
 * The runs of a periodic link: when the next one is due, how the last one went, and who asked for one.
 *
 * @module
 */
import { describeError } from "../errors.ts";
import type { Clock, Random, Timer } from "../ports.ts";
import type { LinkHost } from "./host.ts";
import { RUN_RETRY_MAX_MS, RUN_RETRY_MS } from "./link_limits.ts";
import type { LinkConfig, Schedule } from "../config.ts";
import type { LinkRun } from "../status.ts";
import { nextRun } from "./schedule.ts";

/** When each periodic link of a node ran last, across restarts. */
export interface RunLog {
  /** When the last run that sent something began; null when none did. */
  lastMs(link: string): number | null;
  save(link: string, startedAtMs: number): void;
}

/** A run under way: one of its calls ends it. */
export interface Run {
  done(fromLsn: number, toLsn: number, sentBytes: number): void;
  nothing(lsn: number): void;
  failed(error: unknown): void;
}

/** See the module's text. */
export class Runs {
  readonly #schedule: Schedule;
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #save: (startedAtMs: number) => void;
  /** They are never due by themselves. */
  readonly #onRequest: boolean;
  /** When the last run that succeeded began; null: none is known. */
  #lastStartedMs: number | null;
  #last: LinkRun | null = null;
  #nextMs: number;
  #failures = 0;
  #shippedBytes = 0;
  #wanted = false;
  #timer: Timer | null = null;
  #wake: (() => void)[] = [];
  #waiters: ((result: LinkRun) => void)[] = [];

  /**
   * `save` remembers when a run began, so that a restart keeps the rhythm. `onRequest`: no run is ever
   * due by itself.
   */
  constructor(
    schedule: Schedule,
    clock: Clock,
    random: Random,
    lastStartedMs: number | null,
    save: (startedAtMs: number) => void,
    onRequest = false,
  ) {
    this.#onRequest = onRequest;
    this.#schedule = schedule;
    this.#clock = clock;
    this.#random = random;
    this.#save = save;
    this.#lastStartedMs = lastStartedMs;
    this.#nextMs = this.#next();
  }

  #next(): number {
    const nowMs = this.#clock.nowMs();
    return nextRun(this.#schedule, this.#lastStartedMs, nowMs, this.#random.fraction());
  }

  get last(): LinkRun | null {
    return this.#last;
  }

  get nextAtMs(): number {
    return this.#nextMs;
  }

  /** Runs that failed since the last that did not. */
  get failures(): number {
    return this.#failures;
  }

  /** What all runs of this life have shipped that did not fail. */
  get shippedBytes(): number {
    return this.#shippedBytes;
  }

  /** A run is due, or somebody wants one. */
  get isDue(): boolean {
    return this.#wanted || (!this.#onRequest && this.#nextMs <= this.#clock.nowMs());
  }

  /** Settles when that is so. */
  due(): Promise<void> {
    return new Promise((go) => {
      this.#wake.push(go);
      this.#look();
    });
  }

  #look(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (this.#wake.length === 0) return;
    if (this.isDue) {
      const wake = this.#wake;
      this.#wake = [];
      for (const go of wake) go();
      return;
    }
    if (this.#onRequest) return;
    // In pieces: the wall clock may jump.
    const waitMs = this.#nextMs - this.#clock.nowMs();
    this.#timer = this.#clock.after(Math.min(waitMs, 60_000), () => this.#look());
  }

  /** Asks for a run now; settles when one that began after this has ended. */
  now(): Promise<LinkRun> {
    this.#wanted = true;
    const result = new Promise<LinkRun>((tell) => this.#waiters.push(tell));
    this.#look();
    return result;
  }

  begin(): Run {
    const startedAtMs = this.#clock.nowMs();
    const waiters = this.#waiters;
    this.#waiters = [];
    this.#wanted = false;
    const end = (part: Omit<LinkRun, "startedAtMs" | "endedAtMs">) => {
      this.#last = { startedAtMs, endedAtMs: this.#clock.nowMs(), ...part };
      const failed = part.outcome === "failed";
      this.#failures = failed ? this.#failures + 1 : 0;
      if (failed) this.#nextMs = this.#clock.nowMs() + this.#retryMs();
      else {
        this.#shippedBytes += part.deltaBytes;
        this.#lastStartedMs = startedAtMs;
        this.#nextMs = this.#next();
        if (part.outcome === "done") this.#save(startedAtMs);
      }
      for (const tell of waiters) tell(this.#last);
    };
    return {
      done: (fromLsn, toLsn, sentBytes) =>
        end({
          fromLsn,
          toLsn,
          logBytes: toLsn - fromLsn,
          deltaBytes: sentBytes,
          outcome: "done",
          reason: null,
        }),
      nothing: (lsn) => end({ ...none(lsn), outcome: "nothing", reason: null }),
      failed: (error) => end({ ...none(0), outcome: "failed", reason: describeError(error) }),
    };
  }

  #retryMs(): number {
    return Math.min(RUN_RETRY_MAX_MS, RUN_RETRY_MS * 2 ** Math.min(16, this.#failures - 1));
  }

  stop(): void {
    this.#timer?.cancel();
  }
}

function none(lsn: number) {
  return { fromLsn: lsn, toLsn: lsn, logBytes: 0, deltaBytes: 0 };
}

/** The runs of a link; null when it is not periodic. */
export function runsOf(host: LinkHost, { schedule, name }: LinkConfig): Runs | null {
  if (schedule === null) return null;
  const { ports, deltas: { runLog } } = host;
  const save = (startedAtMs: number) => runLog.save(name, startedAtMs);
  return new Runs(schedule, ports.clock, ports.random, runLog.lastMs(name), save, host.onRequest);
}
