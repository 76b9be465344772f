/**
 * Randomness and the journal of a simulated process.
 *
 * @module
 */
import type { Bytes, Journal, LogLevel, Random } from "../../core/ports.ts";
import type { Life } from "./life.ts";
import type { Prng } from "./prng.ts";
import type { Trace } from "./trace.ts";

/** Randomness from a seed. */
export class SimRandom implements Random {
  readonly #life: Life;
  readonly #prng: Prng;

  constructor(life: Life, prng: Prng) {
    this.#life = life;
    this.#prng = prng;
  }

  bytes(count: number): Bytes {
    this.#life.check();
    const bytes = new Uint8Array(count);
    this.#prng.fill(bytes);
    return bytes;
  }

  fraction(): number {
    this.#life.check();
    return this.#prng.fraction();
  }
}

/** Notes what a process tells of itself in the trace of the run. The dead say nothing. */
export class SimJournal implements Journal {
  readonly #life: Life;
  readonly #trace: Trace;

  constructor(life: Life, trace: Trace) {
    this.#life = life;
    this.#trace = trace;
  }

  write(
    level: LogLevel,
    message: string,
    fields: Record<string, string | number | boolean> = {},
  ): void {
    if (!this.#life.alive) return;
    const details = Object.entries(fields).map(([name, value]) => `${name}=${value}`);
    this.#trace.note(this.#life.name, `${level}: ${message}`, ...details);
  }
}
