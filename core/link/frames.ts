/**
 * The frames of a link, version 2: defined here once. All numbers are little-endian.
 *
 *      0        4    5     6        8            12           16
 *     +--------+----+-----+--------+------------+------------+---------------------------+
 *     | magic  |type|flags|   0    | body bytes |  CRC-32    | body ...                  |
 *     +--------+----+-----+--------+------------+------------+---------------------------+
 *
 * The CRC covers bytes 0 to 11 and the body; of a DATA or DELTA_DATA frame only the head of its body,
 * since every record in it has a CRC of its own.
 *
 *     tide (TIDE: the whole body; DATA: its first 40 bytes)
 *      0  u64  stable: the sender's stable LSN
 *      8  u64  the primary's time, ms since 1970, as last heard
 *     16  u64  the primary's end of log, as last heard
 *     24  u64  DATA: LSN of the first record; TIDE: the LSN up to which was sent
 *     32  u32  DATA, packed: bytes of the records; else 0
 *     36  u32  0
 *     40  ...  DATA: whole records, or packed: the same as one zstd frame
 *
 *     ack (ACK)
 *      0  16 B epoch id of the position that follows
 *     16  u64  received (appended here)      24  u64  durable here      32  u64  applied here
 *     40  u64  received here and at every sync peer that counts upward
 *     48  u64  durable here and at every sync peer that counts upward
 *
 *     delta data (DELTA_DATA)
 *      0  u64  byte position within the delta's body
 *      8  u32  packed: bytes of the records; else 0
 *     12  u32  0
 *     16  ...  whole records of the body (see delta/delta_format.ts), or packed: the same as one zstd frame
 *
 *     echo (ECHO, by the upstream end; the other end sends it back as it is)
 *      0  u64  a number
 *
 * HELLO, WELCOME, PROOF, POSITION, ACCEPT, REFUSE, FETCH, SUBTREE, DELTA, DELTA_END, DELTA_ACK, ADVANCE,
 * HASH_ASK, HASH, TOUCHED, ASK and ANSWER carry JSON; see messages.ts, hashes.ts and tree/asks.ts.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { CascadeError } from "../errors.ts";
import type { Bytes } from "../ports.ts";
import { CONTROL_BODY_BYTES_MAX, DATA_BODY_BYTES_MAX } from "./link_limits.ts";

/** "CSLK" */
export const FRAME_MAGIC = 0x4b4c5343;
export const FRAME_HEADER_BYTES = 16;
export const TIDE_BYTES = 40;
export const ACK_BYTES = 56;
/** What stands before the records of a DELTA_DATA frame. */
export const DELTA_HEAD_BYTES = 16;

/** What a frame is. */
export const FrameType = {
  HELLO: 1,
  WELCOME: 2,
  PROOF: 3,
  POSITION: 4,
  ACCEPT: 5,
  REFUSE: 6,
  FETCH: 7,
  DATA: 8,
  TIDE: 9,
  ACK: 10,
  SUBTREE: 11,
  DELTA: 12,
  DELTA_DATA: 13,
  DELTA_END: 14,
  DELTA_ACK: 15,
  HASH_ASK: 16,
  HASH: 17,
  ADVANCE: 18,
  ECHO: 19,
  TOUCHED: 20,
  ASK: 21,
  ANSWER: 22,
} as const;
export type FrameType = (typeof FrameType)[keyof typeof FrameType];
const FRAME_TYPE_MAX = FrameType.ANSWER;

/**
 * On DATA and TIDE: a client waits upstream for a flush up to the end of what was sent. On DELTA_DATA:
 * all of a pass was sent, and is to be made durable.
 */
export const FLAG_FLUSH_WANTED = 1;

/** On DATA and DELTA_DATA: the records are packed; see packing.ts. */
export const FLAG_PACKED = 2;

/** On DELTA_DATA: a patch to the peer's volumes, of which it makes the records; see patch.ts. */
export const FLAG_PATCHED = 4;

