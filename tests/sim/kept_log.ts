/**
 * What a simulated node keeps of a history that went on without it: read from its files, byte by byte, and not by way
 * of the node.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { SEGMENT_HEADER_BYTES } from "../../core/limits.ts";
import { checkRecord, RecordReader, RecordType } from "../../core/log/record.ts";
import { decodeHeaderPage, HEADER_PAGE_READ_BYTES, SegmentState } from "../../core/log/segment.ts";
import type { HostDisk } from "./disk.ts";

/** A record that is kept. */
interface Kept {
  readonly type: RecordType;
  readonly offset: number;
  readonly length: number;
  readonly payload: Uint8Array;
}

/** See the module's text. */
export class KeptLog {
  readonly folder: string;
  /** By where they end. */
  readonly #records: ReadonlyMap<number, Kept>;

  private constructor(folder: string, records: ReadonlyMap<number, Kept>) {
    this.folder = folder;
    this.#records = records;
  }

  /** The one that begins at `fromLsn` and has all up to `endLsn`, or more; null: there is none. */
  static find(disk: HostDisk, folder: string, fromLsn: number, endLsn: number): KeptLog | null {
    if (!disk.names.has(folder)) return null;
    for (const name of disk.names.list(folder)) {
      const [, from, to] = name.split("-").map(Number);
      if (from !== fromLsn || to === undefined || to < endLsn) continue;
      return new KeptLog(`${folder}/${name}`, readAll(disk, `${folder}/${name}`));
    }
    return null;
  }

  /** Whether it has what a client wrote. */
  holds(op: {
    readonly offset: number;
    readonly payload: Uint8Array | null;
    readonly length: number;
    readonly endLsn: number;
  }): boolean {
    const kept = this.#records.get(op.endLsn);
    if (kept === undefined || kept.offset !== op.offset || kept.length !== op.length) return false;
    if (op.payload === null) return kept.type === RecordType.ZERO || kept.type === RecordType.TRIM;
    return kept.type === RecordType.WRITE && Buffer.compare(kept.payload, op.payload) === 0;
  }
}

function readAll(disk: HostDisk, folder: string): Map<number, Kept> {
  const records = new Map<number, Kept>();
  for (const name of disk.names.list(folder)) {
    const image = disk.image(`${folder}/${name}`);
    if (image === null || !name.endsWith(".seg")) continue;
    const bytes = new Uint8Array(image.size);
    image.read(bytes, 0);
    const { header } = decodeHeaderPage(bytes.subarray(0, HEADER_PAGE_READ_BYTES));
    if (header.kind !== "whole" || header.value.state !== SegmentState.STREAM) continue;
    const record = new RecordReader();
    for (let at = SEGMENT_HEADER_BYTES; at < bytes.length; at += record.totalBytes) {
      if (checkRecord(bytes, at, bytes.length - at) !== null) break;
      record.at(bytes, at);
      if (record.lsn !== header.value.baseLsn + at - SEGMENT_HEADER_BYTES) break;
      const payload = bytes.slice(record.payloadStart, record.payloadStart + record.length);
      const { type, offset, length } = record;
      records.set(record.lsn + record.totalBytes, { type, offset, length, payload });
    }
  }
  return records;
}
