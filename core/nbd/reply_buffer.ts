/**
 * Gathers the replies of many requests for one write to the socket.
 *
 * While one buffer is being sent, another one fills; when that is full too, whoever makes replies
 * must wait: a client that does not read costs no more memory than these.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { Bytes } from "../ports.ts";
import { Block, type BlockPool } from "./buffers.ts";
import {
  Chunk,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
} from "./constants.ts";
import type { Fault } from "./faults.ts";
import { OWN_BYTES_FACTOR, OWN_BYTES_FIRST, REPLY_BYTES } from "./nbd_limits.ts";

const TWO_TO_32 = 0x1_0000_0000;

/** Whether [start, end) of the words are zero. Sixteen at a time: twice as fast as one by one. */
function areZero(words: Int32Array, start: number, end: number): boolean {
  let at = start;
  for (; at + 16 <= end; at += 16) {
    const any = word(words, at) | word(words, at + 1) | word(words, at + 2) | word(words, at + 3) |
      word(words, at + 4) | word(words, at + 5) | word(words, at + 6) | word(words, at + 7) |
      word(words, at + 8) | word(words, at + 9) | word(words, at + 10) | word(words, at + 11) |
      word(words, at + 12) | word(words, at + 13) | word(words, at + 14) | word(words, at + 15);
    if (any !== 0) return false;
  }
  while (at < end) if (words[at++] !== 0) return false;
  return true;
}

function word(words: Int32Array, index: number): number {
  return words[index] ?? 0;
}

/**
 * Replies on their way. Hot path: allocates nothing per reply. Own blocks begin small and grow with
 * what is gathered; the room that is told is that of a grown one.
 */
export class ReplyBuffer {
  readonly #pool: BlockPool;
  readonly #ownLength: number;
  /** Own blocks that are neither filling nor being sent. */
  readonly #spare: Block[] = [];
  #fill: Block;
  #length = 0;
  #sending: Block | null = null;

  constructor(pool: BlockPool, ownLength = REPLY_BYTES) {
    this.#pool = pool;
    this.#ownLength = ownLength;
    this.#fill = this.#newBlock();
  }

