/**
 * Time on Deno: the {@linkcode Clock} port.
 *
 * @module
 */
import { setImmediate } from "node:timers";
import type { Clock, Timer } from "../core/ports.ts";

/** The runtime's timers hold 31 bits of milliseconds, and call at once for what is more. */
const TIMER_MS_MAX = 2 ** 31 - 1;

/** The real clock. */
export class DenoClock implements Clock {
  nowMs(): number {
    return Date.now();
  }

  monotonicMs(): number {
    return performance.now();
  }

  after(delayMs: number, call: () => void): Timer {
    let left = delayMs;
    let id: ReturnType<typeof setTimeout> | undefined;
    const arm = () => {
      const span = Math.min(left, TIMER_MS_MAX);
      left -= span;
      id = setTimeout(() => left > 0 ? arm() : call(), span);
    };
    arm();
    return { cancel: () => clearTimeout(id) };
  }

  soon(call: () => void): void {
    setImmediate(call);
  }
}
