/**
 * What happened in a simulated run: a hash over all of it, to prove that a seed replays exactly, and
 * the last of it in words, for the report of a failure.
 *
 * @module
 */
import { crc32 } from "node:zlib";

/** Entries kept for a report. */
const RING_ENTRIES = 4096;

type Detail = string | number | boolean;

interface Entry {
  readonly timeMs: number;
  readonly who: string;
  readonly what: string;
  readonly details: readonly Detail[];
}

/** See the module's text. */
export class Trace {
  /** Prints entries as they come, when set. */
  print: ((line: string) => void) | null = null;
  /** Where the time of entries comes from. */
  clock: () => number = () => 0;
  readonly #ring: (Entry | undefined)[] = new Array(RING_ENTRIES);
  readonly #word = new Uint8Array(8);
  readonly #view = new DataView(this.#word.buffer);
  #count = 0;
  #hash = 0;

  /** The hash of all that was noted so far. */
  get hash(): string {
    return this.#hash.toString(16).padStart(8, "0") + this.#count.toString(16).padStart(8, "0");
  }

  /** Notes an event. Details that are bytes should be given as their sum. */
  note(who: string, what: string, ...details: Detail[]): void {
    const timeMs = this.clock();
    this.#hash = crc32(what, crc32(who, this.#mix(timeMs)));
    for (const detail of details) {
      this.#hash = typeof detail === "number"
        ? this.#mix(detail)
        : crc32(String(detail), this.#hash);
    }
    const entry = { timeMs, who, what, details };
    this.#ring[this.#count++ % RING_ENTRIES] = entry;
    this.print?.(format(entry));
  }

  #mix(value: number): number {
    this.#view.setFloat64(0, value);
    return crc32(this.#word, this.#hash);
  }

  /** The last `count` entries as lines. */
  tail(count: number): string[] {
    const from = Math.max(0, this.#count - Math.min(count, RING_ENTRIES));
    const lines: string[] = [];
    for (let i = from; i < this.#count; i++) {
      const entry = this.#ring[i % RING_ENTRIES];
      if (entry !== undefined) lines.push(format(entry));
    }
    return lines;
  }
}

function format(entry: Entry): string {
  const time = entry.timeMs.toFixed(3).padStart(12);
  return `${time} ${entry.who.padEnd(8)} ${entry.what} ${entry.details.join(" ")}`.trimEnd();
}
