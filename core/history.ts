/**
 * The epoch history: which primary reigned from which LSN on. Epochs are compared by their id; two
 * histories fork after their longest common prefix, at the lesser first LSN of what follows it on
 * either side. (Raft's log matching, with one entry a reign instead of one a record.)
 *
 * @module
 */
import { assert } from "./assert.ts";
import { EPOCHS_MAX } from "./limits.ts";

/** One reign. */
export interface Epoch {
  /** Grows by at least one with each reign; in the header of every record. */
  readonly number: number;
  /** Random, 128 bit, 32 hexadecimal digits: what makes the reign unique. */
  readonly id: string;
  /** LSN of the epoch record, the first of the reign. */
  readonly firstLsn: number;
  /** The node that reigned. */
  readonly node: string;
}

/** A position that can be compared across nodes: an LSN means something only within its epoch. */
export interface Position {
  readonly epochId: string;
  readonly lsn: number;
}

/** What two histories have in common. */
export interface Fork {
  /** Up to here both hold the same records; Infinity when neither goes on after the other. */
  readonly lsn: number;
  /** The epoch that follows the common prefix on this side, and on the other; null where none does. */
  readonly mine: Epoch | null;
  readonly theirs: Epoch | null;
}

/** The id of "before any epoch". */
export const NO_EPOCH = "0".repeat(32);

/** An append-only list of epochs with growing numbers and LSNs. */
export class History {
  readonly #epochs: Epoch[] = [];

  constructor(epochs: readonly Epoch[] = []) {
    for (const epoch of epochs) this.add(epoch);
  }

  get epochs(): readonly Epoch[] {
    return this.#epochs;
  }

  /** The present reign; null before the first. */
  get last(): Epoch | null {
    return this.#epochs.at(-1) ?? null;
  }

  get lastId(): string {
    return this.last?.id ?? NO_EPOCH;
  }

  get lastNumber(): number {
    return this.last?.number ?? 0;
  }

  add(epoch: Epoch): void {
    const last = this.last;
    assert(last === null || epoch.number > last.number, "epoch numbers grow");
    assert(last === null || epoch.firstLsn >= last.firstLsn, "first LSNs of epochs grow");
    this.#epochs.push(epoch);
    // The oldest reigns are forgotten; what forks below them shares no epoch, and is refused.
    if (this.#epochs.length > EPOCHS_MAX) this.#epochs.shift();
  }

  has(id: string): boolean {
    return this.#epochs.some((epoch) => epoch.id === id);
  }

  /** Forgets the epochs that began at or after `lsn` (the log was cut back to it). */
  cutBack(lsn: number): void {
    while (this.last !== null && this.last.firstLsn >= lsn) this.#epochs.pop();
  }

  /** The epoch that the record before `lsn` belongs to, as an id. */
  idAt(lsn: number): string {
    let id = NO_EPOCH;
    for (const epoch of this.#epochs) if (epoch.firstLsn < lsn) id = epoch.id;
    return id;
  }

  /**
   * Whether `position` lies on this history: its epoch is known here and had not ended before it.
   * `endLsn` is the end of the log that this history describes.
   */
  holds(position: Position, endLsn: number): boolean {
    if (position.lsn > endLsn) return false;
    if (position.epochId === NO_EPOCH) return position.lsn === 0;
    const index = this.#epochs.findIndex((epoch) => epoch.id === position.epochId);
    if (index < 0) return false;
    const next = this.#epochs[index + 1];
    return next === undefined || position.lsn <= next.firstLsn;
  }

  /** Where this history and another part; see {@linkcode Fork}. */
  fork(theirs: readonly Epoch[]): Fork {
    // The last common epoch, rather than a common prefix: either may have forgotten its oldest.
    let last = this.#epochs.length - 1;
    const placeOf = (id: string | undefined) => theirs.findIndex((epoch) => epoch.id === id);
    while (last >= 0 && placeOf(this.#epochs[last]?.id) < 0) last--;
    const theirLast = last < 0 ? -1 : placeOf(this.#epochs[last]?.id);
    const mine = this.#epochs[last + 1] ?? null;
    const other = theirs[theirLast + 1] ?? null;
    return {
      lsn: Math.min(mine?.firstLsn ?? Infinity, other?.firstLsn ?? Infinity),
      mine,
      theirs: other,
    };
  }
}
