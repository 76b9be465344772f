/**
 * Walking over the records of a segment: from one to the next while they are whole, and from damage
 * on to the next thing that looks like a record.
 *
 * Reads from the disk alone, in large pieces, and lets the event loop go on between two of them.
 *
 * @module
 */
import { RECOVERY_READ_BYTES } from "../limits.ts";
import type { Clock } from "../ports.ts";
import {
  checkRecord,
  CUT_SHORT,
  hasHeaderOf,
  RECORD_ALIGN_BYTES,
  RECORD_HEADER_BYTES,
  RECORD_MAGIC,
  RecordReader,
} from "./record.ts";
import type { SegmentFile } from "./segment_file.ts";

/** Called with every whole record, in order; `bytes` is the buffer that `record` points into. */
export type RecordVisitor = (record: RecordReader, bytes: Uint8Array, file: SegmentFile) => void;

/** Where a walk ended, and what stood there instead of the next record. */
export interface WalkEnd {
  readonly lsn: number;
  readonly reason: string;
}

const SEGMENT_FULL = "the segment is full";

/** One walk over a log: the segments are given one after the other, in their order. */
export class Walker {
  readonly #clock: Clock;
  readonly #visit: RecordVisitor;
  readonly #record = new RecordReader();
  #buffer = new Uint8Array(0);
  /** Epochs never go back in a log: an older one is what a file held in an earlier life. */
  #epoch = 0;
  #fault = "";

  constructor(clock: Clock, visit: RecordVisitor) {
    this.#clock = clock;
    this.#visit = visit;
  }

  /** The LSN at which the file ends. The buffer holds a small file, or a good piece of a large one. */
  #begin(file: SegmentFile): number {
    const bytes = Math.min(RECOVERY_READ_BYTES, file.sizeBytes());
    if (this.#buffer.length < bytes) this.#buffer = new Uint8Array(bytes);
    return file.limitLsn();
  }

  /** Takes record after record from `fromLsn` until none follows, or `untilLsn` is reached. */
  async walk(file: SegmentFile, fromLsn: number, untilLsn: number): Promise<WalkEnd> {
    const endLsn = this.#begin(file);
    let lsn = fromLsn;
    for (;;) {
      const wanted = Math.min(this.#buffer.length, endLsn - lsn);
      if (wanted <= 0) return { lsn, reason: SEGMENT_FULL };
      const bytes = this.#buffer.subarray(0, wanted);
      file.readAt(bytes, file.offsetOf(lsn));
      const taken = this.#takeRecords(file, bytes, lsn, untilLsn);
      lsn += taken;
      const more = this.#fault === CUT_SHORT && wanted === this.#buffer.length && taken > 0;
      if (!more) return { lsn, reason: this.#fault };
      await new Promise<void>((go) => this.#clock.soon(go));
    }
  }

  /** Takes whole records from `bytes`; returns how many bytes, and notes why it stopped. */
  #takeRecords(file: SegmentFile, bytes: Uint8Array, lsn: number, untilLsn: number): number {
    const record = this.#record;
    let at = 0;
    this.#fault = "the next segment begins here";
    while (lsn + at < untilLsn) {
      const fault = checkRecord(bytes, at, bytes.length - at);
      if (fault !== null) {
        this.#fault = fault;
        break;
      }
      record.at(bytes, at);
      if (record.lsn !== lsn + at) {
        this.#fault = `a record of LSN ${record.lsn}`;
        break;
      }
      if (record.epoch < this.#epoch) {
        this.#fault = `a record of epoch ${record.epoch}, older than ${this.#epoch}`;
        break;
      }
      this.#epoch = record.epoch;
      this.#visit(record, bytes, file);
      at += record.totalBytes;
    }
    return at;
  }

  /**
   * Looks from `fromLsn` on for headers that belong exactly where they stand, whole or not, and
   * calls `meet` with the LSN of each until that returns true.
   */
  async seekHeaders(
    file: SegmentFile,
    fromLsn: number,
    meet: (lsn: number) => boolean,
  ): Promise<void> {
    const endLsn = this.#begin(file);
    const step = this.#buffer.length - RECORD_HEADER_BYTES + RECORD_ALIGN_BYTES;
    for (let lsn = fromLsn; lsn + RECORD_HEADER_BYTES <= endLsn; lsn += step) {
      const bytes = this.#buffer.subarray(0, Math.min(this.#buffer.length, endLsn - lsn));
      file.readAt(bytes, file.offsetOf(lsn));
      const words = new Uint32Array(bytes.buffer, 0, bytes.length >> 2);
      const last = bytes.length - RECORD_HEADER_BYTES;
      for (let at = 0; at <= last; at += RECORD_ALIGN_BYTES) {
        // The first comparison decides nearly always, so the one over words stands before it.
        if (words[at >> 2] !== MAGIC_WORD || !hasHeaderOf(bytes, at, lsn + at)) continue;
        if (meet(lsn + at)) return;
      }
      await new Promise<void>((go) => this.#clock.soon(go));
    }
  }
}

/** The magic as this machine reads a word of it. */
const MAGIC_WORD = (() => {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, RECORD_MAGIC, true);
  return new Uint32Array(bytes.buffer)[0];
})();

/** Whether a whole record of this LSN stands at its place. */
export function isRecordAt(file: SegmentFile, lsn: number, buffer: Uint8Array): boolean {
  file.readAt(buffer, file.offsetOf(lsn));
  if (checkRecord(buffer, 0, buffer.length) !== null) return false;
  return new RecordReader().at(buffer, 0).lsn === lsn;
}
