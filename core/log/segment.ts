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
 *     28..31  flags; bit 0: a jump
 *     32..39  jump: LSN at which the log before it ended; else 0
 *     40..    0
 *     508..511 CRC-32 of the 508 bytes before
 *
 * File offset of an LSN = 4096 + (LSN - LSN of the first record). A record never spans segments:
 * a segment ends where the next record does not fit. Files are named NNNNNN.seg; the name says
 * nothing of the order, so that recycling a file needs no rename.
 *
 * A jump is a segment that begins after a delta: what lies between the end of the log before it and
 * its first record came as a delta, and is not in the log. Its header is written only when all before
 * it is durable, so it proves that the log reaches up to there.
 *
 * Assumed of the disk: a sector of 512 bytes is written whole or not at all.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { SECTOR_BYTES } from "../limits.ts";
import type { Bytes } from "../ports.ts";

/** "CSSG" */
export const SEGMENT_MAGIC = 0x47535343;
export const SEGMENT_VERSION = 1;
const CRC_AT = SECTOR_BYTES - 4;
const FLAG_JUMP = 1;

/** Where the slots of the watermark stand in the file. */
export const SLOT_OFFSETS: readonly number[] = [SECTOR_BYTES, 2 * SECTOR_BYTES];
/** The part of the header page that is used. */
const USED_BYTES = 3 * SECTOR_BYTES;

/** What a segment is for. */
export const SegmentState = { FREE: 0, STREAM: 1 } as const;
export type SegmentState = (typeof SegmentState)[keyof typeof SegmentState];

/** The first sector of a segment file. */
export interface SegmentHeader {
  readonly state: SegmentState;
  readonly baseLsn: number;
  readonly fileBytes: number;
  /** Of a jump alone: the LSN at which the log before it ended, less than its own first one. */
  readonly jumpFromLsn?: number;
}

/** What was known when a slot was written; see the module's text. */
export interface Watermark {
  readonly sequence: number;
  readonly durableLsn: number;
  readonly upstreamMark: number;
}

/**
 * What a sector was found to be. `blank`: all zeroes, as in a file that was begun and not finished;
 * `foreign`: whole, but of a version, or with flags, that this program does not know.
 */
export type Found<T> =
  | { readonly kind: "whole"; readonly value: T }
  | { readonly kind: "blank" }
  | { readonly kind: "damaged" }
  | { readonly kind: "foreign"; readonly version: number; readonly flags: number };

/** A header page as found. */
export interface HeaderPage {
  readonly header: Found<SegmentHeader>;
  /** One of each of the {@linkcode SLOT_OFFSETS}. */
  readonly slots: readonly Found<Watermark>[];
}

/** The header sector. */
export function encodeHeader(header: SegmentHeader): Bytes {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  view.setUint32(0, SEGMENT_MAGIC, true);
  view.setUint32(4, SEGMENT_VERSION, true);
  view.setUint32(8, header.state, true);
  view.setBigUint64(12, BigInt(header.baseLsn), true);
  view.setBigUint64(20, BigInt(header.fileBytes), true);
  if (header.jumpFromLsn !== undefined) {
    view.setUint32(28, FLAG_JUMP, true);
    view.setBigUint64(32, BigInt(header.jumpFromLsn), true);
  }
  return sealed(sector);
}

/** One slot. */
export function encodeWatermark(mark: Watermark): Bytes {
  const sector = new Uint8Array(SECTOR_BYTES);
  const view = new DataView(sector.buffer);
  view.setBigUint64(0, BigInt(mark.sequence), true);
  view.setBigUint64(8, BigInt(mark.durableLsn), true);
  view.setBigUint64(16, BigInt(mark.upstreamMark), true);
  return sealed(sector);
}

function sealed(sector: Bytes): Bytes {
  new DataView(sector.buffer).setUint32(CRC_AT, crc32(sector.subarray(0, CRC_AT)), true);
  return sector;
}

/** Reads the header page from the first bytes of a segment file. Any bytes will do. */
export function decodeHeaderPage(page: Uint8Array): HeaderPage {
  const sectorAt = (offset: number) => page.subarray(offset, offset + SECTOR_BYTES);
  return {
    header: decodeHeader(sectorAt(0)),
    slots: SLOT_OFFSETS.map((offset) => decodeWatermark(sectorAt(offset))),
  };
}

/** How much of a file {@linkcode decodeHeaderPage} wants to see. */
export const HEADER_PAGE_READ_BYTES = USED_BYTES;

function decodeHeader(sector: Uint8Array): Found<SegmentHeader> {
  if (isBlank(sector)) return { kind: "blank" };
  const view = viewOf(sector);
  if (!isWhole(sector) || view.getUint32(0, true) !== SEGMENT_MAGIC) return { kind: "damaged" };
  const version = view.getUint32(4, true);
  const flags = view.getUint32(28, true);
  // A program that knows more wrote it: to call that damage could cost the records.
  const isKnown = version === SEGMENT_VERSION && (flags & ~FLAG_JUMP) === 0;
  if (!isKnown) return { kind: "foreign", version, flags };
  const state = view.getUint32(8, true);
  if (state !== SegmentState.FREE && state !== SegmentState.STREAM) return { kind: "damaged" };
  const value = { state, baseLsn: numberAt(view, 12), fileBytes: numberAt(view, 20) };
  const jumpFromLsn = numberAt(view, 32);
  if (flags === 0) return jumpFromLsn === 0 ? { kind: "whole", value } : { kind: "damaged" };
  const isJump = state === SegmentState.STREAM && jumpFromLsn < value.baseLsn;
  return isJump ? { kind: "whole", value: { ...value, jumpFromLsn } } : { kind: "damaged" };
}

function decodeWatermark(sector: Uint8Array): Found<Watermark> {
  if (isBlank(sector)) return { kind: "blank" };
  if (!isWhole(sector)) return { kind: "damaged" };
  const view = viewOf(sector);
  const value = {
    sequence: numberAt(view, 0),
    durableLsn: numberAt(view, 8),
    upstreamMark: numberAt(view, 16),
  };
  return { kind: "whole", value };
}

function numberAt(view: DataView, at: number): number {
  return Number(view.getBigUint64(at, true));
}

function viewOf(sector: Uint8Array): DataView {
  return new DataView(sector.buffer, sector.byteOffset, SECTOR_BYTES);
}

function isBlank(sector: Uint8Array): boolean {
  return sector.every((byte) => byte === 0);
}

function isWhole(sector: Uint8Array): boolean {
  return crc32(sector.subarray(0, CRC_AT)) === viewOf(sector).getUint32(CRC_AT, true);
}
