/**
 * What a node that stops gives its peers: a moment to take the last records.
 *
 * @module
 */
import type { LinkHub } from "./link/hub.ts";
import { ANSWER_TURN_MS, ANSWER_TURNS, DRAIN_TIMEOUT_MS, TICK_INTERVAL_MS } from "./node_limits.ts";
import type { Pipeline } from "./pipeline.ts";
import type { Clock } from "./ports.ts";

/** Waits until the connected peers have all that is stable, or for as long as they are given. */
export async function drainLinks(hub: LinkHub, pipeline: Pipeline, clock: Clock): Promise<void> {
  const deadlineMs = clock.monotonicMs() + DRAIN_TIMEOUT_MS;
  await pipeline.log.flushed();
  while (!hub.drained(pipeline.stableLsn) && clock.monotonicMs() < deadlineMs) {
    await new Promise<void>((go) => clock.after(TICK_INTERVAL_MS / 10, go));
  }
}

/** Waits until what was asked of a node that is about to be cut off is answered, or a second. */
export async function answersTold(hub: LinkHub, clock: Clock): Promise<void> {
  for (let i = 0; i < ANSWER_TURNS && hub.isAnswering; i++) {
    await new Promise<void>((go) => clock.after(ANSWER_TURN_MS, go));
  }
}
