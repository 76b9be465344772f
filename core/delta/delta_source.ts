/**
 * Where a delta's body comes from, as the link that ships it sees it.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { Bytes } from "../ports.ts";
import { type BodyCursor, readBody } from "./delta_body.ts";
import type { DeltaHeader, DeltaTrailer } from "./delta_format.ts";
import type { Delta } from "./delta_shelf.ts";

/** See the module's text. One call at a time. */
export interface DeltaSource {
  readonly header: DeltaHeader;
  /** The log from here on must stay; {@linkcode DeltaSource.foldTo} moves it. */
  readonly heldLsn: number;
  /** Bytes of the body in all, as far as can be told now. */
  readonly bytesExpected: number;
  /** Goes on behind what the peer has of this delta. */
  seek(position: number, cursor: BodyCursor): void;
  /**
   * Writes the next whole records into `into`; returns their bytes, 0 at the end of a pass. No more than `bytesWanted`
   * where it makes the records itself: what is large is cut.
   */
  next(into: Bytes, bytesWanted?: number): Promise<number>;
  /**
   * The peer has all of this pass: the trailer, or null when another pass is due. Waits where what
   * is to be read next is not applied yet.
   */
  endPass(): Promise<DeltaTrailer | null>;
  /** The log below `lsn` goes: what it touched is read from the volume (again). */
  foldTo(lsn: number): Promise<void>;
  close(): void;
}

/** A delta that this node holds itself, forwarded as it is. */
export class ForwardedDelta implements DeltaSource {
  readonly #delta: Delta;
  #position = 0;
  #isClosed = false;

  constructor(delta: Delta) {
    this.#delta = delta;
    delta.use();
  }

  get header(): DeltaHeader {
    return this.#delta.header;
  }

  /** The log below is not read: the delta itself stays as long as the link has not taken it. */
  readonly heldLsn = Infinity;

  get bytesExpected(): number {
    return this.#delta.bodyBytes;
  }

  seek(position: number): void {
    this.#position = position;
  }

  next(into: Bytes): Promise<number> {
    if (this.#position >= this.#delta.bodyBytes) return Promise.resolve(0);
    const bytes = readBody(this.#delta, this.#position, into);
    assert(bytes > 0, "a body ends where a record ends");
    this.#position += bytes;
    return Promise.resolve(bytes);
  }

  endPass(): Promise<DeltaTrailer> {
    return Promise.resolve(this.#delta.trailer);
  }

  foldTo(): Promise<void> {
    return Promise.resolve();
  }

  close(): void {
    if (!this.#isClosed) this.#delta.release();
    this.#isClosed = true;
  }
}
