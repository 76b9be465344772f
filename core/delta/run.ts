/**
 * One piece of a delta before it is encoded: a range of a volume, and where its content comes from.
 *
 * @module
 */
import type { RecordType } from "../log/record.ts";

/** See the module's text. Runs of one pass ascend by volume and offset, and never overlap. */
export interface Run {
  /** Number of the volume. */
  readonly volume: number;
  readonly offset: number;
  /** Bytes; of a WRITE at most `RECORD_PAYLOAD_BYTES_MAX`, of the others any. */
  readonly length: number;
  readonly type: typeof RecordType.WRITE | typeof RecordType.ZERO | typeof RecordType.TRIM;
  /** As in a record: `RecordFlag.NO_HOLE` on a ZERO. */
  readonly flags: number;
  /** WRITE: LSN of its first byte within a record's payload; null: the content is in the volume. */
  readonly source: number | null;
}
