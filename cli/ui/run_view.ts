/**
 * Deltas on their way, runs that were and runs to come, in words for the status.
 *
 * @module
 */
import type { DeltaStatus, LinkRun, LinkStatus } from "../../core/status.ts";
import { approximateDuration, approximateSize } from "../../core/topology/units.ts";

/** The state of a link; of a delta how far it is: `delta 42%`. */
export function stateText({ state, delta }: LinkStatus): string {
  const percent = delta === null ? null : percentOf(delta);
  return state === "delta" && percent !== null ? `${state} ${percent}` : state;
}

/** How far a delta is: what is durable at the other end, rounded down, so that 100% means all. */
export function percentOf({ bytesStaged, bytesTotal }: DeltaStatus): string | null {
  if (bytesTotal === null) return null;
  if (bytesTotal === 0) return "100%";
  return `${Math.floor(100 * Math.min(1, bytesStaged / bytesTotal))}%`;
}

/** Time until the next run, by the clock of the node that tells it: `12m30s`, `due`, `-`. */
export function nextRunText({ schedule, delta }: LinkStatus, nowMs: number): string {
  if (delta !== null) return "now";
  if (schedule === null || schedule.nextRunAtMs === null) return "-";
  const leftMs = schedule.nextRunAtMs - nowMs;
  return leftMs <= 0 ? "due" : approximateDuration(leftMs);
}

/** What there is to say of a link's delta, last run, dirty map and verification, a line each. */
export function runRemarks(status: LinkStatus, nowMs: number): string[] {
  const { delta, schedule, mapBytes } = status;
  const lastRun = schedule?.lastRun ?? null;
  return [
    ...(delta === null ? [] : [deltaText(delta, nowMs)]),
    // What failed is said among the troubles.
    ...(lastRun === null || lastRun.outcome === "failed" ? [] : [lastRunText(lastRun, nowMs)]),
    ...verifyRemarks(status, nowMs),
    ...(mapBytes === null ? [] : [`${approximateSize(mapBytes)} changed since it overflowed`]),
  ];
}

function verifyRemarks({ verify }: LinkStatus, nowMs: number): string[] {
  if (verify?.running) {
    const { comparedBytes, totalBytes } = verify.running;
    return [`being verified: ${Math.floor(100 * comparedBytes / Math.max(1, totalBytes))}%`];
  }
  if (!verify?.last || verify.last.differentBytes > verify.last.repairedBytes) return [];
  const ago = approximateDuration(Math.max(0, nowMs - verify.last.endedAtMs));
  return [`verified ${ago} ago: ${approximateSize(verify.last.comparedBytes)} compared`];
}

function deltaText(delta: DeltaStatus, nowMs: number): string {
  const total = delta.bytesTotal === null ? "" : ` of ${approximateSize(delta.bytesTotal)}`;
  const percent = percentOf(delta);
  const since = approximateDuration(Math.max(0, nowMs - delta.startedAtMs));
  return `delta${total}: ${delta.phase}${percent === null ? "" : `, ${percent}`}, for ${since} now`;
}

function lastRunText(run: LinkRun, nowMs: number): string {
  const ago = approximateDuration(Math.max(0, nowMs - run.endedAtMs));
  if (run.outcome === "nothing") return `last run ${ago} ago: nothing to send`;
  const took = approximateDuration(Math.max(0, run.endedAtMs - run.startedAtMs));
  return `last run ${ago} ago: sent ${approximateSize(run.deltaBytes)} of ` +
    `${approximateSize(run.logBytes)} written, in ${took}`;
}
