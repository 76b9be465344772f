/**
 * An overlay that is made from the log: which bytes of the volumes records in it hold, over a stretch of it.
 * Reads the log a piece at a time, and lets the event loop go on between two pieces.
 *
 * @module
 */
import { RECORD_BYTES_MAX } from "../limits.ts";
import type { Log } from "../log/log.ts";
import { RECORD_HEADER_BYTES, RecordReader, RecordType } from "../log/record.ts";
import type { Clock } from "../ports.ts";
import type { Volume } from "./volume.ts";

/** What is laid over which volumes. */
export interface LogOverlay {
  readonly log: Log;
  /** By number. */
  readonly volumes: readonly Volume[];
  /** Up to here the volumes' files hold the log: it may grow meanwhile, and the log below may go. */
  readonly appliedLsn: () => number;
  readonly clock: Clock;
  /** Bounds the memory, for each volume: 32 bytes an extent. */
  readonly extentsMax: number;
  /** False: whoever asked for it needs it no more. */
  readonly wanted: () => boolean;
}

/** Why an overlay stops before its end. */
export type OverlayEnd = "all" | "unwanted" | "too-many" | "delta";

/**
 * Lays the records of [fromLsn, toLsn) over the volumes, but for what is applied. What came as a delta is in no
 * record: the overlay ends there. Else than "all", it is of no use before what is missing is applied.
 */
export async function overlayLog(
  { log, volumes, appliedLsn, clock, extentsMax, wanted }: LogOverlay,
  fromLsn: number,
  toLsn: number,
): Promise<{ end: OverlayEnd; lsn: number }> {
  const buffer = new Uint8Array(RECORD_BYTES_MAX);
  const record = new RecordReader();
  let lsn = fromLsn;
  while (wanted()) {
    // What was applied meanwhile is in the files, and may be gone from the log.
    lsn = Math.max(lsn, appliedLsn());
    if (lsn >= toLsn) return { end: "all", lsn };
    if (log.gapAt(lsn) !== null) return { end: "delta", lsn };
    const limitLsn = Math.min(toLsn, log.nextGap(lsn)?.fromLsn ?? Infinity);
    const bytes = log.read(lsn, buffer, limitLsn);
    for (let at = 0; at < bytes; at += record.totalBytes) note(volumes, record.at(buffer, at));
    if (volumes.some((volume) => volume.overlayCount > extentsMax)) return { end: "too-many", lsn };
    lsn += bytes;
    await new Promise<void>((go) => clock.soon(go));
  }
  return { end: "unwanted", lsn };
}

function note(volumes: readonly Volume[], record: RecordReader): void {
  const { type, offset, length, lsn } = record;
  const volume = volumes[record.volume];
  if (type === RecordType.MARK || type === RecordType.EPOCH || volume === undefined) return;
  if (type === RecordType.WRITE) volume.overlayWrite(offset, length, lsn + RECORD_HEADER_BYTES);
  else volume.overlayZero(offset, length, lsn);
}
