/**
 * The buffers of a connection: bytes, and views over them that are made once.
 *
 * Every connection has small ones of its own, which grow up to a bound when more comes or is asked
 * for. Large ones are lent by a pool of bounded size, for large requests; who gets none works in
 * smaller pieces and waits for nobody.
 *
 * @module
 */
import type { Bytes } from "../ports.ts";
import {
  LARGE_BUFFER_BYTES,
  LARGE_BUFFERS_MAX,
  OWN_BYTES_FACTOR,
  OWN_BYTES_FIRST,
  RECEIVE_BYTES,
} from "./nbd_limits.ts";

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
  /** Grow when a read filled all the room there was, not only for a message that would not fit. */
  isEager = false;
  #end = 0;
  readonly #pool: BlockPool;
  readonly #ownLengthMax: number;
  #own: Block;
  #block: Block;
  #offered = 0;
  #wasFilled = false;

  /** Begins with `ownLength` bytes of its own and grows to `ownLengthMax`: multiples of four. */
  constructor(pool: BlockPool, ownLengthMax = RECEIVE_BYTES, ownLength = ownLengthMax) {
    this.#pool = pool;
    this.#ownLengthMax = ownLengthMax;
    this.#own = new Block(ownLength);
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
    return this.start === 0 && this.#end === this.#block.bytes.length &&
      this.#end >= this.#ownLengthMax;
  }

  /**
   * Where the next bytes from the socket go: never empty unless {@linkcode ReceiveBuffer.full}.
   * Sees to it that `wanted` bytes from `start` will fit, if a large block is to be had, and
   * returns a large block that is no longer needed.
   */
  space(wanted: number): Bytes {
    if (this.#block === this.#own) {
      const large = wanted > this.#ownLengthMax ? this.#pool.take() : null;
      if (large !== null) this.#moveTo(large);
      else this.#growOwn(wanted);
    } else if (wanted <= this.#ownLengthMax && this.available <= this.#ownLengthMax) {
      const large = this.#block;
      if (this.#own.bytes.length < this.#ownLengthMax) this.#own = new Block(this.#ownLengthMax);
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
    this.#offered = this.#block.bytes.length - this.#end;
    return this.#block.bytes.subarray(this.#end);
  }

  /** Makes the own block larger where what is wanted does not fit it, or it was too small. */
  #growOwn(wanted: number): void {
    const length = this.#own.bytes.length;
    if (length === this.#ownLengthMax) return;
    const isEager = this.isEager && this.#wasFilled;
    if (wanted <= length && this.available < length && !isEager) return;
    const needed = Math.max(wanted, this.available + 1, isEager ? length * OWN_BYTES_FACTOR : 0);
    const rounded = Math.ceil(needed / OWN_BYTES_FIRST) * OWN_BYTES_FIRST;
    const own = new Block(Math.min(rounded, this.#ownLengthMax));
    this.#moveTo(own);
    this.#own = own;
    this.#wasFilled = false;
  }

  /** Tells that `count` bytes were put into the last {@linkcode ReceiveBuffer.space}. */
  received(count: number): void {
    this.#end += count;
    this.#wasFilled = count === this.#offered;
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
