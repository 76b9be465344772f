/**
 * Scans of volumes that others write, in words.
 *
 * @module
 */
import type { NodeStatus } from "../../core/status.ts";
import { approximateDuration, approximateSize } from "../../core/topology/units.ts";

/** What there is to say of a node's scans; none where clients write the volumes. What failed is among the troubles. */
export function scanRemarks({ scan, nowMs }: NodeStatus): string[] {
  if (scan === null) return [];
  const since = (ms: number) => approximateDuration(Math.max(0, nowMs - ms));
  if (scan.state === "scanning") {
    const percent = Math.floor(100 * scan.bytesDone / Math.max(1, scan.bytesTotal));
    const time = scan.startedAtMs === null ? "" : `, for ${since(scan.startedAtMs)} now`;
    return [`scans ${approximateSize(scan.bytesTotal)}: ${percent}%${time}`];
  }
  const lines = scan.state === "open" ? ["what was scanned is kept open for links to read"] : [];
  if (scan.last === null) return [...lines, "not scanned yet: `cascade sync` does"];
  const { startedAtMs, endedAtMs, readBytes, changedBytes } = scan.last;
  const took = approximateDuration(Math.max(0, endedAtMs - startedAtMs));
  const found = changedBytes === 0 ? "nothing changed" : `${approximateSize(changedBytes)} changed`;
  lines.push(
    `last scan ${since(endedAtMs)} ago: ${found} of ${approximateSize(readBytes)} read, in ${took}`,
  );
  return lines;
}

/** What is wrong with them, or null. */
export function scanTrouble({ scan }: NodeStatus): string | null {
  if (scan === null || scan.reason === null || scan.state === "scanning") return null;
  return `the last scan failed: ${scan.reason}`;
}
