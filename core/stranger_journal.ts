/**
 * A journal for what strangers can cause as often as they like: of each message one line a second at
 * the most, with a count of those that were not told. The last of a burst is always told.
 *
 * @module
 */
import type { Clock, Journal, LogLevel, Timer } from "./ports.ts";

/** From one line of a message to the next. */
const INTERVAL_MS = 1_000;

type Fields = Record<string, string | number | boolean>;

/** One message. */
interface Burst {
  readonly level: LogLevel;
  readonly fields: Fields;
  toldMs: number;
  /** How many came since the last line; the last of them waits to be told. */
  count: number;
}

/** See the module's text. Messages are few, and fixed: what differs stands in the fields. */
export class StrangerJournal implements Journal {
  readonly #journal: Journal;
  readonly #clock: Clock;
  readonly #bursts = new Map<string, Burst>();
  #timer: Timer | null = null;
  #closed = false;

  constructor(journal: Journal, clock: Clock) {
    this.#journal = journal;
    this.#clock = clock;
  }

  write(level: LogLevel, message: string, fields: Fields = {}): void {
    if (this.#closed) return;
    const nowMs = this.#clock.monotonicMs();
    const burst = this.#bursts.get(message);
    if (burst === undefined || burst.count === 0 && nowMs - burst.toldMs >= INTERVAL_MS) {
      this.#bursts.set(message, { level, fields, toldMs: nowMs, count: 0 });
      this.#journal.write(level, message, fields);
      return;
    }
    this.#bursts.set(message, { level, fields, toldMs: burst.toldMs, count: burst.count + 1 });
    this.#timer ??= this.#clock.after(INTERVAL_MS, () => {
      this.#timer = null;
      this.#tellAll();
    });
  }

  /** Tells what waits, and nothing from then on: whoever stops hangs up on all strangers. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = null;
    this.#tellAll();
  }

  #tellAll(): void {
    for (const [message, burst] of this.#bursts) {
      const { level, fields, count } = burst;
      if (count === 0) continue;
      burst.count = 0;
      burst.toldMs = this.#clock.monotonicMs();
      const untold = count - 1;
      this.#journal.write(level, message, untold === 0 ? fields : { ...fields, untold });
    }
  }
}
