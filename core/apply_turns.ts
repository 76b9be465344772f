/**
 * When a node applies: in slices, a turn of the event loop each, so that clients are served in between; little at
 * a time waits for more; a volume without room is tried again. And how far: up to what is stable, or to where
 * applying is held on purpose.
 *
 * @module
 */
import type { Applier } from "./applier.ts";
import { assert } from "./assert.ts";
import { describeError, isCascadeError } from "./errors.ts";
import { APPLY_DELAY_MS, APPLY_SLICE_BYTES, DISK_FULL_RETRY_MS } from "./node_limits.ts";
import type { Clock, Timer } from "./ports.ts";

/** What turns are made of. */
export interface ApplyTurnParts {
  readonly applier: Applier;
  /** A log-only node applies nothing. */
  readonly hasVolumes: boolean;
  readonly clock: Clock;
  /** Less than this waits for more. */
  readonly littleBytes: number;
  readonly stableLsn: () => number;
  /** A slice was applied. */
  readonly onApplied: () => void;
  /** A volume has no room. */
  readonly onBlocked: () => void;
  readonly onFatal: (error: unknown) => void;
}

/** See the module's text. */
export class ApplyTurns {
  readonly #parts: ApplyTurnParts;
  #isScheduled = false;
  #timer: Timer | null = null;
  #blocked: string | null = null;
  #isStopped = false;
  #heldAtLsn = Infinity;
  /** Nothing is applied but what is waited for. */
  isPaused = false;

  constructor(parts: ApplyTurnParts) {
    this.#parts = parts;
  }

  /** Why applying stands still, or null. */
  get blocked(): string | null {
    return this.#blocked;
  }

  get heldAtLsn(): number {
    return this.#heldAtLsn;
  }

  /** See `Pipeline.holdAt`. */
  holdAt(lsn: number): void {
    assert(lsn >= this.#parts.applier.appliedLsn, "what is applied stays so");
    this.#heldAtLsn = lsn;
    this.soon();
  }

  /** What may be applied now. A delta that was begun is ended. */
  get #endLsn(): number {
    const stableLsn = this.#parts.stableLsn();
    return this.#parts.applier.isInDelta ? stableLsn : Math.min(stableLsn, this.#heldAtLsn);
  }

  /** Sees to it that what may be applied is, before long. */
  soon(): void {
    const { hasVolumes, applier, clock, littleBytes } = this.#parts;
    if (this.#isScheduled || this.#isStopped || !hasVolumes) return;
    const bytes = this.#endLsn - applier.appliedLsn;
    if (bytes <= 0) return;
    // Little can wait for more: the turn of the event loop belongs to whoever waits for an answer.
    if (bytes < Math.min(APPLY_SLICE_BYTES, littleBytes)) {
      this.#timer ??= clock.after(APPLY_DELAY_MS, () => {
        this.#timer = null;
        if (!this.#isStopped && !this.#isScheduled) this.#turn();
      });
      return;
    }
    this.#isScheduled = true;
    clock.soon(() => {
      this.#isScheduled = false;
      if (!this.#isStopped) this.#turn();
    });
  }

  #turn(): void {
    const { applier, clock, onFatal, onBlocked, onApplied } = this.#parts;
    if (this.isPaused) return;
    try {
      applier.slice(this.#endLsn);
      this.#blocked = null;
    } catch (error) {
      if (!isCascadeError(error, "disk-full")) return onFatal(error);
      // A volume without room: nothing is lost, the log has it. Clients slow down at the bound.
      this.#blocked = describeError(error);
      clock.after(DISK_FULL_RETRY_MS, () => this.soon());
      return onBlocked();
    }
    this.soon();
    onApplied();
  }

  /** Applies all that may be now, below `lsn`, where a record or a gap begins. */
  async all(lsn = Infinity): Promise<void> {
    const { applier, clock, hasVolumes } = this.#parts;
    while (applier.appliedLsn < Math.min(this.#endLsn, lsn) && hasVolumes) {
      applier.slice(Math.min(this.#endLsn, lsn));
      await new Promise<void>((go) => clock.soon(go));
    }
  }

  stop(): void {
    this.#isStopped = true;
    this.#timer?.cancel();
  }
}
