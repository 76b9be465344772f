/**
 * The record, version 1: what the primary's stream is made of. Never re-encoded on its way down.
 *
 *      0        4        8    9     10       12      16       24       32       40       48
 *     +--------+--------+----+-----+--------+-------+--------+--------+--------+--------+-------+
 *     | magic  | CRC-32 |type|flags| volume | epoch |  LSN   | offset | length | time   |payload|
 *     +--------+--------+----+-----+--------+-------+--------+--------+--------+--------+-------+
 *
 *     bytes  field    meaning
 *     0..3   magic    "CSRC"
 *     4..7   crc      CRC-32 (zlib) of all that follows: header, payload and padding
 *     8      type     1 write, 2 zero, 3 trim, 4 mark, 5 epoch
 *     9      flags    bit 0 on zero: leave no hole
 *     10,11  volume   number of the volume in the topology; 0 for mark and epoch
 *     12..15 epoch    number of the reign
 *     16..23 lsn      byte position of this record in the primary's stream
 *     24..31 offset   first byte of the volume that is touched; 0 for mark and epoch
 *     32..39 length   bytes of the volume that are touched; of mark and epoch, of the payload
 *     40..47 time     the primary's time, ms since 1970; never goes back
 *     48..   payload  write: the bytes; zero, trim: none; mark: a name; epoch: see below
 *
 * Little-endian. Padded with zeroes to a multiple of 16 bytes, so LSNs are multiples of 16.
 *
 *     payload of an epoch record
 *     0..15  id          random
 *     16..   node        name of the node that reigns, UTF-8, 1 to 255 bytes
 *
 *     payload of a mark record
 *     0..    name        UTF-8, 1 to 255 bytes
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { Epoch } from "../history.ts";
import {
  LSN_MAX,
  NAME_BYTES_MAX,
  RECORD_BYTES_MAX,
  RECORD_PAYLOAD_BYTES_MAX,
  VOLUME_BYTES_MAX,
} from "../limits.ts";
import type { Mark } from "../marks/mark_index.ts";
import type { Bytes } from "../ports.ts";

/** "CSRC" */
export const RECORD_MAGIC = 0x43525343;
export const RECORD_HEADER_BYTES = 48;
export const RECORD_ALIGN_BYTES = 16;
const CRC_FROM = 8;

/** What a record does. */
export const RecordType = { WRITE: 1, ZERO: 2, TRIM: 3, MARK: 4, EPOCH: 5 } as const;
export type RecordType = (typeof RecordType)[keyof typeof RecordType];

/** Flags of a record. */
export const RecordFlag = { NO_HOLE: 1 } as const;

const EPOCH_ID_BYTES = 16;

/** What {@linkcode checkRecord} says of a record whose end lies past the bytes given. */
export const CUT_SHORT = "cut short";

/** Whether a record of this type carries `length` bytes of payload. */
function carriesPayload(type: number): boolean {
  return type !== RecordType.ZERO && type !== RecordType.TRIM;
}

/** Bytes of a whole record: header, payload and padding. */
export function recordBytes(type: RecordType, length: number): number {
  const payload = carriesPayload(type) ? length : 0;
  return RECORD_HEADER_BYTES + Math.ceil(payload / RECORD_ALIGN_BYTES) * RECORD_ALIGN_BYTES;
}

/**
 * Writes a record at `at` of `into` and returns its bytes in all. Hot path: copies the payload
 * once, allocates one view.
 */
