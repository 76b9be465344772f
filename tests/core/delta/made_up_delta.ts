/**
 * A small delta made up of runs, for tests of what stages, forwards and applies deltas.
 *
 * @module
 */
import { writeRun } from "../../../core/delta/delta_body.ts";
import type { DeltaHeader, DeltaTrailer } from "../../../core/delta/delta_format.ts";
import { recordBytes, RecordType } from "../../../core/log/record.ts";
import { makeEpoch } from "../../support/small.ts";

/** One run; a write's bytes are all `fill`. */
export interface MadeUpRun {
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  /** Null: a zero. */
  readonly fill: number | null;
  readonly pass?: number;
}

/** The body of these runs, and where each of its records begins; the end last. */
export function makeBody(runs: readonly MadeUpRun[]): {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly starts: readonly number[];
} {
  const typeOf = ({ fill }: MadeUpRun) => fill === null ? RecordType.ZERO : RecordType.WRITE;
  const total = runs.reduce((sum, run) => sum + recordBytes(typeOf(run), run.length), 0);
  const bytes = new Uint8Array(total);
  const starts = [0];
  let at = 0;
  for (const run of runs) {
    const { volume, offset, length, fill, pass = 1 } = run;
    const payload = new Uint8Array(fill === null ? 0 : length).fill(fill ?? 0);
    const parts = { type: typeOf(run), flags: 0, volume, offset, length, source: null };
    at += writeRun(bytes, at, parts, pass, at, payload);
    starts.push(at);
  }
  return { bytes, starts };
}

export function makeDeltaHeader(change: Partial<DeltaHeader> = {}): DeltaHeader {
  return {
    id: "ab".repeat(16),
    cluster: "payroll",
    epochId: makeEpoch(1, 0).id,
    fromLsn: 0,
    source: "log",
    toLsn: 1600,
    sinceLsn: 0,
    full: false,
    volumes: [{ name: "data", sizeBytes: 1_000_000 }],
    ...change,
  };
}

/** Commits a body of so many bytes. */
export function makeDeltaTrailer(
  bodyBytes: number,
  change: Partial<DeltaTrailer> = {},
): DeltaTrailer {
  return {
    id: "ab".repeat(16),
    toLsn: 1600,
    bodyBytes,
    records: 1,
    payloadBytes: 0,
    logBytes: 1600,
    history: [makeEpoch(1, 0)],
    timeMs: 1000,
    ...change,
  };
}
