/**
 * Moving the end of a log other than by appending: back by a cut, ahead by a jump. Both are done
 * while nothing is flushed and nothing is appended, and may be cut short by a crash at any step.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { Clock } from "../ports.ts";
import type { SegmentChain } from "./chain.ts";
import type { Durability } from "./durability.ts";
import type { LogReader } from "./log_reader.ts";
import { hasHeaderOf, RECORD_HEADER_BYTES } from "./record.ts";
import { writeZeroes } from "./recovery.ts";
import { SegmentState } from "./segment.ts";
import type { SegmentFile } from "./segment_file.ts";
import type { SegmentPool } from "./segment_pool.ts";
import type { LogTail } from "./tail.ts";

/** The parts of a log that know of its end. */
export interface EndParts {
  readonly chain: SegmentChain;
  readonly durability: Durability;
  readonly pool: SegmentPool;
  readonly tail: LogTail;
  readonly clock: Clock;
  readonly segmentBytes: number;
}

/** Holds `lsn`, at which the log is to be cut, against what stands there. */
export function checkBoundary(reader: LogReader, lsn: number): void {
  const header = new Uint8Array(RECORD_HEADER_BYTES);
  reader.readAt(lsn, header);
  assert(hasHeaderOf(header, 0, lsn), "the log is cut where a record begins");
}

/**
 * Makes `lsn` the end. Recovery finds the old end, the new one, or one between:
 *
 *  1. the watermark is lowered, in the segment that stays: what is behind may be missing now;
 *  2. the segments behind are removed, the last one first: so there is never a hole, and a jump proves no more than
 *     is there;
 *  3. the rest of the segment is overwritten with zeroes: nothing of it may ever come back.
 */
export async function cutEnd(parts: EndParts, lsn: number): Promise<void> {
  const { chain, durability, pool, tail, clock } = parts;
  const { behind, oldEndLsn } = chain.cutBack(lsn);
  tail.cutBack(lsn);
  durability.cutBack(lsn);
  await durability.rewrite();
  for (const segment of behind) await pool.discard(segment);
  const { last } = chain;
  await writeZeroes(last, lsn, oldEndLsn, clock);
  await last.flush();
}

/** The segment for a jump; throws `log-full` when none can be had. */
export async function spareFrom(pool: SegmentPool): Promise<SegmentFile> {
  const spare = await pool.obtain();
  if (spare !== null) return spare;
  throw new CascadeError("log-full", "no segment is free to go on in", { retryable: true });
}

/**
 * Makes `toLsn` the end, in `spare`. Recovery finds the old end or the new one:
 *
 *  1. all that was appended is flushed: the header that comes next is proof of it;
 *  2. the header is written and flushed. From here on the log ends at `toLsn`;
 *  3. only then the watermark: alone it would say that records are durable which nobody ever had.
 */
export async function jumpEnd(parts: EndParts, spare: SegmentFile, toLsn: number): Promise<void> {
  const { chain, durability, tail } = parts;
  await durability.flush();
  assert(durability.durableLsn === chain.endLsn, "nothing is appended during a jump");
  spare.beginAt(toLsn, chain.endLsn);
  spare.writeHeader(SegmentState.STREAM, parts.segmentBytes);
  await spare.flush();
  durability.writeJump(spare);
  await spare.flush();
  chain.jump(spare);
  durability.jump(toLsn);
  tail.jump(toLsn);
}