  #newBlock(): Block {
    return new Block(Math.min(OWN_BYTES_FIRST, this.#ownLength));
  }

  /** Bytes that are gathered and not yet being sent. */
  get length(): number {
    return this.#length;
  }

  /** Bytes that can be added now. */
  get room(): number {
    return Math.max(this.#fill.bytes.length, this.#ownLength) - this.#length;
  }

  /** A write to the socket is under way. */
  get isSending(): boolean {
    return this.#sending !== null;
  }

  /** Tries to have room for `count`, by borrowing a large block while empty. Returns the room. */
  reserve(count: number): number {
    if (this.#length === 0 && count > this.room) {
      const large = this.#pool.take();
      if (large !== null) {
        this.#keep(this.#fill);
        this.#fill = large;
      }
    }
    return this.room;
  }

  /** Begins to send: what was gathered, to be left alone until {@linkcode ReplyBuffer.sent}. */
  take(): Bytes {
    assert(this.#sending === null, "one write at a time");
    const bytes = this.#fill.bytes.subarray(0, this.#length);
    this.#sending = this.#fill;
    this.#fill = this.#spare.pop() ?? this.#newBlock();
    this.#length = 0;
    return bytes;
  }

  /** The write that {@linkcode ReplyBuffer.take} began is over. */
  sent(): void {
    const block = this.#sending;
    assert(block !== null, "what is sent was taken before");
    this.#sending = null;
    this.#keep(block);
  }

  /** Drops what was gathered and returns what was lent, but for what is being sent. */
  release(): void {
    this.#length = 0;
    if (this.#fill.bytes.length <= this.#ownLength) return;
    this.#keep(this.#fill);
    this.#fill = this.#spare.pop() ?? this.#newBlock();
  }

  /** Sees that `count` bytes more fit the block: the caller made sure that there is room. */
  #fit(count: number): void {
    if (this.#length + count > this.#fill.bytes.length) this.#grow(this.#length + count);
  }

  #grow(needed: number): void {
    const old = this.#fill;
    assert(needed <= this.#ownLength, "replies stay within their buffer");
    let length = old.bytes.length;
    while (length < needed) length *= OWN_BYTES_FACTOR;
    this.#fill = new Block(Math.min(length, this.#ownLength));
    // All of it: what was put ahead, too.
    this.#fill.bytes.set(old.bytes);
  }

  /** A simple reply without data. */
  simple(errorNumber: number, handleHigh: number, handleLow: number): void {
    this.#fit(SIMPLE_REPLY_BYTES);
    const at = this.#length;
    const view = this.#fill.view;
    view.setUint32(at, SIMPLE_REPLY_MAGIC);
    view.setUint32(at + 4, errorNumber);
    view.setUint32(at + 8, handleHigh);
    view.setUint32(at + 12, handleLow);
    this.#length = at + SIMPLE_REPLY_BYTES;
  }

  /** The header of a chunk with `payloadBytes` behind it. */
  chunk(
    flags: number,
    type: number,
    handleHigh: number,
    handleLow: number,
    payloadBytes: number,
  ): void {
    this.#fit(CHUNK_HEADER_BYTES);
    const at = this.#length;
    const view = this.#fill.view;
    view.setUint32(at, CHUNK_MAGIC);
    view.setUint16(at + 4, flags);
    view.setUint16(at + 6, type);
    view.setUint32(at + 8, handleHigh);
    view.setUint32(at + 12, handleLow);
    view.setUint32(at + 16, payloadBytes);
    this.#length = at + CHUNK_HEADER_BYTES;
  }

  /** An error chunk that ends a reply. */
  errorChunk(fault: Fault, handleHigh: number, handleLow: number): void {
    const { errorNumber, message } = fault;
    this.chunk(CHUNK_FLAG_DONE, Chunk.ERROR, handleHigh, handleLow, 6 + message.length);
    this.#fit(6 + message.length);
    this.uint32(errorNumber);
    this.#fill.view.setUint16(this.#length, message.length);
    this.#fill.bytes.set(message, this.#length + 2);
    this.#length += 2 + message.length;
  }

  uint32(value: number): void {
    this.#fit(4);
    this.#fill.view.setUint32(this.#length, value);
    this.#length += 4;
  }

  /** A number below 2^53 as 64 bits. */
  uint64(value: number): void {
    this.uint32(Math.floor(value / TWO_TO_32));
    this.uint32(value % TWO_TO_32);
  }

  /** The `count` bytes that stand `skip` bytes behind what was gathered. */
  ahead(skip: number, count: number): Bytes {
    this.#fit(skip + count);
    const at = this.#length + skip;
    return this.#fill.bytes.subarray(at, at + count);
  }

  /** Adds `count` bytes that were put {@linkcode ReplyBuffer.ahead}. */
  advance(count: number): void {
    this.#length += count;
    assert(this.#length <= this.#fill.bytes.length, "replies stay within their buffer");
  }

  /** Whether the `count` bytes at {@linkcode ReplyBuffer.ahead} of `skip` are all zero. */
  isZeroAhead(skip: number, count: number): boolean {
    const { bytes, words } = this.#fill;
    let at = this.#length + skip;
    const end = at + count;
    // Data that is not all zero mostly shows it here.
    if (bytes[at] !== 0 || bytes[end - 1] !== 0 || bytes[at + (count >>> 1)] !== 0) return false;
    while (at < end && (at & 3) !== 0) if (bytes[at++] !== 0) return false;
    const wordEnd = end >>> 2;
    if (!areZero(words, at >>> 2, wordEnd)) return false;
    at = Math.max(at, wordEnd << 2);
    while (at < end) if (bytes[at++] !== 0) return false;
    return true;
  }

  #keep(block: Block): void {
    if (block.bytes.length <= this.#ownLength) this.#spare.push(block);
    else this.#pool.give(block);
  }
}