export const ECHO_BYTES = 8;

/** One frame as decoded; a view that the next call of {@linkcode FrameReader.next} makes invalid. */
export interface Frame {
  readonly type: FrameType;
  readonly flags: number;
  readonly body: Uint8Array;
}

/** What flows down beside the records. */
export interface Tide {
  readonly stableLsn: number;
  readonly primaryTimeMs: number;
  readonly primaryEndLsn: number;
  readonly firstLsn: number;
}

/** What flows up. */
export interface Ack {
  readonly epochId: string;
  readonly receivedLsn: number;
  readonly durableLsn: number;
  readonly appliedLsn: number;
  readonly groupReceivedLsn: number;
  readonly groupDurableLsn: number;
}

/** Writes the header of a frame whose body stands at `at + 16`; `crcBytes` of it are covered. */
export function sealFrame(
  into: Uint8Array,
  at: number,
  type: FrameType,
  flags: number,
  bodyBytes: number,
  crcBytes = bodyBytes,
): void {
  const view = new DataView(into.buffer, into.byteOffset + at, FRAME_HEADER_BYTES);
  view.setUint32(0, FRAME_MAGIC, true);
  view.setUint8(4, type);
  view.setUint8(5, flags);
  view.setUint16(6, 0, true);
  view.setUint32(8, bodyBytes, true);
  view.setUint32(12, frameCrc(into, at, crcBytes), true);
}

function frameCrc(bytes: Uint8Array, at: number, bodyBytes: number): number {
  const head = crc32(bytes.subarray(at, at + 12));
  const body = at + FRAME_HEADER_BYTES;
  return crc32(bytes.subarray(body, body + bodyBytes), head);
}

/** A whole control frame with a JSON body. */
export function jsonFrame(type: FrameType, value: unknown): Bytes {
  const body = new TextEncoder().encode(JSON.stringify(value));
  const frame = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  frame.set(body, FRAME_HEADER_BYTES);
  sealFrame(frame, 0, type, 0, body.length);
  return frame;
}

/** Writes a tide at `at`. */
export function writeTide(into: Uint8Array, at: number, tide: Tide): void {
  const view = new DataView(into.buffer, into.byteOffset + at, TIDE_BYTES);
  setU64(view, 0, tide.stableLsn);
  setU64(view, 8, tide.primaryTimeMs);
  setU64(view, 16, tide.primaryEndLsn);
  setU64(view, 24, tide.firstLsn);
  setU64(view, 32, 0);
}

/** Throws `protocol` when the body is too short or a number is out of range. */
export function readTide(body: Uint8Array): Tide {
  if (body.length < TIDE_BYTES) throw badFrame(`a tide of ${body.length} bytes`);
  const view = new DataView(body.buffer, body.byteOffset, TIDE_BYTES);
  return {
    stableLsn: getU64(view, 0),
    primaryTimeMs: getU64(view, 8),
    primaryEndLsn: getU64(view, 16),
    firstLsn: getU64(view, 24),
  };
}

/** Writes a whole ACK frame at `at`. */
export function writeAckFrame(into: Uint8Array, at: number, ack: Ack): void {
  const body = at + FRAME_HEADER_BYTES;
  for (let i = 0; i < 16; i++) into[body + i] = parseInt(ack.epochId.slice(2 * i, 2 * i + 2), 16);
  const view = new DataView(into.buffer, into.byteOffset + body, ACK_BYTES);
  setU64(view, 16, ack.receivedLsn);
  setU64(view, 24, ack.durableLsn);
  setU64(view, 32, ack.appliedLsn);
  setU64(view, 40, ack.groupReceivedLsn);
  setU64(view, 48, ack.groupDurableLsn);
  sealFrame(into, at, FrameType.ACK, 0, ACK_BYTES);
}

