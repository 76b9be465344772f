/**
 * How long an outage a log budget bridges: while a peer is away its part of the log is kept, and
 * once the budget is spent the link overflows.
 *
 * @module
 */
import type { LogConfig } from "../config.ts";

/** A record's header and padding, beside a payload of a few KiB: about a fiftieth. */
const OVERHEAD = 1.02;

/** Segments that are not kept for peers: the one being written and the one being prepared. */
const SEGMENTS_IN_USE = 2;

/**
 * Milliseconds for which a peer may be away while clients write `bytesPerSecond`, and still be
 * caught up from the log. Infinite at a rate of 0.
 */
export function outageBridgedMs(
  log: Pick<LogConfig, "budgetBytes" | "segmentBytes">,
  bytesPerSecond: number,
): number {
  const kept = Math.max(0, log.budgetBytes - SEGMENTS_IN_USE * log.segmentBytes);
  return bytesPerSecond === 0 ? Infinity : kept / (bytesPerSecond * OVERHEAD) * 1000;
}
