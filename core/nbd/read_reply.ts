/**
 * The reply to a READ, piece by piece as the socket drains.
 *
 * | form   | when                        | looks like                                              |
 * | ------ | --------------------------- | ------------------------------------------------------- |
 * | simple | no structured replies       | a header, then all data; a late error breaks the stream  |
 * | chunks | structured                  | a data or hole chunk for each piece, or an error chunk   |
 * | whole  | structured, with DF, and larger than fits at once | one data chunk, then an empty one; after a late error zeroes, then an error chunk |
 *
 * @module
 */
import type { ExportBackend } from "./backend.ts";
import {
  Chunk,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  CommandFlag,
  SIMPLE_REPLY_BYTES,
} from "./constants.ts";
import { type Fault, faultOfError } from "./faults.ts";
import type { Session } from "./handshake.ts";
import { BLOCK_BYTES_PREFERRED, PIECE_BYTES_MAX, SMALL_REPLY_BYTES_MAX } from "./nbd_limits.ts";
import type { ReplyBuffer } from "./reply_buffer.ts";

const DATA_CHUNK_HEADER_BYTES = CHUNK_HEADER_BYTES + 8;
/** Shorter data is sent faster than it is searched for anything but zeroes. */
const HOLE_BYTES_MIN = 16 * 1024;

/** One READ at a time. */
export class ReadReply {
  readonly #backend: ExportBackend;
  readonly #structured: boolean;
  readonly #replies: ReplyBuffer;
  #handleHigh = 0;
  #handleLow = 0;
  #offset = 0;
  #left = 0;
  #unfragmented = false;
  /** The header was said and more data without one must follow. */
  #bodyOpen = false;
  /** Of an open body: why the rest of it is zeroes. */
  #bodyFault: Fault | null = null;

  constructor(session: Session, replies: ReplyBuffer) {
    this.#backend = session.backend;
    this.#structured = session.structured;
    this.#replies = replies;
  }

  /** Begins with a request that was checked. */
  begin(
    flags: number,
    handleHigh: number,
    handleLow: number,
    offset: number,
    length: number,
  ): void {
    this.#handleHigh = handleHigh;
    this.#handleLow = handleLow;
    this.#offset = offset;
    this.#left = length;
    this.#unfragmented = (flags & CommandFlag.DF) !== 0;
    this.#bodyOpen = false;
    this.#bodyFault = null;
    if (length === 0) this.#sayEmpty();
  }

  /** Goes on while there is room; `broken`: the client cannot be told but by hanging up. */
  advance(): "done" | "room" | "broken" {
    const replies = this.#replies;
    while (this.#left > 0) {
      const headerBytes = this.#bodyOpen
        ? 0
        : this.#structured
        ? DATA_CHUNK_HEADER_BYTES
        : SIMPLE_REPLY_BYTES;
      const wanted = Math.min(this.#left, PIECE_BYTES_MAX);
      const room = replies.reserve(Math.max(headerBytes + wanted, SMALL_REPLY_BYTES_MAX));
      let piece = wanted;
      if (headerBytes + wanted > room || room < SMALL_REPLY_BYTES_MAX) {
        if (replies.length > 0) return "room";
        piece = room - headerBytes;
        // The next piece begins where the volume reads best.
        piece -= (this.#offset + piece) % BLOCK_BYTES_PREFERRED;
      }
      const fault = this.#fetch(headerBytes, piece);
      if (fault === null || this.#bodyFault !== null) this.#sayPiece(piece);
      else if (this.#bodyOpen) return "broken";
      else return this.#sayError(fault);
    }
    return this.#bodyOpen && this.#structured ? this.#closeBody() : "done";
  }

  /** Puts the next piece of data where it will be said. */
  #fetch(headerBytes: number, piece: number): Fault | null {
    const into = this.#replies.ahead(headerBytes, piece);
    if (this.#bodyFault === null) {
      try {
        this.#backend.read(into, this.#offset);
        return null;
      } catch (error) {
        const fault = faultOfError(error);
        if (!this.#bodyOpen || !this.#structured) return fault;
        this.#bodyFault = fault;
      }
    }
    into.fill(0);
    return this.#bodyFault;
  }

  #sayPiece(piece: number): void {
    const replies = this.#replies;
    if (this.#bodyOpen) replies.advance(piece);
    else if (!this.#structured) {
      replies.simple(0, this.#handleHigh, this.#handleLow);
      replies.advance(piece);
      this.#bodyOpen = true;
    } else if (this.#unfragmented) this.#sayData(piece, this.#left);
    else if (
      piece >= HOLE_BYTES_MIN && replies.isZeroAhead(DATA_CHUNK_HEADER_BYTES, piece)
    ) this.#sayHole(piece);
    else this.#sayData(piece, piece);
    this.#offset += piece;
    this.#left -= piece;
  }

  /** A data chunk of `chunkData` bytes, the first `piece` of which are there. */
  #sayData(piece: number, chunkData: number): void {
    const replies = this.#replies;
    const whole = piece === chunkData;
    // An error can still come while more of this reply is to be read.
    const flags = whole && piece === this.#left ? CHUNK_FLAG_DONE : 0;
    replies.chunk(flags, Chunk.OFFSET_DATA, this.#handleHigh, this.#handleLow, 8 + chunkData);
    replies.uint64(this.#offset);
    replies.advance(piece);
    this.#bodyOpen = !whole;
  }

  #sayHole(piece: number): void {
    const replies = this.#replies;
    const flags = piece === this.#left ? CHUNK_FLAG_DONE : 0;
    replies.chunk(flags, Chunk.OFFSET_HOLE, this.#handleHigh, this.#handleLow, 12);
    replies.uint64(this.#offset);
    replies.uint32(piece);
  }

  #sayEmpty(): void {
    if (!this.#structured) this.#replies.simple(0, this.#handleHigh, this.#handleLow);
    else this.#replies.chunk(CHUNK_FLAG_DONE, Chunk.NONE, this.#handleHigh, this.#handleLow, 0);
  }

  #sayError(fault: Fault): "done" {
    if (this.#structured) this.#replies.errorChunk(fault, this.#handleHigh, this.#handleLow);
    else this.#replies.simple(fault.errorNumber, this.#handleHigh, this.#handleLow);
    return "done";
  }

  /** The last chunk of the whole form. */
  #closeBody(): "done" | "room" {
    if (this.#replies.room < SMALL_REPLY_BYTES_MAX) return "room";
    if (this.#bodyFault !== null) this.#sayError(this.#bodyFault);
    else this.#sayEmpty();
    return "done";
  }
}