export function writeRecord(
  into: Bytes,
  at: number,
  type: RecordType,
  flags: number,
  volume: number,
  epoch: number,
  lsn: number,
  offset: number,
  length: number,
  timeMs: number,
  payload: Uint8Array,
): number {
  const total = recordBytes(type, length);
  assert(payload.length === (carriesPayload(type) ? length : 0), "a payload of the length told");
  assert(at + total <= into.length, "a record lies within its buffer");
  assert(volume <= 0xffff && epoch <= 0xffff_ffff, "volume and epoch fit their fields");
  setU32(into, at, RECORD_MAGIC);
  into[at + 8] = type;
  into[at + 9] = flags;
  into[at + 10] = volume;
  into[at + 11] = volume >> 8;
  setU32(into, at + 12, epoch);
  setU64(into, at + 16, lsn);
  setU64(into, at + 24, offset);
  setU64(into, at + 32, length);
  setU64(into, at + 40, timeMs);
  assert(checkFields(into, at) === null, "no reader refuses what is written");
  into.set(payload, at + RECORD_HEADER_BYTES);
  into.fill(0, at + RECORD_HEADER_BYTES + payload.length, at + total);
  setU32(into, at + 4, crc32(into.subarray(at + CRC_FROM, at + total)));
  return total;
}

/** Points at a checked record in a buffer and tells its fields. Meant to be used again and again. */
export class RecordReader {
  #bytes: Uint8Array = new Uint8Array(0);
  #at = 0;

  /** Points at the record at `at`; it must have passed {@linkcode checkRecord}. */
  at(bytes: Uint8Array, at: number): this {
    this.#bytes = bytes;
    this.#at = at;
    return this;
  }

  get type(): RecordType {
    return this.#bytes[this.#at + 8] as RecordType;
  }

  get flags(): number {
    return this.#bytes[this.#at + 9] ?? 0;
  }

