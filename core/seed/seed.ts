/**
 * One seed from beginning to end: copy, flush, verify, and the checkpoint that goes along.
 *
 * 1. The checkpoint is on stable storage before the first byte is written to the target.
 * 2. While it copies, the checkpoint follows: at once where the target outlives this process, else
 *    behind each flush.
 * 3. The target is flushed; if asked, it is read back and compared.
 * 4. Only then the checkpoint goes.
 *
 * @module
 */
import type { Clock } from "../ports.ts";
import type { BlockSource, BlockTarget } from "./blocks.ts";
import type { Checkpoint, Resume, SeedIdentity } from "./checkpoint.ts";
import { copy, type Progress } from "./copy.ts";
import { type Difference, firstDifference } from "./look.ts";

/** So much is copied again at most where the target outlives this process. */
const SAVE_BYTES = 4 * 1024 * 1024;
/** A flush is begun after this time, and where only that keeps what was written, behind so much. */
const FLUSH_BYTES = 64 * 1024 * 1024;
const FLUSH_AFTER_MS = 1000;

/** What a seed is doing. */
export type SeedPhase = "copying" | "flushing" | "verifying";

/** What is shown of a seed while it runs. */
export interface SeedState extends Progress {
  phase: SeedPhase;
  verifiedBytes: number;
}

/** A seed's input. */
export interface SeedJob {
  readonly source: BlockSource;
  readonly target: BlockTarget;
  readonly identity: SeedIdentity;
  /** Null: it cannot go on after an interruption. */
  readonly checkpoint: Checkpoint | null;
  /** All below `at` is done. */
  readonly start: Resume;
  /** Gives a new target file its size; called once the checkpoint is safe. */
  readonly prepare: () => void;
  readonly compare: boolean;
  readonly verify: boolean;
  readonly clock: Clock;
  readonly stopped: () => boolean;
  /** Updated as it goes. */
  readonly state: SeedState;
}

/** How it ended. `stopped`: what was done is flushed and in the checkpoint. */
export type SeedEnd =
  | { readonly kind: "done" }
  | { readonly kind: "stopped" }
  | { readonly kind: "differs"; readonly difference: Difference };

/** A state at the beginning. */
export function freshState(startBytes: number): SeedState {
  return {
    ...{ doneBytes: startBytes, writtenBytes: 0, zeroBytes: 0, equalBytes: 0, verifiedBytes: 0 },
    phase: "copying",
  };
}

/** Runs it. Throws what the first failing read, write or flush threw. */
export async function seed(job: SeedJob): Promise<SeedEnd> {
  const { source, target, clock, state, checkpoint, identity } = job;
  const pace = new CheckpointPace(job);
  checkpoint?.save(identity, job.start.at, job.start.flushed);
  await checkpoint?.flush(true);
  job.prepare();
  let whole: boolean;
  try {
    whole = await copy(source, target, {
      ...{ clock, startBytes: job.start.at, compare: job.compare, progress: state },
      stopped: () => job.stopped() || pace.failed,
      onDone: (doneBytes) => pace.reached(doneBytes),
    });
  } finally {
    await pace.settle();
  }
  state.phase = "flushing";
  await pace.flush(state.doneBytes);
  if (!whole) return { kind: "stopped" };
  if (job.verify) {
    state.phase = "verifying";
    const difference = await firstDifference(source, target, {
      ...{ clock, stopped: job.stopped },
      onDone: (doneBytes) => state.verifiedBytes = doneBytes,
    });
    if (difference === undefined) return { kind: "stopped" };
    if (difference !== null) {
      // What lies in the target is not what was written: nothing of it counts as done.
      checkpoint?.save(identity, 0, 0);
      await checkpoint?.flush();
      return { kind: "differs", difference };
    }
  }
  await checkpoint?.remove();
  return { kind: "done" };
}

/** Decides when the checkpoint is written and the target is flushed. */
class CheckpointPace {
  readonly #job: SeedJob;
  #savedBytes: number;
  #flushedBytes: number;
  #flushing: Promise<void> | null = null;
  #lastFlushMs: number;
  #failure: { error: unknown } | null = null;

  constructor(job: SeedJob) {
    this.#job = job;
    this.#savedBytes = job.start.at;
    this.#flushedBytes = job.start.flushed;
    this.#lastFlushMs = job.clock.monotonicMs();
  }

  get failed(): boolean {
    return this.#failure !== null;
  }

  /** All below is written. */
  reached(doneBytes: number): void {
    const { target, clock, checkpoint } = this.#job;
    if (checkpoint !== null && target.outlivesUs && doneBytes - this.#savedBytes >= SAVE_BYTES) {
      this.#save(doneBytes);
    }
    if (this.#flushing !== null || this.failed) return;
    const isMuch = !target.outlivesUs && doneBytes - this.#flushedBytes >= FLUSH_BYTES;
    if (!isMuch && clock.monotonicMs() - this.#lastFlushMs < FLUSH_AFTER_MS) return;
    this.#flushing = this.flush(doneBytes).catch((error) => {
      this.#failure = { error };
    }).finally(() => this.#flushing = null);
  }

  /** Flushes the target, then notes it. */
  async flush(doneBytes: number): Promise<void> {
    await this.#job.target.flush();
    this.#lastFlushMs = this.#job.clock.monotonicMs();
    this.#flushedBytes = doneBytes;
    if (this.#job.checkpoint === null) return;
    this.#save(Math.max(doneBytes, this.#savedBytes));
    await this.#job.checkpoint.flush();
  }

  /** Waits for a flush that runs, and throws what one threw. */
  async settle(): Promise<void> {
    await this.#flushing;
    if (this.#failure !== null) throw this.#failure.error;
  }

  #save(doneBytes: number): void {
    this.#savedBytes = doneBytes;
    const written = this.#job.target.outlivesUs ? doneBytes : this.#flushedBytes;
    this.#job.checkpoint?.save(this.#job.identity, written, this.#flushedBytes);
  }
}
