/**
 * What the status of a link tells of its delta, and of its runs.
 *
 * @module
 */
import type { DirtyMap } from "../delta/dirty_map.ts";
import type { LinkStatus } from "../status.ts";
import type { Course } from "./course.ts";
import type { Runs } from "./runs.ts";

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
function scheduleStatus(runs: Runs | null): LinkStatus["schedule"] {
  if (runs === null) return null;
  return { nextRunAtMs: runs.nextAtMs, lastRun: runs.last, failures: runs.failures };
}

/** All three. */
export function deltaFields(
  course: Course | null,
  runs: Runs | null,
  map: DirtyMap | null,
): Pick<LinkStatus, "delta" | "schedule" | "mapBytes"> {
  return {
    delta: deltaStatus(course),
    schedule: scheduleStatus(runs),
    mapBytes: map?.set.countBytes() ?? null,
  };
}
