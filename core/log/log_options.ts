/**
 * How a log is opened, and what it tells.
 *
 * @module
 */
import type { Clock, Disk } from "../ports.ts";

/** What the log tells its node. Never called from within a call to the log. */
export interface LogEvents {
  /** `durableLsn` or `upstreamMarkDurable` moved. */
  onDurable(): void;
  /** More can be appended than before. */
  onRoom(): void;
  /** The disk has no room for another segment; null: it has again. Told at each change. */
  onDiskFull(error: unknown): void;
  /** A write or a flush failed: the log takes nothing any more. */
  onFatal(error: unknown): void;
}

/** How to open a log. */
export interface LogOptions {
  readonly disk: Disk;
  readonly clock: Clock;
  readonly folder: string;
  /** Room for segment files; one more than fit may exist. */
  readonly budgetBytes: number;
  readonly segmentBytes: number;
  /** Everything below is in the volumes; the log must reach at least up to here. */
  readonly checkpointLsn: number;
  readonly events: LogEvents;
}