  get volume(): number {
    return (this.#bytes[this.#at + 10] ?? 0) | (this.#bytes[this.#at + 11] ?? 0) << 8;
  }

  get epoch(): number {
    return getU32(this.#bytes, this.#at + 12);
  }

  get lsn(): number {
    return getU64(this.#bytes, this.#at + 16);
  }

  get offset(): number {
    return getU64(this.#bytes, this.#at + 24);
  }

  get length(): number {
    return getU64(this.#bytes, this.#at + 32);
  }

  get timeMs(): number {
    return getU64(this.#bytes, this.#at + 40);
  }

  /** Where the payload begins, in the buffer. */
  get payloadStart(): number {
    return this.#at + RECORD_HEADER_BYTES;
  }

  get totalBytes(): number {
    return recordBytes(this.type, this.length);
  }
}

/**
 * Whether a whole, undamaged record stands at `at` with `available` bytes: null, or what is wrong.
 * A length is believed only after magic, type and limits were checked. {@linkcode CUT_SHORT} means
 * that the bytes given end before the record does.
 */
export function checkRecord(bytes: Uint8Array, at: number, available: number): string | null {
  if (available < RECORD_HEADER_BYTES) return CUT_SHORT;
  if (getU32(bytes, at) !== RECORD_MAGIC) return "no record begins here";
  const fault = checkFields(bytes, at);
  if (fault !== null) return fault;
  const total = recordBytes(bytes[at + 8] as RecordType, getU64(bytes, at + 32));
  if (total > available) return CUT_SHORT;
  const crc = crc32(bytes.subarray(at + CRC_FROM, at + total));
  return crc === getU32(bytes, at + 4) ? null : "wrong CRC";
}

/** The limits of every field: what no writer ever exceeds. */
function checkFields(bytes: Uint8Array, at: number): string | null {
  const type = bytes[at + 8] ?? 0;
  if (type < RecordType.WRITE || type > RecordType.EPOCH) return `unknown type ${type}`;
  const flags = bytes[at + 9] ?? 0;
  if ((flags & ~(type === RecordType.ZERO ? RecordFlag.NO_HOLE : 0)) !== 0) {
    return `unknown flags ${flags}`;
  }
  const lsn = getU64(bytes, at + 16);
  if (lsn > LSN_MAX) return `an LSN of ${lsn}`;
  const offset = getU64(bytes, at + 24);
  if (offset > VOLUME_BYTES_MAX) return `an offset of ${offset}`;
  const length = getU64(bytes, at + 32);
  if (length < lengthMin(type) || length > lengthMax(type)) return `a length of ${length} bytes`;
  const timeMs = getU64(bytes, at + 40);
  return timeMs > Number.MAX_SAFE_INTEGER ? `a time of ${timeMs} ms` : null;
}

function lengthMin(type: number): number {
  return type === RecordType.EPOCH ? EPOCH_ID_BYTES + 1 : 1;
}

function lengthMax(type: number): number {
  if (type === RecordType.WRITE) return RECORD_PAYLOAD_BYTES_MAX;
  if (type === RecordType.EPOCH) return EPOCH_ID_BYTES + NAME_BYTES_MAX;
  return type === RecordType.MARK ? NAME_BYTES_MAX : VOLUME_BYTES_MAX;
}

/**
 * Whether the header of a record of this LSN stands at `at`, whole or not: what might one day be
 * taken for that record.
 */
export function hasHeaderOf(bytes: Uint8Array, at: number, lsn: number): boolean {
  return getU32(bytes, at) === RECORD_MAGIC && getU64(bytes, at + 16) === lsn;
}

/** The payload of an epoch record. */
export function encodeEpoch(epoch: Epoch): Bytes {
  const node = encodeName(epoch.node);
  const payload = new Uint8Array(EPOCH_ID_BYTES + node.length);
  payload.set(Buffer.from(epoch.id, "hex"), 0);
  payload.set(node, EPOCH_ID_BYTES);
  return payload;
}

/** The epoch that the epoch record under `record`, in `bytes`, begins. Throws `protocol`. */
export function readEpoch(bytes: Uint8Array, record: RecordReader): Epoch {
  const { type, length, payloadStart } = record;
  if (type !== RecordType.EPOCH || length < lengthMin(type) || length > lengthMax(type)) {
    throw new CascadeError("protocol", `an epoch record of ${length} bytes`);
  }
  const nameStart = payloadStart + EPOCH_ID_BYTES;
  const id = Buffer.from(bytes.subarray(payloadStart, nameStart)).toString("hex");
  const node = new TextDecoder().decode(bytes.subarray(nameStart, payloadStart + length));
  return { number: record.epoch, id, firstLsn: record.lsn, node };
}

/** The payload of a mark record: the mark's name in UTF-8. */
export function encodeName(name: string): Bytes {
  const bytes = new TextEncoder().encode(name);
  assert(bytes.length > 0 && bytes.length <= NAME_BYTES_MAX, "a name within the limit");
  return bytes;
}

/** The mark of the mark record under `record`, in `bytes`. */
export function markIn(bytes: Uint8Array, record: RecordReader): Mark {
  const { lsn, timeMs, totalBytes } = record;
  return { name: readMark(bytes, record), lsn, endLsn: lsn + totalBytes, timeMs };
}

/** The name in the mark record under `record`, in `bytes`. */
export function readMark(bytes: Uint8Array, record: RecordReader): string {
  const { payloadStart, length } = record;
  return new TextDecoder().decode(bytes.subarray(payloadStart, payloadStart + length));
}

function setU32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value;
  bytes[at + 1] = value >>> 8;
  bytes[at + 2] = value >>> 16;
  bytes[at + 3] = value >>> 24;
}

function setU64(bytes: Uint8Array, at: number, value: number): void {
  setU32(bytes, at, value % 0x1_0000_0000);
  setU32(bytes, at + 4, Math.floor(value / 0x1_0000_0000));
}

function getU32(bytes: Uint8Array, at: number): number {
  return ((bytes[at] ?? 0) | (bytes[at + 1] ?? 0) << 8 | (bytes[at + 2] ?? 0) << 16 |
    (bytes[at + 3] ?? 0) << 24) >>> 0;
}

function getU64(bytes: Uint8Array, at: number): number {
  return getU32(bytes, at) + getU32(bytes, at + 4) * 0x1_0000_0000;
}

assert(
  recordBytes(RecordType.WRITE, RECORD_PAYLOAD_BYTES_MAX) === RECORD_BYTES_MAX,
  "the largest record is as large as the limits say",
);
