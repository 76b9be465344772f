/**
 * Records of a delta as a patch to what the peer's volumes hold: blocks that are there already do not travel. The peer
 * makes the very records of it, so that what it stages, and forwards, is what it would have been sent.
 *
 * For each record of a DELTA_DATA frame with `FLAG_PATCHED`:
 *
 *     header          as in log/record.ts, 48 bytes; of a zero or a trim that is all
 *     bitmap          of a write: a bit for each 4 KiB of its payload, the first the lowest of the first byte; set:
 *                     the block follows. Bits past the last block are zero
 *     blocks          those that are not with the peer, in order; the last one may be short
 *
 * The CRC in the header is that of the whole record, so that a peer whose volumes are not what they were taken for
 * finds out before it stages anything.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import {
  checkRecord,
  CUT_SHORT,
  RECORD_HEADER_BYTES,
  RecordReader,
  RecordType,
} from "../log/record.ts";
import type { Bytes } from "../ports.ts";
import { badFrame } from "./frames.ts";
import { HASH_BLOCK_BYTES } from "./hashes.ts";
import { DATA_RECORDS_BYTES_MAX } from "./link_limits.ts";

/** Where a record's payload is in its buffer, and in its volume. Bytes. */
export interface Payload {
  readonly volume: number;
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Numbers of the blocks of a payload that the peer lacks, ascending; null: all, as far as is known. */
export type LacksOf = (payload: Payload) => Promise<readonly number[] | null>;

interface Part {
  /** Of the record, in its buffer. */
  readonly at: number;
  readonly payload: Payload | null;
  readonly lacks: readonly number[];
}

/** The patch that whole records come to; null: it would not be shorter. */
export async function makePatch(records: Uint8Array, lacksOf: LacksOf): Promise<Bytes | null> {
  const parts: Part[] = [];
  let bytes = 0;
  const record = new RecordReader();
  for (let at = 0; at < records.length;) {
    const { type, volume, offset, length, payloadStart, totalBytes } = record.at(records, at);
    let payload: Payload | null = null;
    let lacks: readonly number[] = [];
    if (type === RecordType.WRITE) {
      payload = { volume, offset, bytes: records.subarray(payloadStart, payloadStart + length) };
      lacks = await lacksOf(payload) ?? Array.from({ length: blocksIn(length) }, (_, i) => i);
    }
    parts.push({ at, payload, lacks });
    bytes += RECORD_HEADER_BYTES + (payload === null ? 0 : sizeOf(payload.bytes.length, lacks));
    at += totalBytes;
  }
  return bytes < records.length ? writePatch(records, parts, bytes) : null;
}

function writePatch(records: Uint8Array, parts: readonly Part[], bytes: number): Bytes {
  const patch = new Uint8Array(bytes);
  let to = 0;
  for (const { at, payload, lacks } of parts) {
    patch.set(records.subarray(at, at + RECORD_HEADER_BYTES), to);
    to += RECORD_HEADER_BYTES;
    if (payload === null) continue;
    const bitmap = to;
    to += bitmapBytes(payload.bytes.length);
    for (const block of lacks) {
      patch[bitmap + (block >>> 3)]! |= 1 << (block & 7);
      const piece = blockOf(payload.bytes, block);
      patch.set(piece, to);
      to += piece.length;
    }
  }
  return patch;
}

/** A volume that a patch is applied to: in memory, never on the disk. */
export interface PatchedVolume {
  readonly sizeBytes: number;
  readApplied(into: Bytes, offset: number): void;
}

/**
 * The records that a patch stands for. Throws `protocol` for what is no patch, and `refused` when the volumes do not hold
 * what they were taken for.
 */
export function applyPatch(patch: Uint8Array, volumes: readonly PatchedVolume[]): Bytes {
  const pieces: Bytes[] = [];
  let bytes = 0;
  for (let at = 0; at < patch.length;) {
    const { made, end } = applyOne(patch, at, volumes);
    bytes += made.length;
    if (bytes > DATA_RECORDS_BYTES_MAX) throw badFrame("a patch of too many records");
    pieces.push(made);
    at = end;
  }
  const records = new Uint8Array(bytes);
  let to = 0;
  for (const piece of pieces) {
    records.set(piece, to);
    to += piece.length;
  }
  return records;
}

function applyOne(
  patch: Uint8Array,
  at: number,
  volumes: readonly PatchedVolume[],
): { made: Bytes; end: number } {
  const headerEnd = at + RECORD_HEADER_BYTES;
  const fault = headerEnd > patch.length ? CUT_SHORT : checkRecord(patch, at, RECORD_HEADER_BYTES);
  // A zero or a trim is its header.
  if (fault === null) return { made: patch.slice(at, headerEnd), end: headerEnd };
  const { type, volume: number, offset, length, totalBytes } = new RecordReader().at(patch, at);
  if (headerEnd > patch.length || fault !== CUT_SHORT || type !== RecordType.WRITE) {
    throw badFrame(`a patch that is none: ${fault}`);
  }
  const volume = volumes[number];
  if (volume === undefined || offset + length > volume.sizeBytes) {
    throw badFrame(`a patch of what is not in volume number ${number}`);
  }
  const made = new Uint8Array(totalBytes);
  made.set(patch.subarray(at, headerEnd));
  const payload = made.subarray(RECORD_HEADER_BYTES, RECORD_HEADER_BYTES + length);
  const end = fill(payload, patch, headerEnd, (into) => volume.readApplied(into, offset));
  if (checkRecord(made, 0, made.length) !== null) {
    throw new CascadeError("refused", "the volumes changed while they were compared", {
      where: { volume: number, offset },
      retryable: true,
    });
  }
  return { made, end };
}

/** Fills a payload with what is here and what the patch has; returns where that ends in the patch. */
function fill(payload: Bytes, patch: Uint8Array, at: number, read: (into: Bytes) => void): number {
  const blocks = blocksIn(payload.length);
  const bitmap = patch.subarray(at, at + bitmapBytes(payload.length));
  let end = at + bitmap.length;
  const isSent = (block: number) => ((bitmap[block >>> 3] ?? 0) & 1 << (block & 7)) !== 0;
  const sent = Array.from({ length: blocks }, (_, block) => block).filter(isSent);
  if (sent.length < blocks) read(payload);
  for (const block of sent) {
    const piece = blockOf(payload, block);
    const bytes = patch.subarray(end, end + piece.length);
    if (bytes.length < piece.length) throw badFrame("a patch that is cut short");
    piece.set(bytes);
    end += piece.length;
  }
  return end;
}

function blocksIn(length: number): number {
  return Math.ceil(length / HASH_BLOCK_BYTES);
}

function bitmapBytes(length: number): number {
  return Math.ceil(blocksIn(length) / 8);
}

function blockOf(payload: Uint8Array, block: number): Uint8Array {
  return payload.subarray(block * HASH_BLOCK_BYTES, (block + 1) * HASH_BLOCK_BYTES);
}

function sizeOf(length: number, lacks: readonly number[]): number {
  const short = lacks.at(-1) === blocksIn(length) - 1
    ? blocksIn(length) * HASH_BLOCK_BYTES - length
    : 0;
  return bitmapBytes(length) + lacks.length * HASH_BLOCK_BYTES - short;
}
