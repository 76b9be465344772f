/**
 * How a node stands, as it tells the others.
 *
 * @module
 */
import { CascadeError, describeError } from "./errors.ts";
import type { CascadeNode } from "./node.ts";
import { type Standing, standingSchema } from "./tree/asks.ts";

/** How often it is looked whether something is so, ms. */
export const LOOK_MS = 20;
const EPOCHS_TOLD = 100;

/** How a node stands. */
export function standingOf(node: CascadeNode): Standing {
  const { pipeline, deltas, tree: { seat }, tide, times } = node;
  const isKnown = tide.known;
  const endLsn = pipeline.appendedLsn;
  const behind = isKnown ? Math.max(0, tide.endLsn() - endLsn) : 0;
  const lagSeconds = pipeline.reigns || behind === 0
    ? 0
    : times.ageSeconds(endLsn, tide.timeMs() - tide.silenceMs(), tide.caughtUpTimeMs);
  return {
    node: node.config.name,
    state: node.phase,
    reigns: pipeline.reigns,
    isWaiting: seat.isWaiting,
    hasVolumes: node.config.volumes.some(({ path }) => path !== null),
    isWhole: !deltas.isFresh && !deltas.isInPlace && !deltas.isRejoining,
    deciding: node.orders.deciding,
    paused: node.hub.downstream.filter((link) => link.pausedWhy !== null)
      .map(({ config }) => config.to),
    view: seat.view,
    history: pipeline.history.epochs.slice(-EPOCHS_TOLD),
    endLsn,
    stableLsn: pipeline.stableLsn,
    appliedLsn: pipeline.appliedLsn,
    primaryEndLsn: isKnown ? tide.endLsn() : 0,
    primaryTimeMs: isKnown && !pipeline.reigns ? tide.timeMs() : 0,
    silenceMs: isKnown ? tide.silenceMs() : 0,
    lagSeconds: lagSeconds === null ? null : Math.max(0, lagSeconds),
  };
}

/** How another node stands, as it says. Throws what asking throws, and what an answer that is none throws. */
export async function askStanding({ hub }: CascadeNode, name: string): Promise<Standing> {
  return standingSchema.parse(await hub.ask(name, { ask: "standing" }));
}

/** Waits until something is so; a `false` that comes of an error counts. Throws `timed-out`, and `refused` when the node ends. */
export async function waitUntil(
  node: CascadeNode,
  timeoutMs: number,
  otherwise: string,
  isSo: () => boolean | Promise<boolean>,
): Promise<void> {
  const { clock } = node.ports;
  const endMs = clock.monotonicMs() + timeoutMs;
  for (;;) {
    const { phase } = node;
    if (phase === "stopped" || phase === "failed") {
      throw new CascadeError("refused", `${node.config.name} is ${phase}`, { retryable: true });
    }
    let why: unknown = null;
    try {
      if (await isSo()) return;
    } catch (error) {
      why = error;
    }
    if (clock.monotonicMs() >= endMs) {
      const reason = why === null ? "" : `: ${describeError(why)}`;
      const message = `${otherwise} within ${timeoutMs / 1000} s${reason}`;
      throw new CascadeError("timed-out", message, { retryable: true });
    }
    await new Promise<void>((go) => clock.after(LOOK_MS, go));
  }
}
