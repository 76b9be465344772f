/**
 * What a pipeline is made of, and what it tells its node.
 *
 * @module
 */
import type { DeltaShelf } from "./delta/delta_shelf.ts";
import type { History } from "./history.ts";
import type { Log } from "./log/log.ts";
import type { Mark } from "./marks/mark_index.ts";
import type { Clock } from "./ports.ts";
import type { Volume } from "./volume/volume.ts";

/** What the pipeline tells its node. All calls are synchronous. */
export interface PipelineEvents {
  /** Durable, stable or applied moved, or room was made: look at the positions again. */
  onProgress(): void;
  /** Makes a checkpoint's position durable in the state file. */
  saveCheckpoint(lsn: number): Promise<void>;
  /** The least LSN that a link still needs; Infinity when none does. */
  neededLsn(): number;
  /** The least LSN that must be kept whatever it costs: clients wait for that link. */
  heldLsn(): number;
  /** The least LSN that a link with `onOverflow: stall`, or `fail`, needs; Infinity without any. */
  stallLsn(): number;
  failLsn(): number;
  /**
   * The log below `lsn` goes, whoever needs it. False: what the peers lack of it is being written down
   * first; {@linkcode Pipeline.makeRoom} is called again after that.
   */
  letGo(lsn: number): boolean;
  /** The provisional tail goes, or went: whoever was sent it must be asked anew where it stands. */
  onCutBack(): void;
  /** The node must stop: a failed flush, a damaged log, a broken invariant. */
  onFatal(error: unknown): void;
}

/** What a pipeline is made of. */
export interface PipelineParts {
  readonly log: Log;
  readonly shelf: DeltaShelf;
  readonly history: History;
  /** The marks that the log held when it was opened. */
  readonly marks?: readonly Mark[];
  /** By number; empty on a log-only node. */
  readonly volumes: readonly Volume[];
  /** On the primary all that is durable here is stable. */
  readonly reigns: boolean;
  readonly checkpointLsn: number;
  readonly budgetBytes: number;
  readonly segmentBytes: number;
  readonly clock: Clock;
  readonly events: PipelineEvents;
}
