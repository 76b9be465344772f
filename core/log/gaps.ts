/**
 * Gaps: what is not in the log because it came as a delta. Records end where a gap begins, and go on
 * where it ends.
 *
 * @module
 */
import type { SegmentFile } from "./segment_file.ts";

/** What a log does not hold between two of its segments. */
export interface Gap {
  /** Where the records before it end. */
  readonly fromLsn: number;
  /** Where the records after it begin. */
  readonly toLsn: number;
}

/** The gaps between segments, which are in order. One before the first segment is none. */
export function gapsOf(segments: readonly SegmentFile[]): Gap[] {
  const gaps: Gap[] = [];
  for (const [index, { jumpFromLsn, baseLsn }] of segments.entries()) {
    if (index > 0 && jumpFromLsn !== null) gaps.push({ fromLsn: jumpFromLsn, toLsn: baseLsn });
  }
  return gaps;
}

/** Up to where jumps alone prove that the log reaches: 0 without any. */
export function provenBy(segments: readonly SegmentFile[]): number {
  return segments.findLast(({ jumpFromLsn }) => jumpFromLsn !== null)?.baseLsn ?? 0;
}

/** Bytes of records in [fromLsn, toLsn): what came as a delta does not count. */
export function recordBytesIn(gaps: readonly Gap[], fromLsn: number, toLsn: number): number {
  let bytes = toLsn - fromLsn;
  for (const gap of gaps) {
    const [first, last] = [Math.max(gap.fromLsn, fromLsn), Math.min(gap.toLsn, toLsn)];
    if (first < last) bytes -= last - first;
  }
  return bytes;
}
