/**
 * Checkpoints: flushes the volumes and remembers up to where they are, so that the log below may go.
 *
 * @module
 */
import { CHECKPOINT_BYTES_MAX, CHECKPOINT_INTERVAL_MS } from "./node_limits.ts";
import type { Clock } from "./ports.ts";
import type { Volume } from "./volume/volume.ts";

/** What checkpoints are made of. */
export interface CheckpointParts {
  readonly volumes: readonly Volume[];
  readonly clock: Clock;
  readonly budgetBytes: number;
  readonly appliedLsn: () => number;
  /** Makes a checkpoint's position durable in the state file. */
  readonly save: (lsn: number) => Promise<void>;
  readonly onMade: () => void;
}

/** See the module's text. */
export class Checkpoints {
  readonly #parts: CheckpointParts;
  #lsn: number;
  #making: Promise<void> | null = null;
  #lastMs: number;

  constructor(parts: CheckpointParts, lsn: number) {
    this.#parts = parts;
    this.#lsn = lsn;
    this.#lastMs = parts.clock.monotonicMs();
  }

  /** The volumes hold all below it, durably. */
  get lsn(): number {
    return this.#lsn;
  }

  /** Whether another one would let log go, and none is on its way. */
  get canGrow(): boolean {
    return this.#making === null && this.#parts.appliedLsn() > this.#lsn;
  }

  /** Enough was applied since the last one. */
  isDue(): boolean {
    const bytes = this.#parts.appliedLsn() - this.#lsn;
    return bytes >= Math.min(this.#parts.budgetBytes / 4, CHECKPOINT_BYTES_MAX);
  }

  /** The same, or anything was, and a while ago. */
  isDueNow(): boolean {
    const waitedMs = this.#parts.clock.monotonicMs() - this.#lastMs;
    if (this.#parts.appliedLsn() <= this.#lsn) return false;
    return waitedMs >= CHECKPOINT_INTERVAL_MS || this.isDue();
  }

  /** Makes one of what is applied now, or waits for the one that is being made. */
  make(): Promise<void> {
    this.#making ??= this.#make().finally(() => this.#making = null);
    return this.#making;
  }

  async #make(): Promise<void> {
    const { volumes, clock, appliedLsn, save, onMade } = this.#parts;
    const lsn = appliedLsn();
    this.#lastMs = clock.monotonicMs();
    if (lsn === this.#lsn) return;
    await Promise.all(volumes.map((volume) => volume.flush()));
    await save(lsn);
    this.#lsn = Math.max(this.#lsn, lsn);
    onMade();
  }

  /** The volumes were brought to `lsn`, durably, by other means. */
  moveTo(lsn: number): void {
    this.#lsn = Math.max(this.#lsn, lsn);
  }

  /** Waits for the one that is being made, however it ends. */
  async settled(): Promise<void> {
    await this.#making?.catch(() => {/* the node is told by onFatal */});
  }
}
