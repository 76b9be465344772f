/**
 * Where in a node's log a mark stands, or a moment: places at which the history may be cut without tearing
 * what the primary took in one go. A batch has one time, and so ends on one side of any moment.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { DeltaShelf } from "../delta/delta_shelf.ts";
import { RECORD_BYTES_MAX } from "../limits.ts";
import type { Log } from "../log/log.ts";
import { RECORD_HEADER_BYTES, RecordReader, RecordType } from "../log/record.ts";
import type { Bytes, Clock } from "../ports.ts";
import type { Mark, MarkIndex } from "./mark_index.ts";

/** What a restart, and marks, may have added since a mark was set. */
const NOTES_BYTES_MAX = 4096;

/** A node's log, as far as it is looked into here; {@linkcode Pipeline} is one. */
export interface Found {
  readonly log: Log;
  readonly shelf: DeltaShelf;
  readonly marks: MarkIndex;
  readonly stableLsn: number;
}

/** Where a walk by time has come. */
export interface TimeStep {
  /** All below was made at or before the moment, as far as was looked. */
  readonly lsn: number;
  /** What comes next was made later, or there is nothing more. */
  readonly isOver: boolean;
}

/** Looks at the times of records, a piece of the log at a time. Its buffer is made when it is needed. */
export class TimeWalk {
  readonly #node: Found;
  readonly #record = new RecordReader();
  #buffer: Bytes | null = null;

  constructor(node: Found) {
    this.#node = node;
  }

  /** Goes on from `lsn`, where a record or a gap begins, over what was made at or before `timeMs`. */
  step(lsn: number, timeMs: number): TimeStep {
    const { log, shelf, stableLsn } = this.#node;
    if (lsn >= stableLsn) return { lsn, isOver: true };
    if (log.gapAt(lsn) !== null) {
      // A delta is one moment: the one at its end.
      const delta = shelf.covering(lsn);
      const isLate = delta === null || delta.trailer.timeMs > timeMs || delta.toLsn > stableLsn;
      return isLate ? { lsn, isOver: true } : { lsn: delta.toLsn, isOver: false };
    }
    const buffer = this.#buffer ??= new Uint8Array(RECORD_BYTES_MAX);
    const bytes = log.read(lsn, buffer, Math.min(stableLsn, log.nextGap(lsn)?.fromLsn ?? Infinity));
    for (let at = 0; at < bytes; at += this.#record.totalBytes) {
      if (this.#record.at(buffer, at).timeMs > timeMs) return { lsn: lsn + at, isOver: true };
    }
    return { lsn: lsn + bytes, isOver: bytes === 0 };
  }

  /** The time of the record at `lsn`; null: none is there. */
  timeAt(lsn: number): number | null {
    const { log } = this.#node;
    if (lsn < log.startLsn || lsn >= log.endLsn || log.gapAt(lsn) !== null) return null;
    const header = new Uint8Array(RECORD_HEADER_BYTES);
    log.readAt(lsn, header);
    return this.#record.at(header, 0).timeMs;
  }
}

/**
 * The end of the last record that is stable here and was made at or before `timeMs` by the primary's clock.
 * Throws `not-found` when the log begins later; a moment past the end is the end.
 */
export async function lsnAtTime(node: Found, timeMs: number, clock: Clock): Promise<number> {
  const { log } = node;
  const walk = new TimeWalk(node);
  const firstMs = walk.timeAt(log.startLsn);
  if (firstMs !== null && firstMs > timeMs && log.startLsn > 0) {
    throw new CascadeError(
      "not-found",
      `the log begins at ${moment(firstMs)}, LSN ${log.startLsn}`,
      {
        where: { time: moment(timeMs) },
        hint: "What was before that is in this log no more",
      },
    );
  }
  // The last segment that begins in time: most of the log is never read.
  const bases = log.segmentBases();
  let low = 0;
  let high = bases.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    const baseMs = walk.timeAt(bases[middle] ?? 0);
    if (baseMs !== null && baseMs <= timeMs) low = middle + 1;
    else high = middle;
  }
  let lsn = bases[Math.max(0, low - 1)] ?? log.startLsn;
  for (;;) {
    const step = walk.step(lsn, timeMs);
    lsn = step.lsn;
    if (step.isOver) return lsn;
    await new Promise<void>((go) => clock.soon(go));
  }
}

