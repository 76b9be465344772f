/**
 * What a link makes of its line, as one line of text: only where there is something to tell.
 *
 * @module
 */
import type { LinkStatus } from "../../core/status.ts";
import { approximateDuration, approximateSize, formatRate } from "../../core/topology/units.ts";

/** Round trips that are worth a word. */
const FAR_MS = 5;

/** Empty, or one remark about a link whose line is limited, compressed or long. */
export function lineRemarks({ line, mode }: LinkStatus): string[] {
  if (line === null) return [];
  const isWorth = line.limit !== null || line.limitedBy !== null || line.level !== null ||
    (line.roundTripMs ?? 0) >= FAR_MS;
  if (!isWorth) return [];
  const parts = [
    line.limit === null ? "no limit" : `at most ${formatRate(line.limit)}`,
    ...(line.limitedBy === "operator" ? ["by `cascade limit`"] : []),
    ...(line.level === null ? [] : [ratioText(line)]),
    ...(line.throttledMs >= 1000 ? [`held up for ${approximateDuration(line.throttledMs)}`] : []),
    ...(line.roundTripMs === null ? [] : [`round trip ${milliseconds(line.roundTripMs)}`]),
    ...(mode === "sync" && line.latencyMs !== null
      ? [`clients wait ${milliseconds(line.latencyMs)}`]
      : []),
  ];
  return [parts.join(", ")];
}

function ratioText({ rawBytes, wireBytes, level }: NonNullable<LinkStatus["line"]>): string {
  if (wireBytes === 0) return `zstd ${level}`;
  const saved = approximateSize(Math.max(0, rawBytes - wireBytes));
  return `zstd ${level} at ${(rawBytes / wireBytes).toFixed(2)} to 1 (${saved} spared)`;
}

function milliseconds(ms: number): string {
  return ms >= 10 ? `${Math.round(ms)}ms` : `${ms.toFixed(1)}ms`;
}
