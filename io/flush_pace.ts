/**
 * Whether a flush is worth a thread of its own.
 *
 * A flush on the runtime's thread pool costs some 60 us beside the flush itself: two changes of
 * threads, and a turn of the event loop. A disk that answers within 100 us (NVMe with a protected
 * cache, most virtual disks) is sooner done with, for everybody, when the event loop waits for it. A
 * disk that takes its time must never be waited for. So each file learns from its own flushes.
 *
 * @module
 */

/** A flush of more than this takes its time on any disk. Bytes. */
const SMALL_BYTES = 64 * 1024;
/** Mean below which the event loop waits, with all that comes with a thread. Milliseconds. */
const QUICK_MS = 0.5;
/** Weight of the last flush in the mean. */
const WEIGHT = 1 / 16;
/** The event loop waited longer than this: not again before some fifty flushes were quick. */
const SLOW_MS = 3;
const PENALTY_MS = 10;

/** How quick the flushes of one disk are. See the module's text. */
export class FlushPace {
  #meanMs = PENALTY_MS;

  /** Whether the event loop should wait for a flush of so many bytes. */
  shouldWait(bytes: number): boolean {
    return bytes <= SMALL_BYTES && this.#meanMs <= QUICK_MS;
  }

  /** A flush of so many bytes took `ms` of a monotonic clock; `waited`: in the event loop. */
  took(bytes: number, ms: number, waited: boolean): void {
    if (bytes > SMALL_BYTES) return;
    this.#meanMs += (ms - this.#meanMs) * WEIGHT;
    if (waited && ms > SLOW_MS) this.#meanMs = PENALTY_MS;
  }
}

/** By the number of the disk. */
const paces = new Map<number, FlushPace>();

/** The one for all files of a disk. */
export function flushPaceOf(device: number): FlushPace {
  let pace = paces.get(device);
  if (pace === undefined) paces.set(device, pace = new FlushPace());
  return pace;
}
