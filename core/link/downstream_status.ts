/**
 * What the upstream end of a link tells of its peer, its delta and its runs, for the status.
 *
 * @module
 */
import type { LinkConfig, LinkMode } from "../config.ts";
import type { LinkState, LinkStatus } from "../status.ts";
import type { Course } from "./course.ts";
import type { Ack } from "./frames.ts";
import type { LinkHost } from "./host.ts";
import type { Runs } from "./runs.ts";
import type { Wire } from "./wire.ts";

/** What a link does whose peer is connected. */
export function connectedState(
  mode: LinkMode,
  course: Course | null,
  isClose: boolean,
  isJoined: boolean,
): LinkState {
  if (course?.courier) return "delta";
  if (course?.refused) return course.waits ? "waiting" : "refused";
  if (mode === "periodic") return "waiting";
  return (mode === "sync" ? isJoined : isClose) ? "streaming" : "catching-up";
}

/** Which link it is, and what carries it. */
export function linkFields(
  { name, from, to, mode }: LinkConfig,
  wire: Wire | null,
): Pick<LinkStatus, "name" | "from" | "to" | "mode" | "transport" | "fallback"> {
  const transport = wire?.channel.transport ?? null;
  return { name, from, to, mode, transport, fallback: wire?.fallback ?? null };
}

/** Where the peer stands, as it last told, and how far behind that is. */
export function peerFields(
  { pipeline, times, tide }: Pick<LinkHost, "pipeline" | "times" | "tide">,
  ack: Ack | null,
): Pick<LinkStatus, "received" | "durable" | "applied" | "epochId" | "lagBytes" | "lagSeconds"> {
  if (ack === null) {
    const lag = { lagBytes: null, lagSeconds: null };
    return { received: null, durable: null, applied: null, epochId: null, ...lag };
  }
  const { receivedLsn: received, durableLsn: durable, appliedLsn: applied, epochId } = ack;
  const lagBytes = Math.max(0, pipeline.appendedLsn - durable);
  const lagSeconds = lagBytes === 0 ? 0 : times.ageSeconds(durable, tide.timeMs());
  return { received, durable, applied, epochId, lagBytes, lagSeconds };
}

/** The delta that is being shipped, or null. */
function deltaStatus(course: Course | null): LinkStatus["delta"] {
  const courier = course?.courier ?? null;
  if (course === null || courier === null) return null;
  const { header, bytesExpected } = courier.source;
  return {
    id: header.id,
    fromLsn: header.fromLsn,
    toLsn: header.toLsn,
    bytesTotal: Math.ceil(bytesExpected),
    bytesSent: courier.sentBytes,
    bytesStaged: courier.stagedBytes,
    phase: courier.phase,
    startedAtMs: course.startedAtMs,
  };
}

/** Runs of a periodic link; null of any other. */
function scheduleStatus(runs: Runs | null, isPlanned: boolean): LinkStatus["schedule"] {
  if (runs === null) return null;
  const nextRunAtMs = isPlanned ? runs.nextAtMs : null;
  return { nextRunAtMs, lastRun: runs.last, failures: runs.failures };
}

/** All of it. A paused link has no next run, nor one whose delta is on its way. */
export function deltaFields(
  course: Course | null,
  runs: Runs | null,
  mapBytes: number | null,
  isPaused: boolean,
): Pick<LinkStatus, "delta" | "schedule" | "mapBytes" | "verify"> {
  const delta = deltaStatus(course);
  return {
    delta,
    schedule: scheduleStatus(runs, delta === null && !isPaused),
    mapBytes,
    // The node knows, not the link.
    verify: null,
  };
}
