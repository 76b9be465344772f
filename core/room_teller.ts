/**
 * Tells the journal of full disks: once when that begins, and once when it is over.
 *
 * @module
 */
import { DISK_FULL_RETRY_MS } from "./node_limits.ts";
import type { Clock, Journal } from "./ports.ts";

/** A disk that has room for a little now and then is still full. */
const OVER_MS = 5 * DISK_FULL_RETRY_MS;

/** Of a volume that has no room for what the log has for it. */
export class VolumeRoomTeller {
  readonly #journal: Journal;
  readonly #clock: Clock;
  /** When it was last seen to be so; null when all is told. */
  #fullMs: number | null = null;

  constructor(journal: Journal, clock: Clock) {
    this.#journal = journal;
    this.#clock = clock;
  }

  /** `blocked`: why applying stands still, or null. To be called now and then. */
  look(blocked: string | null): void {
    const nowMs = this.#clock.monotonicMs();
    if (blocked !== null) {
      if (this.#fullMs === null) this.#tellFull(blocked);
      this.#fullMs = nowMs;
    } else if (this.#fullMs !== null && nowMs - this.#fullMs >= OVER_MS) {
      this.#fullMs = null;
      this.#journal.write("info", "the volumes have room again");
    }
  }

  #tellFull(reason: string): void {
    this.#journal.write(
      "error",
      "the disk of a volume is full: what it lacks is kept in the log, and tried again",
      { reason },
    );
  }
}

/** Of the log, at each change. `reason`: why it cannot grow, or null. */
export function tellLogRoom(journal: Journal, reason: string | null): void {
  if (reason === null) return journal.write("info", "the log can grow again");
  const message =
    "the disk of the log is full: it cannot grow, and writers wait whenever no older " +
    "segment can be used again";
  journal.write("error", message, { reason });
}
