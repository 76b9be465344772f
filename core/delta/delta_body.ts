/**
 * The body of a delta as a stream of records: writing them, and checking what comes from elsewhere.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { RECORD_BYTES_MAX } from "../limits.ts";
import { checkRecord, CUT_SHORT, RecordReader, RecordType, writeRecord } from "../log/record.ts";
import type { Bytes } from "../ports.ts";
import type { Run } from "./run.ts";

const NO_PAYLOAD = new Uint8Array(0);

/** How far a body is: what follows begins behind this byte of this volume, in this pass or a later. */
export interface BodyCursor {
  readonly pass: number;
  readonly volume: number;
  readonly offset: number;
}

/** Where every body begins. */
export const BODY_START: BodyCursor = { pass: 1, volume: 0, offset: 0 };

/** Passes at most: each one reads what was overwritten during the one before. */
export const PASSES_MAX = 1_000_000;

/** Writes a run as a record at `at`; returns its bytes. `payload`: the content of a WRITE. */
export function writeRun(
  into: Bytes,
  at: number,
  run: Run,
  pass: number,
  position: number,
  payload: Uint8Array = NO_PAYLOAD,
): number {
  const { type, flags, volume, offset, length } = run;
  return writeRecord(into, at, type, flags, volume, pass, position, offset, length, 0, payload);
}

/**
 * Follows a body from record to record, and refuses what no sender writes: a record out of order, of
 * a volume that is not there, past its end, or damaged.
 */
export class BodyChecker {
  readonly #sizes: readonly number[];
  readonly #record = new RecordReader();
  #position: number;
  #cursor: BodyCursor;
  #records = 0;
  #payloadBytes = 0;

  /** `sizes`: bytes of each volume, by number. */
  constructor(sizes: readonly number[], position = 0, cursor = BODY_START) {
    this.#sizes = sizes;
    this.#position = position;
    this.#cursor = cursor;
  }

  /** Bytes of the body so far. */
  get position(): number {
    return this.#position;
  }

  get cursor(): BodyCursor {
    return this.#cursor;
  }

  /** Records taken by this checker. */
  get records(): number {
    return this.#records;
  }

  get payloadBytes(): number {
    return this.#payloadBytes;
  }

  /** Takes the next records, all of them whole. Throws `protocol`, and has taken nothing of the bad one. */
  take(bytes: Uint8Array): void {
    const taken = this.takeWhole(bytes);
    if (taken < bytes.length) throw this.#fault("a record that is cut short");
  }

  /** Takes whole records as far as there are any; returns their bytes. Throws `protocol`. */
  takeWhole(bytes: Uint8Array): number {
    let at = 0;
    while (at < bytes.length) {
      const fault = checkRecord(bytes, at, bytes.length - at);
      if (fault === CUT_SHORT) break;
      if (fault !== null) throw this.#fault(fault);
      this.#take(bytes, at);
      at += this.#record.totalBytes;
    }
    return at;
  }

  #take(bytes: Uint8Array, at: number): void {
    const { lsn, type, volume, offset, length, epoch, totalBytes } = this.#record.at(bytes, at);
    if (lsn !== this.#position) throw this.#fault(`a record of position ${lsn}`);
    if (type === RecordType.MARK || type === RecordType.EPOCH) {
      throw this.#fault(`a record of type ${type}`);
    }
    const size = this.#sizes[volume];
    if (size === undefined) throw this.#fault(`a record of volume number ${volume}`);
    if (offset + length > size) throw this.#fault(`a record past the end of volume ${volume}`);
    this.#checkOrder(epoch, volume, offset);
    this.#position += totalBytes;
    this.#cursor = { pass: epoch, volume, offset: offset + length };
    this.#records++;
    if (type === RecordType.WRITE) this.#payloadBytes += length;
  }

  #checkOrder(pass: number, volume: number, offset: number): void {
    const last = this.#cursor;
    if (pass < last.pass || pass > PASSES_MAX) throw this.#fault(`a record of pass ${pass}`);
    if (pass > last.pass || volume > last.volume) return;
    if (volume === last.volume && offset >= last.offset) return;
    throw this.#fault("a record out of order");
  }

  #fault(found: string): CascadeError {
    return new CascadeError("protocol", `the delta holds ${found} at byte ${this.#position}`);
  }
}

/** What reading a body needs. */
export interface BodySource {
  readonly bodyBytes: number;
  /** Fills `into` from this byte of the body. */
  readAt(into: Uint8Array, position: number): void;
}

/**
 * Reads whole records from `position` on into `into`; returns their bytes, 0 at the end. Every record is
 * checked. Throws `log-corrupt` with the place in the body.
 */
export function readBody(source: BodySource, position: number, into: Bytes): number {
  assert(into.length >= RECORD_BYTES_MAX, "the buffer holds any record");
  const bytes = into.subarray(0, Math.min(into.length, source.bodyBytes - position));
  source.readAt(bytes, position);
  const record = new RecordReader();
  let at = 0;
  while (at < bytes.length) {
    const fault = checkRecord(bytes, at, bytes.length - at);
    if (fault === CUT_SHORT && bytes.length === into.length) break;
    if (fault !== null || record.at(bytes, at).lsn !== position + at) {
      throw new CascadeError("log-corrupt", `a delta is damaged: ${fault ?? "a wrong record"}`, {
        where: { position: position + at },
        hint: "Look after the disk; the node must be given this delta anew",
      });
    }
    at += record.totalBytes;
  }
  return at;
}
