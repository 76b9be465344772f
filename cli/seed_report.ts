/**
 * What is told of a seed by courier.
 *
 * @module
 */
import type { Delta } from "../core/delta/delta_shelf.ts";
import { approximateDuration, approximateSize } from "../core/topology/units.ts";
import { printJson, printLine } from "./output.ts";
import type { SeedRequest } from "./seed_run.ts";

/** A seed that is done. */
export interface CourierOutcome {
  readonly kind: "seed-file" | "loaded";
  readonly node: string;
  readonly delta: Delta;
  /** In bytes of the body. */
  readonly resumedAt: number;
  readonly beganMs: number;
}

/** Prints it: one line, or one document. */
export function reportCourier(request: SeedRequest, outcome: CourierOutcome): void {
  const { kind, node, delta, resumedAt, beganMs } = outcome;
  const { header, trailer, fileBytes } = delta;
  const tookMs = performance.now() - beganMs;
  if (request.json) {
    return printJson({
      result: "done",
      kind,
      source: request.source,
      target: request.target,
      node,
      madeBy: header.seed?.node ?? null,
      madeAtMs: header.seed?.madeAtMs ?? null,
      lsn: trailer.toLsn,
      epoch: trailer.history.at(-1)?.number ?? null,
      volumes: header.volumes,
      sizeBytes: header.volumes.reduce((sum, { sizeBytes }) => sum + sizeBytes, 0),
      bodyBytes: trailer.bodyBytes,
      fileBytes,
      resumedAt,
      seconds: Math.round(tookMs) / 1000,
    });
  }
  if (request.quiet) return;
  if (resumedAt === trailer.bodyBytes && kind === "loaded") {
    return printLine(`${node} stands at LSN ${trailer.toLsn} already: nothing had to be loaded`);
  }
  const size = approximateSize(fileBytes);
  const took = `in ${approximateDuration(tookMs)}`;
  printLine(
    kind === "seed-file"
      ? `seed of ${node} at LSN ${trailer.toLsn}: ${size}, flushed and checked, ${took}`
      : `${node} stands at LSN ${trailer.toLsn}: ${size} loaded, flushed, ${took}`,
  );
}
