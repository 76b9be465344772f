/**
 * A journal for what strangers can cause as often as they like: of each kind of message (its text, and its `code`)
 * one line a second at the most, and less and less often while it goes on, down to one a minute, with a count of those that
 * were not told. The last of a burst is always told.
 *
 * @module
 */
import type { Clock, Journal, LogLevel, Timer } from "./ports.ts";

/** From one line of a kind to the next: at first, how that grows, and at most. */
const INTERVAL_MS = 1_000;
const INTERVAL_FACTOR = 4;
const INTERVAL_MS_MAX = 60_000;
/** Lines before it grows; it begins anew when nothing came for as long as it can get. */
const LINES_SOON = 4;
/** Kinds at one time: texts and codes are few, and fixed. */
const KINDS_MAX = 64;

type Fields = Record<string, string | number | boolean>;

/** One kind of message. */
interface Burst {
  readonly message: string;
  level: LogLevel;
  fields: Fields;
  toldMs: number;
  intervalMs: number;
  lines: number;
  /** How many came since the last line; the last of them waits to be told. */
  count: number;
}

/** See the module's text. What differs from one message of a kind to the next stands in the fields. */
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
    const kind = `${message}\n${fields["code"] ?? ""}`;
    const burst = this.#bursts.get(kind);
    const isOver = burst?.count === 0 && nowMs - burst.toldMs >= INTERVAL_MS_MAX;
    if (burst === undefined || isOver) {
      if (this.#bursts.size >= KINDS_MAX && burst === undefined) return;
      const fresh = { toldMs: nowMs, intervalMs: INTERVAL_MS, lines: 0, count: 1 };
      const begun = { message, level, fields, ...fresh };
      this.#bursts.set(kind, begun);
      return this.#tell(begun);
    }
    burst.level = level;
    burst.fields = fields;
    burst.count++;
    if (nowMs - burst.toldMs >= burst.intervalMs) return this.#tell(burst);
    this.#timer ??= this.#clock.after(INTERVAL_MS, () => this.#look());
  }

  /** Tells what waits, and nothing from then on: whoever stops hangs up on all strangers. */
  close(): void {
    this.#closed = true;
    this.#timer?.cancel();
    this.#timer = null;
    for (const burst of this.#bursts.values()) if (burst.count > 0) this.#tell(burst);
  }

  #look(): void {
    this.#timer = null;
    const nowMs = this.#clock.monotonicMs();
    for (const burst of this.#bursts.values()) {
      if (burst.count === 0) continue;
      if (nowMs - burst.toldMs >= burst.intervalMs) this.#tell(burst);
      else this.#timer ??= this.#clock.after(INTERVAL_MS, () => this.#look());
    }
  }

  #tell(burst: Burst): void {
    const { message, level, fields, count } = burst;
    burst.count = 0;
    burst.toldMs = this.#clock.monotonicMs();
    if (++burst.lines >= LINES_SOON) {
      burst.intervalMs = Math.min(burst.intervalMs * INTERVAL_FACTOR, INTERVAL_MS_MAX);
    }
    const untold = count - 1;
    this.#journal.write(level, message, untold === 0 ? fields : { ...fields, untold });
  }
}
