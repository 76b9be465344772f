/**
 * What the parts that hold applying back ask of their node.
 *
 * @module
 */
import type { NodeConfig } from "../config.ts";
import type { NodeFront } from "../front.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Ports } from "../ports.ts";
import type { PrimaryClock } from "../primary_clock.ts";
import type { NodeState } from "../state.ts";

/** Parts of a node that are there before its links. */
export interface NodeParts {
  readonly config: NodeConfig;
  readonly ports: Ports;
  readonly pipeline: Pipeline;
  readonly tide: PrimaryClock;
  readonly state: () => NodeState;
  readonly save: (change: Partial<NodeState>) => Promise<void>;
  readonly onFatal: (error: unknown) => void;
}

/** A node, as far as marks look at it. */
export interface MarkedNode {
  readonly front: NodeFront;
  readonly deltas: { readonly isInPlace: boolean };
  readonly phase: string;
}

/** See the module's text. */
export interface MarksHost extends NodeParts {
  readonly front: () => NodeFront;
  /** Blocks are written in place: the volumes are no image. */
  readonly isInPlace: () => boolean;
  /** The node serves. */
  readonly isRunning: () => boolean;
  /** The primary's time in the last record that the log held at the start; 0: none. */
  readonly lastTimeMs: number;
}
