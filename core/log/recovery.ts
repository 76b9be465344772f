/**
 * Recovery: what a log holds, read from end to end, and what must be set right before it goes on.
 *
 * Reading ({@linkcode recover}), which changes nothing:
 *
 *  1. The header page of every segment file is read. Free ones are spare; a damaged one is kept
 *     aside until it is known whether it is needed.
 *  2. The checkpoint, the newest watermark (highest sequence, in whichever file) and the first LSN of
 *     the newest jump tell what is **known durable**. The header of any other later segment does
 *     not: the system may write it out by itself before the end of the segment before it was ever
 *     flushed. That of a jump is written only after that flush.
 *  3. The stream segments are walked in the order of their first LSNs; every record is checked. A
 *     segment ends where the next one begins; before a jump, where that one says, whatever stands
 *     behind.
 *  4. The log ends at the first place where no whole record with the right LSN stands, or one of
 *     an older epoch (a recycled file holds older bytes).
 *  5. If that lies below what is known durable it is damage: it is told with its place. Else it is
 *     a torn end: what was not flushed when the power went. Any sectors of it may have survived in
 *     any order, so whole records behind the hole prove nothing.
 *
 * Setting right ({@linkcode settle}), which may be cut short at any step and begun again:
 *
 *  6. The folder is flushed: a name may be there only in memory.
 *  7. What is not known durable is written again before it is flushed: after a flush that failed,
 *     memory may show as written what the disk never got, and a second flush would not tell.
 *  8. If anything behind the end could one day be taken for a record in its place (the rest of a torn
 *     end: new records up to exactly there would make it the next), it is overwritten with zeroes.
 *  9. The segments of steps 7 and 8 are flushed, oldest first; then a watermark that says so is
 *     written and flushed.
 * 10. Segments behind the end, and files of which nothing is known or needed, are removed, and the
 *     folder is flushed. Last, since one of them may hold the newest watermark.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { Epoch } from "../history.ts";
import { REWRITE_BYTES } from "../limits.ts";
import type { Mark } from "../marks/mark_index.ts";
import type { Clock } from "../ports.ts";
import { type Gap, gapsOf, provenBy } from "./gaps.ts";
import { markIn, readEpoch, RECORD_HEADER_BYTES, RecordType } from "./record.ts";
import { SegmentState, type Watermark } from "./segment.ts";
import type { SegmentFile, SegmentFolder } from "./segment_file.ts";
import { type Damage, type Survey, survey } from "./survey.ts";
import { Walker } from "./walk.ts";

/** What recovery met. */
export interface RecoveryReport {
  readonly records: number;
  /**
   * How far behind the end something stood that had been meant for this log and was not flushed; 0
   * when the end is clean.
   */
  readonly tornBytes: number;
  /** What stood at the end of the log. */
  readonly endReason: string;
  /** Epoch records that the log holds, in order. */
  readonly epochs: readonly Epoch[];
  /** Mark records that the log holds, in order. */
  readonly marks: readonly Mark[];
  /** Epoch of the last record; 0 in an empty log. */
  readonly lastEpoch: number;
  /** The primary's time in the last record; 0 in an empty log. */
  readonly lastTimeMs: number;
  /** What the log does not hold between its segments, since it came as a delta; in order. */
  readonly gaps: readonly Gap[];
  /** Damage that the log can do without: to be told, not fatal. */
  readonly damage: readonly Damage[];
}

/** What is on the disk. */
export interface RecoveredLog {
  /** Those of the log, in order; their ends are set. */
  readonly segments: SegmentFile[];
  /** Stream segments behind the end. */
  readonly behind: readonly SegmentFile[];
  readonly survey: Survey;
  readonly watermark: Watermark;
  readonly knownDurableLsn: number;
  readonly endLsn: number;
  readonly report: RecoveryReport;
}

const NO_WATERMARK: Watermark = { sequence: 0, durableLsn: 0, upstreamMark: 0 };

/** Steps 1 to 5. Throws `log-corrupt`, `wrong-folder`. */
export async function recover(
  folder: SegmentFolder,
  clock: Clock,
  checkpointLsn: number,
): Promise<RecoveredLog> {
  const found = survey(folder);
  const watermark = watermarkOf(found);
  const knownDurableLsn = Math.max(checkpointLsn, watermark.durableLsn);
  const epochs: Epoch[] = [];
  const marks: Mark[] = [];
  const last = { records: 0, lastEpoch: 0, lastTimeMs: 0 };
  const walker = new Walker(clock, (record, bytes) => {
    last.records++;
    last.lastEpoch = record.epoch;
    last.lastTimeMs = record.timeMs;
    if (record.type === RecordType.EPOCH) epochs.push(readEpoch(bytes, record));
    else if (record.type === RecordType.MARK) marks.push(markIn(bytes, record));
  });
  const first = found.streams[0];
  if (first === undefined && knownDurableLsn > 0) {
    throw corrupt(found, folder.path, 0, "there is no segment", knownDurableLsn);
  }
  if (first !== undefined && first.baseLsn > checkpointLsn) {
    const reason = `the log begins at LSN ${first.baseLsn}`;
    throw corrupt(found, first, checkpointLsn, reason, knownDurableLsn);
  }
  const { segments, endReason } = await walkAll(found, walker, knownDurableLsn);
  const endLsn = segments.at(-1)?.endLsn ?? 0;
  const behind = found.streams.slice(segments.length);
  const tornBytes = await seekTorn(segments.at(-1), behind.at(-1), walker);
  return {
    segments,
    behind,
    survey: found,
    watermark,
    knownDurableLsn,
    endLsn,
    report: {
      ...last,
      tornBytes,
      endReason,
      epochs,
      marks,
      gaps: gapsOf(segments),
      damage: found.damage,
    },
  };
}

