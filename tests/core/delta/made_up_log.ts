/**
 * A log made up of records, for what reads ranges of it.
 *
 * @module
 */
import { recordBytes, RecordType, writeRecord } from "../../../core/log/record.ts";
import type { Clock } from "../../../core/ports.ts";

/** Lets the event loop go on at once. */
export const quickClock: Clock = {
  nowMs: () => 0,
  monotonicMs: () => 0,
  after: () => ({ cancel() {} }),
  soon: (call) => queueMicrotask(call),
};

/** What one record does; a write's bytes are all `fill`. */
export interface MadeUp {
  readonly type: RecordType;
  readonly flags?: number;
  readonly volume: number;
  readonly offset: number;
  readonly length: number;
  readonly fill?: number;
}

/** A log of these records from LSN 0 on, which tells at most `recordsMax` a read. */
export class MadeUpLog {
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly endLsn: number;
  readonly #starts: number[] = [];
  readonly #recordsMax: number;

  constructor(records: readonly MadeUp[], recordsMax = 3) {
    const total = records.reduce((sum, { type, length }) => sum + recordBytes(type, length), 0);
    this.bytes = new Uint8Array(total);
    this.#recordsMax = recordsMax;
    let at = 0;
    for (const { type, flags = 0, volume, offset, length, fill = 65 } of records) {
      const carries = type !== RecordType.ZERO && type !== RecordType.TRIM;
      const payload = new Uint8Array(carries ? length : 0).fill(fill);
      this.#starts.push(at);
      at += writeRecord(this.bytes, at, type, flags, volume, 1, at, offset, length, 0, payload);
    }
    this.endLsn = at;
  }

  /** Where record number `index` begins; behind the last one, the end. */
  startOf(index: number): number {
    return this.#starts[index] ?? this.endLsn;
  }

  /** How many records end at or below `lsn`. */
  countAt(lsn: number): number {
    const index = this.#starts.findIndex((start) => start >= lsn);
    return index < 0 ? this.#starts.length : index;
  }

  read(lsn: number, into: Uint8Array, limitLsn: number): number {
    const index = this.#starts.indexOf(lsn);
    const end = Math.min(limitLsn, this.#starts[index + this.#recordsMax] ?? this.endLsn);
    into.set(this.bytes.subarray(lsn, end));
    return end - lsn;
  }

  readAt(lsn: number, into: Uint8Array): void {
    into.set(this.bytes.subarray(lsn, lsn + into.length));
  }
}

/** Applies the records to blank volumes. */
export function applied(records: readonly MadeUp[], sizes: readonly number[]): Uint8Array[] {
  const images = sizes.map((size) => new Uint8Array(size));
  for (const { type, volume, offset, length, fill = 65 } of records) {
    if (type === RecordType.MARK || type === RecordType.EPOCH) continue;
    images[volume]?.fill(type === RecordType.WRITE ? fill : 0, offset, offset + length);
  }
  return images;
}
