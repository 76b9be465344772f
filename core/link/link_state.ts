/**
 * States of a link that both of its ends tell in the same words.
 *
 * @module
 */
import { type ErrorCode, isCascadeError } from "../errors.ts";
import type { LinkState } from "../status.ts";
import type { Refusal } from "./messages.ts";

/** What a link is whose last try ended with a refusal; null: as one whose peer is away. */
export function refusedState(refusal: Refusal | null): LinkState | null {
  switch (refusal?.code) {
    case undefined:
    case "not-ready":
      return null;
    case "delta-needed":
      return "overflowed";
    case "paused":
      return "paused";
    default:
      return "refused";
  }
}

/** Why an overflowed link is in that state. */
export const OVERFLOWED_WHY =
  "the log budget was spent while the peer was away or too slow; it will be given the blocks that it lacks";

/** What no other connection would mend: this node's own disk, log or logic. */
const FATAL: readonly ErrorCode[] = ["log-corrupt", "disk-failed", "bug"];

/** Whether the node cannot go on with this. */
export function isFatal(error: unknown): boolean {
  return FATAL.some((code) => isCascadeError(error, code));
}