/** Step 2, but for the checkpoint. The watermark that goes with a jump may not have come to be. */
function watermarkOf({ watermark, streams }: Survey): Watermark {
  const { sequence, durableLsn, upstreamMark } = watermark ?? NO_WATERMARK;
  const provenLsn = provenBy(streams);
  return {
    sequence,
    durableLsn: Math.max(durableLsn, provenLsn),
    upstreamMark: Math.max(upstreamMark, provenLsn),
  };
}

/** Steps 3 to 5. */
async function walkAll(
  found: Survey,
  walker: Walker,
  knownDurableLsn: number,
): Promise<{ segments: SegmentFile[]; endReason: string }> {
  const segments: SegmentFile[] = [];
  let endReason = "the log is empty";
  for (const [index, file] of found.streams.entries()) {
    const nextLsn = found.streams[index + 1]?.joinLsn ?? Infinity;
    const { lsn, reason } = await walker.walk(file, file.baseLsn, nextLsn);
    file.endLsn = lsn;
    segments.push(file);
    endReason = reason;
    if (lsn === nextLsn) continue;
    const overlap = lsn > nextLsn;
    endReason = overlap ? `a record reaches over LSN ${nextLsn}, where the segment ends` : reason;
    if (overlap || lsn < knownDurableLsn) {
      throw corrupt(found, file, lsn, endReason, knownDurableLsn);
    }
    break;
  }
  return { segments, endReason };
}

/** How far behind the end something stands that looks like a record in its place. */
async function seekTorn(
  last: SegmentFile | undefined,
  lastBehind: SegmentFile | undefined,
  walker: Walker,
): Promise<number> {
  if (last === undefined) return 0;
  let lastLsn = lastBehind?.baseLsn ?? last.endLsn;
  await walker.seekHeaders(last, last.endLsn, (lsn) => {
    lastLsn = Math.max(lastLsn, lsn + RECORD_HEADER_BYTES);
    return false;
  });
  return lastLsn - last.endLsn;
}

function corrupt(
  found: Survey,
  at: SegmentFile | string,
  lsn: number,
  reason: string,
  knownDurableLsn: number,
): CascadeError {
  const place = typeof at === "string"
    ? { folder: at }
    : { file: at.path, offset: lsn < at.baseLsn ? 0 : at.offsetOf(lsn) };
  // A segment whose header is damaged may be the one that is missed.
  const headers = found.unknown.map(({ path }) => path).join(", ");
  return new CascadeError(
    "log-corrupt",
    `the log is damaged: ${reason}, but it is known to be durable up to LSN ${knownDurableLsn}`,
    {
      where: { ...place, LSN: lsn, ...(headers === "" ? {} : { "damaged header": headers }) },
      hint: "Nothing was changed. Look after the disk; `cascade log check` lists the damage. A " +
        "node below the primary can be filled anew: remove its folder and its volumes",
    },
  );
}

/** Steps 6 to 10. What is returned is all that is left: durable, up to its end. */
export async function settle(
  folder: SegmentFolder,
  clock: Clock,
  log: RecoveredLog,
): Promise<Watermark> {
  const { segments, behind, survey: found, endLsn } = log;
  await folder.disk.flushFolder(folder.path);
  const upstreamMark = Math.min(log.watermark.upstreamMark, endLsn);
  const watermark = { sequence: log.watermark.sequence + 1, durableLsn: endLsn, upstreamMark };
  const last = segments.at(-1);
  if (last !== undefined) await settleEnd(log, last, watermark, clock);
  const useless = [...behind, ...found.unfinished, ...found.unknown];
  for (const file of useless) file.remove();
  if (useless.length > 0) await folder.disk.flushFolder(folder.path);
  return watermark;
}

/** Steps 7 to 9. */
async function settleEnd(
  log: RecoveredLog,
  last: SegmentFile,
  watermark: Watermark,
  clock: Clock,
): Promise<void> {
  const { segments, endLsn } = log;
  const unsure = segments.filter((file) => file === last || file.endLsn > log.knownDurableLsn);
  for (const file of unsure) {
    await writeAgain(file, Math.max(file.baseLsn, log.knownDurableLsn), clock);
  }
  if (log.report.tornBytes > 0) await writeZeroes(last, endLsn, last.limitLsn(), clock);
  for (const file of unsure) await file.flush();
  last.writeWatermark(watermark, false);
  await last.flush();
}

/** Step 7: the header, and the records from `fromLsn` on. */
async function writeAgain(file: SegmentFile, fromLsn: number, clock: Clock): Promise<void> {
  file.writeHeader(SegmentState.STREAM, file.sizeBytes());
  const buffer = new Uint8Array(REWRITE_BYTES);
  for (let lsn = fromLsn; lsn < file.endLsn; lsn += buffer.length) {
    const piece = buffer.subarray(0, Math.min(buffer.length, file.endLsn - lsn));
    file.readAt(piece, file.offsetOf(lsn));
    file.writeAt(piece, file.offsetOf(lsn));
    await new Promise<void>((go) => clock.soon(go));
  }
}

/** Overwrites [fromLsn, toLsn) of a segment with zeroes; not flushed. */
export async function writeZeroes(
  file: SegmentFile,
  fromLsn: number,
  toLsn: number,
  clock: Clock,
): Promise<void> {
  assert(toLsn <= file.limitLsn(), "zeroes stay within the file");
  const zeroes = new Uint8Array(REWRITE_BYTES);
  for (let lsn = fromLsn; lsn < toLsn; lsn += zeroes.length) {
    file.writeAt(zeroes.subarray(0, Math.min(zeroes.length, toLsn - lsn)), file.offsetOf(lsn));
    await new Promise<void>((go) => clock.soon(go));
  }
}