/**
 * The least LSN of which volumes at `appliedLsn` can become the image: where a node left an abandoned epoch they are that
 * one's until the delta is applied that leads on.
 */
export function firstImageLsn({ shelf }: Pick<Found, "shelf">, appliedLsn: number): number {
  const next = shelf.following(appliedLsn);
  return next?.header.mends === true ? next.toLsn : appliedLsn;
}

/** The primary's time of the last record before `lsn`, where one ends; null: none is there. */
export function timeBefore({ log }: Found, lsn: number): number | null {
  const buffer = new Uint8Array(RECORD_BYTES_MAX);
  const record = new RecordReader();
  let timeMs: number | null = null;
  for (let at = log.segmentBases().findLast((base) => base < lsn) ?? lsn; at < lsn;) {
    const bytes = log.gapAt(at) !== null ? 0 : log.read(at, buffer, lsn);
    if (bytes === 0) return timeMs;
    for (let place = 0; place < bytes; place += record.totalBytes) {
      timeMs = record.at(buffer, place).timeMs;
    }
    at += bytes;
  }
  return timeMs;
}

/** Whether nothing in [fromLsn, toLsn), where records begin and end, writes: both stand for one image. */
export function isSameImage({ log }: Found, fromLsn: number, toLsn: number): boolean {
  if (fromLsn === toLsn) return true;
  if (toLsn - fromLsn > NOTES_BYTES_MAX || log.gapAt(fromLsn) !== null) return false;
  const buffer = new Uint8Array(NOTES_BYTES_MAX);
  const record = new RecordReader();
  let lsn = fromLsn;
  while (lsn < toLsn) {
    const bytes = log.read(lsn, buffer, toLsn);
    if (bytes === 0) return false;
    for (let at = 0; at < bytes; at += record.totalBytes) {
      const { type } = record.at(buffer, at);
      if (type !== RecordType.MARK && type !== RecordType.EPOCH) return false;
    }
    lsn += bytes;
  }
  return true;
}

/** The newest mark of that name in the node's log. Throws `not-found`, naming those that are there. */
export function markNamed({ marks, log }: Found, name: string): Mark {
  const all = marks.from(log.startLsn);
  const mark = all.findLast((candidate) => candidate.name === name);
  if (mark !== undefined) return mark;
  const newest = all.slice(-5).map((candidate) => candidate.name).join(", ");
  throw new CascadeError("not-found", `there is no mark "${name}" in this node's log`, {
    hint: all.length === 0
      ? "It holds none. A mark inside a delta of a periodic link is on the nodes above alone"
      : `It holds ${newest}; \`cascade marks\` lists all`,
  });
}

/**
 * Whether a record begins at `lsn`, or the stable log ends there: where an image may be asked for. A walk from
 * the segment's beginning, since a record is known by the one before it alone.
 */
export async function isBoundary(node: Found, lsn: number, clock: Clock): Promise<boolean> {
  const { log, stableLsn } = node;
  if (lsn === stableLsn) return true;
  if (lsn > stableLsn || lsn < log.startLsn) return false;
  const gap = log.gapAt(lsn);
  if (gap !== null) return gap.fromLsn === lsn;
  const buffer = new Uint8Array(RECORD_BYTES_MAX);
  const record = new RecordReader();
  let at = log.segmentBases().findLast((base) => base <= lsn) ?? log.startLsn;
  while (at < lsn) {
    const bytes = log.read(at, buffer, Math.min(stableLsn, log.nextGap(at)?.fromLsn ?? Infinity));
    if (bytes === 0) return false;
    for (let place = 0; place < bytes && at < lsn; place += record.totalBytes) {
      at += record.at(buffer, place).totalBytes;
    }
    await new Promise<void>((go) => clock.soon(go));
  }
  return at === lsn;
}

/** A time as people and other programs read it. */
export function moment(timeMs: number): string {
  return new Date(timeMs).toISOString();
}
