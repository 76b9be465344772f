/**
 * The primary's clock and end of log as this node knows them: its own on the primary, else the
 * last ones heard, the time carried on by the span since.
 *
 * @module
 */
import type { PrimaryTide } from "./link/sender.ts";
import type { Clock } from "./ports.ts";

/** Nothing was heard for so long: more than a heartbeat, and its delay, ms. */
const QUIET_MS = 3_000;

export class PrimaryClock implements PrimaryTide {
  readonly #clock: Clock;
  /** The primary's own log; null elsewhere. */
  readonly #own: { readonly appendedLsn: number } | null;
  #timeMs = 0;
  #endLsn = 0;
  #heardMs = 0;
  #caughtUpTimeMs = 0;

  constructor(clock: Clock, own: { readonly appendedLsn: number } | null) {
    this.#clock = clock;
    this.#own = own;
  }

  /** Whether anything is known of the primary. */
  get known(): boolean {
    return this.#own !== null || this.#timeMs > 0;
  }

  /** Takes what a tide told. */
  heard(timeMs: number, endLsn: number): void {
    if (timeMs === 0) return;
    this.#timeMs = timeMs;
    this.#endLsn = endLsn;
    this.#heardMs = this.#clock.monotonicMs();
  }

  /** Everything that the primary had when it last spoke is durable here. */
  caughtUp(): void {
    this.#caughtUpTimeMs = this.#timeMs;
  }

  /** The primary's time when this node last had everything; what it lacks was made later. */
  get caughtUpTimeMs(): number {
    return this.#caughtUpTimeMs;
  }

  /** ms since the last word from above; 0 on the primary. */
  silenceMs(): number {
    return this.#own !== null ? 0 : this.#clock.monotonicMs() - this.#heardMs;
  }

  timeMs(): number {
    if (this.#own !== null) return Math.floor(this.#clock.nowMs());
    return this.#timeMs === 0 ? 0 : Math.floor(this.#timeMs + this.silenceMs());
  }

  /** What nodes below are told of it: 0 while nothing is heard from above, so that they know how long that is. */
  toldTimeMs(): number {
    return this.silenceMs() > QUIET_MS ? 0 : this.timeMs();
  }

  endLsn(): number {
    return this.#own?.appendedLsn ?? this.#endLsn;
  }
}
