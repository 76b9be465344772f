/**
 * Slows writers down before the log budget is spent on a link with `onOverflow: stall`.
 *
 * From half of the budget on, what may be appended a second is the room that is left over thirty
 * seconds: so the room is never used up, a peer that is slow gets exactly the rate that it can take,
 * and one that is away makes writers slower and slower instead of stopping them at once.
 *
 * @module
 */
import type { Clock, Timer } from "./ports.ts";

/** The part of the budget from which on writers are slowed down. */
const FREE_PART = 0.5;
/** What is left of the budget would be used up in this time, were it not for the next slowing down. */
const HORIZON_MS = 30_000;
/** Credit is saved up for at most this long: bounds a burst after a rest. */
const BURST_MS = 100;

/** Whoever was held back is woken after this at the latest, since the room may have changed. */
const TURN_MS = 100;

/** See the module's text. */
export class StallPace {
  readonly #clock: Clock;
  readonly #budgetBytes: number;
  readonly #wake: () => void;
  #timer: Timer | null = null;
  #creditBytes = 0;
  #lastMs: number;
  #lastLsn: number;
  #isSlowing = false;

  /** `wake` is called when more may be appended, after some was held back. */
  constructor(clock: Clock, budgetBytes: number, endLsn: number, wake: () => void) {
    this.#clock = clock;
    this.#budgetBytes = budgetBytes;
    this.#wake = wake;
    this.#lastMs = clock.monotonicMs();
    this.#lastLsn = endLsn;
  }

  /** Writers are being slowed down. */
  get isSlowing(): boolean {
    return this.#isSlowing;
  }

  /**
   * Whether more must not be appended now. `heldBytes`: of the log, for links that must not overflow;
   * `endLsn`: the end of what was appended.
   */
  holdsBack(heldBytes: number, endLsn: number): boolean {
    const nowMs = this.#clock.monotonicMs();
    const spanMs = nowMs - this.#lastMs;
    const spentBytes = Math.max(0, endLsn - this.#lastLsn);
    this.#lastMs = nowMs;
    this.#lastLsn = endLsn;
    this.#isSlowing = heldBytes > FREE_PART * this.#budgetBytes;
    if (!this.#isSlowing) {
      this.#creditBytes = 0;
      return false;
    }
    const bytesPerMs = Math.max(1, this.#budgetBytes - heldBytes) / HORIZON_MS;
    const saved = Math.min(this.#creditBytes + spanMs * bytesPerMs, BURST_MS * bytesPerMs);
    this.#creditBytes = saved - spentBytes;
    if (this.#creditBytes >= 0) return false;
    this.#wakeAfter(-this.#creditBytes / bytesPerMs);
    return true;
  }

  #wakeAfter(ms: number): void {
    this.#timer ??= this.#clock.after(Math.min(ms, TURN_MS), () => {
      this.#timer = null;
      this.#wake();
    });
  }

  stop(): void {
    this.#timer?.cancel();
  }
}
