/**
 * The writes and flushes of one client that were taken and have no reply yet.
 *
 * @module
 */
import type { Front } from "./backend.ts";
import { SIMPLE_REPLY_BYTES } from "./constants.ts";
import type { Fault } from "./faults.ts";
import { WAITING_MAX } from "./nbd_limits.ts";
import type { ReplyBuffer } from "./reply_buffer.ts";
import { WaitingRing } from "./waiting.ts";

/** Two rings: what waits to be acknowledged, and what (FLUSH, FUA) waits to be flushed. */
export class Unanswered {
  readonly #front: Front;
  readonly #replies: ReplyBuffer;
  readonly #writes: WaitingRing;
  readonly #flushes: WaitingRing;
  /** So many at the head of each ring are answered with an error. */
  #refusedWrites = 0;
  #refusedFlushes = 0;
  #errorNumber = 0;

  constructor(front: Front, replies: ReplyBuffer, waitingMax: number = WAITING_MAX) {
    this.#front = front;
    this.#replies = replies;
    this.#writes = new WaitingRing(waitingMax);
    this.#flushes = new WaitingRing(waitingMax);
  }

  get isEmpty(): boolean {
    return this.#writes.count === 0 && this.#flushes.count === 0;
  }

  /** Another request may find no place. */
  get isFull(): boolean {
    return this.#writes.full || this.#flushes.full;
  }

  get someFlush(): boolean {
    return this.#flushes.count > 0;
  }

  addWrite(ticket: number, handleHigh: number, handleLow: number): void {
    this.#writes.push(ticket, handleHigh, handleLow);
  }

  addFlush(ticket: number, handleHigh: number, handleLow: number): void {
    this.#flushes.push(ticket, handleHigh, handleLow);
  }

  /** All that wait now are to be answered with that error. */
  refuse(fault: Fault): void {
    this.#errorNumber = fault.errorNumber;
    this.#refusedWrites = this.#writes.count;
    this.#refusedFlushes = this.#flushes.count;
    // Positions that a failed commit gave out may be given out again.
    this.#writes.forgetOrder();
    this.#flushes.forgetOrder();
  }

  /** Answers those whose time has come, as far as there is room. Hot path. */
  settle(): void {
    if (this.#refusedWrites > 0) {
      this.#refusedWrites -= this.#settleRefused(this.#writes, this.#refusedWrites);
    }
    if (this.#refusedFlushes > 0) {
      this.#refusedFlushes -= this.#settleRefused(this.#flushes, this.#refusedFlushes);
    }
    if (this.#refusedWrites === 0) this.#settle(this.#writes, this.#front.acknowledgedLsn);
    if (this.#refusedFlushes === 0) this.#settle(this.#flushes, this.#front.flushedLsn);
  }

  #settle(ring: WaitingRing, position: number): void {
    const replies = this.#replies;
    while (ring.firstTicket <= position && replies.room >= SIMPLE_REPLY_BYTES) {
      replies.simple(0, ring.firstHandleHigh, ring.firstHandleLow);
      ring.shift();
    }
  }

  #settleRefused(ring: WaitingRing, count: number): number {
    const replies = this.#replies;
    let done = 0;
    while (done < count && replies.room >= SIMPLE_REPLY_BYTES) {
      replies.simple(this.#errorNumber, ring.firstHandleHigh, ring.firstHandleLow);
      ring.shift();
      done++;
    }
    return done;
  }
}
