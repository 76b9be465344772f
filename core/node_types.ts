/**
 * How a node is started, what it is doing, and how it ends.
 *
 * @module
 */
import type { NodeStatus } from "./status.ts";

/** What a node is doing, for its status. */
export type NodePhase = NodeStatus["state"];

/** How a node ended: for good, or to be started again at once, in another role. */
export type NodeEnd = "stopped" | "turned";

/** How a node is started. */
export interface StartOptions {
  /** Without exports, and its links ship what a sync asks for alone. */
  readonly onRequest?: boolean;
  /** Clients are held for so long: the node reigns only to hand on. */
  readonly heldForMs?: number;
  /** Up to where the volumes hold the log exactly, where that is known: a node that turned knows it. */
  readonly exactLsn?: number | null;
  /** Nodes that did not answer when this one was made the primary: its clients do not wait for them. */
  readonly away?: readonly string[];
}