/** Throws `protocol` when the body is not an ack, or its positions contradict each other. */
export function readAck(body: Uint8Array): Ack {
  if (body.length !== ACK_BYTES) throw badFrame(`an ack of ${body.length} bytes`);
  const view = new DataView(body.buffer, body.byteOffset, ACK_BYTES);
  let epochId = "";
  for (let i = 0; i < 16; i++) epochId += view.getUint8(i).toString(16).padStart(2, "0");
  const ack = {
    epochId,
    receivedLsn: getU64(view, 16),
    durableLsn: getU64(view, 24),
    appliedLsn: getU64(view, 32),
    groupReceivedLsn: getU64(view, 40),
    groupDurableLsn: getU64(view, 48),
  };
  const ordered = ack.appliedLsn <= ack.durableLsn && ack.durableLsn <= ack.receivedLsn &&
    ack.groupDurableLsn <= ack.groupReceivedLsn && ack.groupReceivedLsn <= ack.receivedLsn;
  if (!ordered) throw badFrame("an ack whose positions contradict each other");
  return ack;
}

/** A whole ECHO frame. */
export function echoFrame(stamp: number): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + ECHO_BYTES);
  setU64(new DataView(frame.buffer, FRAME_HEADER_BYTES), 0, stamp);
  sealFrame(frame, 0, FrameType.ECHO, 0, ECHO_BYTES);
  return frame;
}

/** Throws `protocol`. */
export function readEcho(body: Uint8Array): number {
  if (body.length !== ECHO_BYTES) throw badFrame(`an echo of ${body.length} bytes`);
  return getU64(new DataView(body.buffer, body.byteOffset, ECHO_BYTES), 0);
}

/** A whole DELTA_DATA frame, whose records stand behind its two heads already. */
export function sealDeltaFrame(frame: Bytes, position: number, flags = 0): void {
  const view = new DataView(frame.buffer, frame.byteOffset + FRAME_HEADER_BYTES, DELTA_HEAD_BYTES);
  setU64(view, 0, position);
  setU64(view, 8, 0);
  const body = frame.length - FRAME_HEADER_BYTES;
  sealFrame(frame, 0, FrameType.DELTA_DATA, flags, body, DELTA_HEAD_BYTES);
}

/** Position and records of a DELTA_DATA frame's body. Throws `protocol`. */
export function readDeltaData(body: Uint8Array): { position: number; records: Uint8Array } {
  if (body.length < DELTA_HEAD_BYTES) throw badFrame(`delta data of ${body.length} bytes`);
  const view = new DataView(body.buffer, body.byteOffset, DELTA_HEAD_BYTES);
  return { position: getU64(view, 0), records: body.subarray(DELTA_HEAD_BYTES) };
}

/** Bytes at the head of a body that its frame's CRC covers; the rest has CRCs of its own. */
function coveredBytes(type: FrameType, bodyBytes: number): number {
  if (type === FrameType.DATA) return TIDE_BYTES;
  return type === FrameType.DELTA_DATA ? Math.min(DELTA_HEAD_BYTES, bodyBytes) : bodyBytes;
}

function setU64(view: DataView, at: number, value: number): void {
  view.setUint32(at, value % 0x1_0000_0000, true);
  view.setUint32(at + 4, Math.floor(value / 0x1_0000_0000), true);
}

function getU64(view: DataView, at: number): number {
  const value = view.getUint32(at, true) + view.getUint32(at + 4, true) * 0x1_0000_0000;
  if (!Number.isSafeInteger(value)) throw badFrame(`the number ${value}`);
  return value;
}

/** What is read at once at first: hellos are short, and strangers come by the thousand. Later at least. */
const STRANGER_BUFFER_BYTES = 1024;
const SERVED_BUFFER_BYTES = 16 * 1024;

/** What the peer sent is no frame, or one that cannot be. */
export function badFrame(found: string): CascadeError {
  return new CascadeError("protocol", `the peer sent ${found}`, { retryable: true });
}

/**
 * Decodes frames from any split of the byte stream. The caller reads into {@linkcode room}, says
 * how much with {@linkcode advance}, and takes frames with {@linkcode next} until it gives null.
 * A length is believed only after magic, type and limit were checked.
 */
