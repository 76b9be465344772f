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
function scheduleStatus(runs: Runs | null, isPlanned: boolean): LinkStatus["schedule"] {
  if (runs === null) return null;
  const nextRunAtMs = isPlanned ? runs.nextAtMs : null;
  return { nextRunAtMs, lastRun: runs.last, failures: runs.failures };
}

/** All three. A paused link has no next run, nor one whose delta is on its way. */
export function deltaFields(
  course: Course | null,
  runs: Runs | null,
  map: DirtyMap | null,
  isPaused: boolean,
): Pick<LinkStatus, "delta" | "schedule" | "mapBytes"> {
  const delta = deltaStatus(course);
  return {
    delta,
    schedule: scheduleStatus(runs, delta === null && !isPaused),
    mapBytes: map?.set.countBytes() ?? null,
  };
}
