/**
 * Requests that wait for a position of the log, oldest first: a ring of numbers, so that a request
 * that waits costs no object.
 *
 * @module
 */
import { assert } from "../assert.ts";

const CAPACITY_FIRST = 64;

/** Handles in the order of their tickets. Hot path: allocates only when it grows. */
export class WaitingRing {
  readonly #capacityMax: number;
  /** Two halves of 32 bits for each request. */
  #handles: Uint32Array;
  #tickets: Float64Array;
  #first = 0;
  #count = 0;
  #lastTicket = 0;

  /** `capacityMax` is a power of two. */
  constructor(capacityMax: number) {
    assert(
      Number.isInteger(Math.log2(capacityMax)) && capacityMax >= CAPACITY_FIRST,
      "the capacity of a ring is a power of two",
    );
    this.#capacityMax = capacityMax;
    this.#handles = new Uint32Array(CAPACITY_FIRST * 2);
    this.#tickets = new Float64Array(CAPACITY_FIRST);
  }

  get count(): number {
    return this.#count;
  }

  get full(): boolean {
    return this.#count === this.#capacityMax;
  }

  /** The ticket of the oldest; Infinity when nothing waits. */
  get firstTicket(): number {
    return this.#count === 0 ? Infinity : this.#tickets[this.#first] ?? Infinity;
  }

  get firstHandleHigh(): number {
    return this.#handles[this.#first * 2] ?? 0;
  }

  get firstHandleLow(): number {
    return this.#handles[this.#first * 2 + 1] ?? 0;
  }

  /** Adds a request behind all others: its ticket is not below theirs. */
  push(ticket: number, handleHigh: number, handleLow: number): void {
    assert(this.#count === 0 || ticket >= this.#lastTicket, "tickets come in order");
    if (this.#count === this.#tickets.length) this.#grow();
    const index = (this.#first + this.#count) & (this.#tickets.length - 1);
    this.#tickets[index] = ticket;
    this.#handles[index * 2] = handleHigh;
    this.#handles[index * 2 + 1] = handleLow;
    this.#lastTicket = ticket;
    this.#count++;
  }

  /** Takes the oldest off. */
  shift(): void {
    assert(this.#count > 0, "only what waits is taken off");
    this.#first = (this.#first + 1) & (this.#tickets.length - 1);
    this.#count--;
  }

  /** Lets the next ticket be any: the positions above some are given out again. */
  forgetOrder(): void {
    this.#lastTicket = 0;
  }

  #grow(): void {
    const capacity = this.#tickets.length;
    assert(capacity < this.#capacityMax, "a full ring takes no more");
    const tickets = new Float64Array(capacity * 2);
    const handles = new Uint32Array(capacity * 4);
    const tail = capacity - this.#first;
    tickets.set(this.#tickets.subarray(this.#first));
    tickets.set(this.#tickets.subarray(0, this.#first), tail);
    handles.set(this.#handles.subarray(this.#first * 2));
    handles.set(this.#handles.subarray(0, this.#first * 2), tail * 2);
    this.#tickets = tickets;
    this.#handles = handles;
    this.#first = 0;
  }
}