export class FrameReader {
  #buffer: Bytes;
  #start = 0;
  #end = 0;
  #dataAllowed = false;
  #leastBytes = 0;

  constructor(initialBytes = STRANGER_BUFFER_BYTES) {
    this.#buffer = new Uint8Array(initialBytes);
  }

  /** From now on DATA frames are welcome: the peer has proved itself. */
  allowData(): void {
    this.#dataAllowed = true;
  }

  /** From now on much is read at once: the peer is served. */
  widen(): void {
    this.#leastBytes = SERVED_BUFFER_BYTES;
  }

  /** Where the next bytes go; never empty. Views handed out before become invalid. */
  room(): Bytes {
    if (this.#start === this.#end) this.#start = this.#end = 0;
    const wanted = Math.max(this.#missingBytes(), 1);
    if (this.#start > 0 && this.#buffer.length - this.#end < wanted) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    if (this.#buffer.length - this.#end < wanted || this.#buffer.length < this.#leastBytes) {
      const most = FRAME_HEADER_BYTES + DATA_BODY_BYTES_MAX;
      const more = Math.max(this.#leastBytes, Math.min(2 * this.#buffer.length, most));
      const bytes = Math.max(this.#end + wanted, more);
      const larger = new Uint8Array(bytes);
      larger.set(this.#buffer.subarray(0, this.#end));
      this.#buffer = larger;
    }
    return this.#buffer.subarray(this.#end);
  }

  advance(count: number): void {
    this.#end += count;
  }

  #missingBytes(): number {
    const available = this.#end - this.#start;
    if (available < FRAME_HEADER_BYTES) return FRAME_HEADER_BYTES - available;
    return FRAME_HEADER_BYTES + this.#bodyBytes() - available;
  }

  #bodyBytes(): number {
    const header = new DataView(this.#buffer.buffer, this.#start, FRAME_HEADER_BYTES);
    const type = header.getUint8(4);
    const bodyBytes = header.getUint32(8, true);
    if (header.getUint32(0, true) !== FRAME_MAGIC) throw badFrame("what is no frame");
    if (type < 1 || type > FRAME_TYPE_MAX) throw badFrame(`a frame of unknown type ${type}`);
    const isData = type === FrameType.DATA || type === FrameType.DELTA_DATA;
    if (isData && !this.#dataAllowed) throw badFrame("data before it proved itself");
    const most = isData ? DATA_BODY_BYTES_MAX : CONTROL_BODY_BYTES_MAX;
    if (bodyBytes > most) throw badFrame(`a frame of ${bodyBytes} bytes (at most ${most})`);
    if (type === FrameType.DATA && bodyBytes < TIDE_BYTES) {
      throw badFrame(`a DATA frame of ${bodyBytes} bytes`);
    }
    return bodyBytes;
  }

  /** The next whole frame, or null. Throws `protocol` on anything that is not one. */
  next(): Frame | null {
    const available = this.#end - this.#start;
    if (available < FRAME_HEADER_BYTES) return null;
    const bodyBytes = this.#bodyBytes();
    if (available < FRAME_HEADER_BYTES + bodyBytes) return null;
    const at = this.#start;
    const type = this.#buffer[at + 4] as FrameType;
    const crcBytes = coveredBytes(type, bodyBytes);
    const crc = new DataView(this.#buffer.buffer, at + 12, 4).getUint32(0, true);
    if (frameCrc(this.#buffer, at, crcBytes) !== crc) throw badFrame("a frame with a wrong CRC");
    const body = at + FRAME_HEADER_BYTES;
    this.#start = body + bodyBytes;
    return {
      type,
      flags: this.#buffer[at + 5] ?? 0,
      body: this.#buffer.subarray(body, body + bodyBytes),
    };
  }
}

/** A frame that does not belong where it came. */
export function unexpectedFrame(type: number): CascadeError {
  return new CascadeError("protocol", `the peer sent frame ${type}, which does not belong here`);
}
