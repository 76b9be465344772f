/**
 * A clock that stands still until a test moves it.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../../core/ports.ts";

interface Waiting extends Timer {
  readonly dueMs: number;
  readonly call: () => void;
  cancelled: boolean;
}

export class ManualClock implements Clock {
  /** What the wall clock showed when monotonic time was 0. */
  wallMs = 1_700_000_000_000;
  #nowMs = 0;
  #timers: Waiting[] = [];

  nowMs(): number {
    return Math.floor(this.wallMs + this.#nowMs);
  }

  monotonicMs(): number {
    return this.#nowMs;
  }

  /** Timers that wait. */
  get pending(): number {
    return this.#timers.filter((timer) => !timer.cancelled).length;
  }

  after(delayMs: number, call: () => void): Timer {
    const timer: Waiting = {
      dueMs: this.#nowMs + delayMs,
      call,
      cancelled: false,
      cancel() {
        this.cancelled = true;
      },
    };
    this.#timers.push(timer);
    return timer;
  }

  /** Turns of the loop need no moving of the clock. */
  soon(call: () => void): void {
    setImmediate(call);
  }

  /** Lets time pass, timer by timer, in order. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms;
    for (;;) {
      this.#timers = this.#timers.filter((timer) => !timer.cancelled);
      const next = this.#timers.reduce<Waiting | null>(
        (best, timer) => best === null || timer.dueMs < best.dueMs ? timer : best,
        null,
      );
      if (next === null || next.dueMs > endMs) break;
      this.#timers.splice(this.#timers.indexOf(next), 1);
      this.#nowMs = Math.max(this.#nowMs, next.dueMs);
      next.call();
    }
    this.#nowMs = endMs;
  }
}

/** Lets all promises and turns that are ready run. */
export async function settle(turns = 8): Promise<void> {
  for (let i = 0; i < turns; i++) await new Promise<void>((go) => setImmediate(go));
}

/**
 * Waits turn by turn until `condition` holds; fails after very many turns. With a clock, a tenth of a
 * millisecond passes with each.
 */
export async function until(
  condition: () => boolean,
  what: string,
  clock: ManualClock | null = null,
): Promise<void> {
  for (let turn = 0; turn < 10_000; turn++) {
    if (condition()) return;
    clock?.advance(0.1);
    await new Promise<void>((go) => setImmediate(go));
  }
  throw new Error(`it never came: ${what}`);
}
