/**
 * When to flush: one flush in flight at a time, and all requests during it are served by one more.
 *
 * @module
 */

/** See the module's text. `flush` never rejects: whoever fails in it sees to the consequences. */
export class GroupCommit {
  readonly #flush: () => Promise<void>;
  #busy = false;
  #wanted = false;
  /** Called when what is in flight has ended; whoever is first may go on alone. */
  #waiting: (() => void)[] = [];

  constructor(flush: () => Promise<void>) {
    this.#flush = flush;
  }

  /** Asks for a flush of all that was written before. Cheap to repeat. */
  request(): void {
    this.#wanted = true;
    if (!this.#busy) this.#run();
  }

  async #run(): Promise<void> {
    this.#busy = true;
    while (this.#wanted && this.#waiting.length === 0) {
      this.#wanted = false;
      await this.#flush();
    }
    this.#end();
  }

  /** Without a pause: between the last look at `#wanted` and here no request can be lost. */
  #end(): void {
    const next = this.#waiting.shift();
    if (next !== undefined) return next();
    this.#busy = false;
    if (this.#wanted) this.#run();
  }

  /** Does `work` while no flush is in flight, before any that is still wanted. */
  async alone<T>(work: () => Promise<T>): Promise<T> {
    if (this.#busy) await new Promise<void>((go) => this.#waiting.push(go));
    this.#busy = true;
    try {
      return await work();
    } finally {
      this.#end();
    }
  }
}
