/**
 * The buffers of a connection: bytes, and views over them that are made once.
 *
 * Every connection has small ones of its own. Large ones are lent by a pool of bounded size, for
 * large requests; who gets none works in smaller pieces and waits for nobody.
 *
 * @module
 */
import type { Bytes } from "../ports.ts";
import { LARGE_BUFFER_BYTES, LARGE_BUFFERS_MAX, RECEIVE_BYTES } from "./nbd_limits.ts";

/** Some memory. */
export class Block {
  readonly bytes: Bytes;
  readonly view: DataView;
  /** The same memory in words of 32 bits, in the machine's order: good for comparing with zero. */
  readonly words: Int32Array;

  /** `length` is a multiple of four. */
  constructor(length: number) {
    this.bytes = new Uint8Array(length);
    this.view = new DataView(this.bytes.buffer);
    this.words = new Int32Array(this.bytes.buffer);
  }
}

/** The large blocks of a server, made when they are first needed. */
export class BlockPool {
  readonly #free: Block[] = [];
  readonly #blocksMax: number;
  #made = 0;

  constructor(blocksMax = LARGE_BUFFERS_MAX) {
    this.#blocksMax = blocksMax;
  }

  /** How many are lent out. */
  get lent(): number {
    return this.#made - this.#free.length;
  }

  /** A large block, or null when all are lent. */
  take(): Block | null {
    const block = this.#free.pop();
    if (block !== undefined) return block;
    if (this.#made === this.#blocksMax) return null;
    this.#made++;
    return new Block(LARGE_BUFFER_BYTES);
  }

  give(block: Block): void {
    this.#free.push(block);
  }
}

/** What came from the socket and was not yet taken: [start, end) of `bytes`. */
export class ReceiveBuffer {
  /** Where the next message begins; whoever takes it moves this. */
  start = 0;
  #end = 0;
  readonly #pool: BlockPool;
  readonly #own: Block;
  #block: Block;

  constructor(pool: BlockPool, length = RECEIVE_BYTES) {
    this.#pool = pool;
    this.#own = new Block(length);
    this.#block = this.#own;
  }

  get bytes(): Bytes {
    return this.#block.bytes;
  }

  get view(): DataView {
    return this.#block.view;
  }

  get end(): number {
    return this.#end;
  }

  get available(): number {
    return this.#end - this.start;
  }

  /** No more can come before something is taken. */
  get full(): boolean {
    return this.start === 0 && this.#end === this.#block.bytes.length;
  }

  /**
   * Where the next bytes from the socket go: never empty unless {@linkcode ReceiveBuffer.full}.
   * Sees to it that `wanted` bytes from `start` will fit, if a large block is to be had, and
   * returns a large block that is no longer needed.
   */
  space(wanted: number): Bytes {
    const ownLength = this.#own.bytes.length;
    if (this.#block === this.#own) {
      const large = wanted > ownLength ? this.#pool.take() : null;
      if (large !== null) this.#moveTo(large);
    } else if (wanted <= ownLength && this.available <= ownLength) {
      const large = this.#block;
      this.#moveTo(this.#own);
      this.#pool.give(large);
    }
    const length = this.#block.bytes.length;
    if (this.available === 0) this.start = this.#end = 0;
    // Moving is for what would not fit, or when it costs little and the next read would bring little.
    const room = length - this.#end;
    const cheap = this.available <= length / 16;
    if (
      this.start > 0 && (room < wanted - this.available || room === 0 || cheap && room < length / 4)
    ) {
      this.#moveTo(this.#block);
    }
    return this.#block.bytes.subarray(this.#end);
  }

  /** Tells that `count` bytes were put into the last {@linkcode ReceiveBuffer.space}. */
  received(count: number): void {
    this.#end += count;
  }

  /** Returns what was lent, when no read is under way. */
  release(): void {
    if (this.#block !== this.#own) this.#pool.give(this.#block);
    this.#block = this.#own;
    this.start = this.#end = 0;
  }

  #moveTo(block: Block): void {
    const available = this.available;
    if (block === this.#block) block.bytes.copyWithin(0, this.start, this.#end);
    else block.bytes.set(this.#block.bytes.subarray(this.start, this.#end));
    this.#block = block;
    this.start = 0;
    this.#end = available;
  }
}
