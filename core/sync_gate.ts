/**
 * One sync at a time, whoever asks for it.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";
import type { SyncOptions, SyncReport, SyncRunner } from "./sync_report.ts";

/** Lets one run through to `runner`, and refuses with `locked` what comes meanwhile. */
export class SyncGate implements SyncRunner {
  readonly #node: string;
  readonly #runner: SyncRunner;
  #isRunning = false;

  constructor(node: string, runner: SyncRunner) {
    this.#node = node;
    this.#runner = runner;
  }

  async sync(links: readonly string[] | null, options: SyncOptions): Promise<SyncReport> {
    if (this.#isRunning) throw syncRunning(this.#node);
    this.#isRunning = true;
    try {
      return await this.#runner.sync(links, options);
    } finally {
      this.#isRunning = false;
    }
  }
}

/** What the second of two runs meets. */
export function syncRunning(node: string, pid: number | null = null): CascadeError {
  return new CascadeError("locked", `a sync of ${node} runs already`, {
    where: pid === null ? {} : { pid },
    hint: "Wait for it, or leave it be with --skip-if-running.",
    retryable: true,
  });
}
