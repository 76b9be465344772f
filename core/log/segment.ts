/**
 * The segment file, version 1: a page of header, then records back to back.
 *
 *     0      512       1024      1536         4096                                segment bytes
 *     +------+---------+---------+------------+---------+---------+-----+---------+
 *     |header| slot 0  | slot 1  |   unused   | record  | record  | ... |  unused |
 *     +------+---------+---------+------------+---------+---------+-----+---------+
 *
 *     header, 512 bytes                        slot of the watermark, 512 bytes
 *     0..3    magic "CSSG"                     0..7    sequence: the highest one in a log counts
 *     4..7    version, 1                       8..15   durable: the log was flushed up to here
 *     8..11   state: 0 free, 1 stream          16..23  upstream mark: known stable upstream
 *     12..19  LSN of the first record          24..    0
 *     20..27  bytes of the file                508..511 CRC-32 of the 508 bytes before
 *     28..    0
 *     508..511 CRC-32 of the 508 bytes before
 *
 * File offset of an LSN = 4096 + (LSN - LSN of the first record). A record never spans segments:
 * a segment ends where the next record does not fit. Files are named NNNNNN.seg; the name says
 * nothing of the order, so that recycling a file needs no rename.
 *
 * Assumed of the disk: a sector of 512 bytes is written whole or not at all.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { SECTOR_BYTES, SEGMENT_HEADER_BYTES } from "../limits.ts";
import type { Bytes, DiskFile } from "../ports.ts";

/** "CSSG" */
export const SEGMENT_MAGIC = 0x47535343;
export const SEGMENT_VERSION = 1;
const CRC_AT = SECTOR_BYTES - 4;
const SLOTS = 2;

/** What a segment is for. */
export const SegmentState = { FREE: 0, STREAM: 1 } as const;
export type SegmentState = (typeof SegmentState)[keyof typeof SegmentState];

/** The first sector of a segment file. */
export interface SegmentHeader {
  readonly state: SegmentState;
  readonly baseLsn: number;
  readonly fileBytes: number;
}

/** What was known when a slot was written; see the module's text. */
export interface Watermark {
  readonly sequence: number;
  readonly durableLsn: number;
  readonly upstreamMark: number;
}

/** A header page as found: what could be read of it. */
export interface HeaderPage {
  /** null: damaged. */
  readonly header: SegmentHeader | null;
  readonly watermarks: readonly Watermark[];
  /** Slots that are neither blank nor whole. */
  readonly damagedSlots: number;
}

/** One open segment file of a log. */
export interface Segment {
  readonly name: string;
  readonly file: DiskFile;
  baseLsn: number;
  /** End of its last record; of the last segment, the end of the log. */
  endLsn: number;
}

/** File offset of `lsn` in `segment`. */
export function offsetOf(segment: Segment, lsn: number): number {
  return SEGMENT_HEADER_BYTES + lsn - segment.baseLsn;
}

/** Writes the header sector. */
export function writeSegmentHeader(file: DiskFile, header: SegmentHeader): void {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  view.setUint32(0, SEGMENT_MAGIC, true);
  view.setUint32(4, SEGMENT_VERSION, true);
  view.setUint32(8, header.state, true);
  view.setBigUint64(12, BigInt(header.baseLsn), true);
  view.setBigUint64(20, BigInt(header.fileBytes), true);
  view.setUint32(CRC_AT, crc32(sector.subarray(0, CRC_AT)), true);
  file.writeAt(sector, 0);
}

/** Writes a watermark into the slot that its sequence falls to. */
export function writeWatermark(file: DiskFile, mark: Watermark): void {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  view.setBigUint64(0, BigInt(mark.sequence), true);
  view.setBigUint64(8, BigInt(mark.durableLsn), true);
  view.setBigUint64(16, BigInt(mark.upstreamMark), true);
  view.setUint32(CRC_AT, crc32(sector.subarray(0, CRC_AT)), true);
  file.writeAt(sector, SECTOR_BYTES * (1 + mark.sequence % SLOTS));
}

/** Reads the header page of a segment file. */
export function readHeaderPage(file: DiskFile): HeaderPage {
  const page = new Uint8Array(SECTOR_BYTES * (1 + SLOTS));
  file.readAt(page, 0);
  const watermarks: Watermark[] = [];
  let damagedSlots = 0;
  for (let slot = 1; slot <= SLOTS; slot++) {
    const sector = page.subarray(SECTOR_BYTES * slot, SECTOR_BYTES * (slot + 1));
    if (sector.every((byte) => byte === 0)) continue;
    const mark = isWhole(sector) ? readWatermark(sector) : null;
    if (mark === null) damagedSlots++;
    else watermarks.push(mark);
  }
  return { header: readHeader(page.subarray(0, SECTOR_BYTES)), watermarks, damagedSlots };
}

function isWhole(sector: Bytes): boolean {
  const view = new DataView(sector.buffer, sector.byteOffset, SECTOR_BYTES);
  return crc32(sector.subarray(0, CRC_AT)) === view.getUint32(CRC_AT, true);
}

function readHeader(sector: Bytes): SegmentHeader | null {
  const view = new DataView(sector.buffer, sector.byteOffset, SECTOR_BYTES);
  if (view.getUint32(0, true) !== SEGMENT_MAGIC || !isWhole(sector)) return null;
  const state = view.getUint32(8, true);
  if (view.getUint32(4, true) !== SEGMENT_VERSION) return null;
  if (state !== SegmentState.FREE && state !== SegmentState.STREAM) return null;
  return {
    state,
    baseLsn: Number(view.getBigUint64(12, true)),
    fileBytes: Number(view.getBigUint64(20, true)),
  };
}

function readWatermark(sector: Bytes): Watermark {
  const view = new DataView(sector.buffer, sector.byteOffset, SECTOR_BYTES);
  return {
    sequence: Number(view.getBigUint64(0, true)),
    durableLsn: Number(view.getBigUint64(8, true)),
    upstreamMark: Number(view.getBigUint64(16, true)),
  };
}
