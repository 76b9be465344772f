/**
 * Why the peer of a link is not there, in words for whoever waits for it, and what to do.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";

/** What is known of it. */
export interface Absence {
  /** Null: the link is not paused here. */
  readonly pausedWhy: string | null;
  /** Why the last connection was refused; null: it was not. */
  readonly refused: string | null;
  /** What the last connection, or the last try, ended with; null: there was none. */
  readonly reason: string | null;
  /** Where this node listens. */
  readonly listening: readonly string[];
  /** How long it was waited for. */
  readonly waitedMs: number;
}

/** See the module's text. */
export function whyAway(config: LinkConfig, absence: Absence): string {
  const { name, from, to, dial, addresses, paused } = config;
  const { pausedWhy, refused, reason, listening, waitedMs } = absence;
  if (pausedWhy !== null) {
    const cure = paused ? "remove that there" : `\`cascade resume --link ${name}\` lets it go on`;
    return `it is ${pausedWhy}; ${cure}`;
  }
  if (refused !== null) return `${to} is refused: ${refused}`;
  const within = `within ${waitedMs / 1000} s${reason === null ? "" : ` (${reason})`}`;
  const what = dial === "to"
    ? `${to} did not connect to ${from} at ${listening.join(" or ")}`
    : `${from} could not connect to ${to} at ${addresses.join(" or ")}`;
  return `${what} ${within}; start ${to}, or see what it says`;
}
