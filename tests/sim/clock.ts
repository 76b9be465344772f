/**
 * Virtual time: a queue of events, run one by one. Between two events all microtasks run, so that a
 * process has done all it can before time goes on.
 *
 * Microtasks are drained by a real turn of the event loop (`setImmediate`, about 1.5 us, measured):
 * the only way that is exact however long a chain of promises is. A fixed number of awaited promises
 * is neither exact nor faster.
 *
 * Events run in the order of (time, sequence). Times that processes ask for are lengthened by a
 * random hair, so that timers of equal length do not always fire in the order they were set.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import { assert } from "../../core/assert.ts";
import type { Clock, Timer } from "../../core/ports.ts";
import { isDeath, type Life } from "./life.ts";
import type { Prng } from "./prng.ts";

/** By how much a timer may be late, ms. */
const TIMER_LATE_MS_MAX = 0.05;
/** What a turn of the event loop costs, ms, so that a process that polls does not stop time. */
const TURN_MS_MIN = 0.005;
const TURN_MS_MAX = 0.02;

/** One thing that will happen. */
interface Event extends Timer {
  readonly timeMs: number;
  readonly sequence: number;
  /** The process that it happens in; null for the world around it. */
  readonly life: Life | null;
  call: (() => void) | null;
}

/** Why a run ended. */
export type RunEnd = "done" | "idle" | "time" | "steps";

/** When to end a run. */
export interface RunLimits {
  /** Asked after each event; true ends the run. */
  readonly until: () => boolean;
  /** Virtual time at which to give up. */
  readonly timeMsMax: number;
  /** Events after which to give up. */
  readonly stepsMax: number;
}

/** The queue and the loop. */
export class Scheduler {
  #heap: Event[] = [];
  #nowMs = 0;
  #sequence = 0;
  #steps = 0;
  /** Called with what an event threw, unless its process died of it. */
  onUncaught: (error: unknown, life: Life | null) => void = (error) => {
    throw error;
  };

  /** Virtual time since the run began, ms. */
  get nowMs(): number {
    return this.#nowMs;
  }

  /** Events run so far. */
  get steps(): number {
    return this.#steps;
  }

  /** Lets `call` happen `delayMs` from now, unless the life that it belongs to ends before. */
  after(delayMs: number, life: Life | null, call: () => void): Timer {
    assert(delayMs >= 0 && Number.isFinite(delayMs), "an event lies in the future");
    const event: Event = {
      timeMs: this.#nowMs + delayMs,
      sequence: this.#sequence++,
      life,
      call,
      cancel() {
        this.call = null;
      },
    };
    push(this.#heap, event);
    return event;
  }

  /** Runs events until told otherwise. `idle`: nothing is left that could ever happen. */
  async run(limits: RunLimits): Promise<RunEnd> {
    for (;;) {
      if (limits.until()) return "done";
      if (this.#steps >= limits.stepsMax) return "steps";
      const event = this.#heap[0];
      if (event === undefined) return "idle";
      if (event.timeMs > limits.timeMsMax) {
        this.#nowMs = Math.max(this.#nowMs, limits.timeMsMax);
        return "time";
      }
      pop(this.#heap);
      if (event.call === null || event.life?.alive === false) continue;
      this.#nowMs = event.timeMs;
      this.#steps++;
      try {
        event.call();
      } catch (error) {
        if (!isDeath(error)) this.onUncaught(error, event.life);
      }
      await turn();
    }
  }
}

/** Lets all microtasks run. */
export function turn(): Promise<void> {
  return new Promise((go) => {
    setImmediate(go);
  });
}

function isBefore(a: Event, b: Event): boolean {
  return a.timeMs < b.timeMs || (a.timeMs === b.timeMs && a.sequence < b.sequence);
}

/** A binary heap with the next event first. */
function push(heap: Event[], event: Event): void {
  let at = heap.length;
  heap.push(event);
  while (at > 0) {
    const above = (at - 1) >> 1;
    if (!isBefore(event, heap[above]!)) break;
    heap[at] = heap[above]!;
    at = above;
  }
  heap[at] = event;
}

function pop(heap: Event[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let at = 0;
  for (;;) {
    let below = 2 * at + 1;
    if (below >= heap.length) break;
    if (below + 1 < heap.length && isBefore(heap[below + 1]!, heap[below]!)) below++;
    if (!isBefore(heap[below]!, last)) break;
    heap[at] = heap[below]!;
    at = below;
  }
  heap[at] = last;
}

/** What the wall clock of a host shows; it may be wrong, and set while processes run. */
export interface WallClock {
  /** ms since 1970 when virtual time was 0. */
  originMs: number;
}

/** The clock of one process. */
export class SimClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #life: Life;
  readonly #prng: Prng;
  readonly #wall: WallClock;
  readonly #startedMs: number;
  #soonMs = 0;

  constructor(scheduler: Scheduler, life: Life, prng: Prng, wall: WallClock) {
    this.#scheduler = scheduler;
    this.#life = life;
    this.#prng = prng;
    this.#wall = wall;
    this.#startedMs = scheduler.nowMs;
  }

  nowMs(): number {
    return Math.floor(this.#wall.originMs + this.#scheduler.nowMs);
  }

  monotonicMs(): number {
    return this.#scheduler.nowMs - this.#startedMs;
  }

  after(delayMs: number, call: () => void): Timer {
    this.#life.check();
    const lateMs = this.#prng.fraction() * TIMER_LATE_MS_MAX;
    return this.#scheduler.after(Math.max(0, delayMs) + lateMs, this.#life, call);
  }

  soon(call: () => void): void {
    this.#life.check();
    const costMs = TURN_MS_MIN + this.#prng.fraction() * (TURN_MS_MAX - TURN_MS_MIN);
    // Turns keep their order: what asked first is called first.
    this.#soonMs = Math.max(this.#soonMs, this.#scheduler.nowMs + costMs);
    this.#scheduler.after(this.#soonMs - this.#scheduler.nowMs, this.#life, call);
  }
}
