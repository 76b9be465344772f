/**
 * Two ends of a connection in memory, with a hand on what gets through.
 *
 * @module
 */
import { CascadeError } from "../../core/errors.ts";
import type { Bytes, Connection } from "../../core/ports.ts";

/** One end. What is written to it, the other end reads. */
export class PairEnd implements Connection {
  readonly remote: string;
  readonly transport = "tcp";
  readonly channelBinding = null;
  readonly certifiedNames = null;
  /** At most so many bytes a read: to split the stream. */
  readBytesMax = Infinity;
  /** Writes wait while this is true. */
  stalled = false;
  closed = false;
  peer: PairEnd | null = null;
  writes = 0;
  #incoming: Uint8Array[] = [];
  #wakeReader: (() => void) | null = null;
  #wakeWriter: (() => void) | null = null;

  constructor(remote: string) {
    this.remote = remote;
  }

  async read(into: Bytes): Promise<number | null> {
    while (this.#incoming.length === 0) {
      if (this.closed) throw lost();
      if (this.peer?.closed === true) return null;
      await new Promise<void>((go) => this.#wakeReader = go);
    }
    const first = this.#incoming[0] ?? new Uint8Array(0);
    const count = Math.min(first.length, into.length, this.readBytesMax);
    into.set(first.subarray(0, count));
    if (count === first.length) this.#incoming.shift();
    else this.#incoming[0] = first.subarray(count);
    return count;
  }

  async write(bytes: Bytes): Promise<void> {
    while (this.stalled && !this.closed) {
      await new Promise<void>((go) => this.#wakeWriter = go);
    }
    if (this.closed || this.peer === null || this.peer.closed) throw lost();
    this.writes++;
    this.peer.#incoming.push(Uint8Array.from(bytes));
    this.peer.wake();
  }

  /** Lets stalled writes through. */
  release(): void {
    this.stalled = false;
    this.wake();
  }

  wake(): void {
    this.#wakeReader?.();
    this.#wakeWriter?.();
    this.#wakeReader = this.#wakeWriter = null;
  }

  close(): void {
    this.closed = true;
    this.wake();
    this.peer?.wake();
  }
}

export function connectionPair(): [PairEnd, PairEnd] {
  const [a, b] = [new PairEnd("b"), new PairEnd("a")];
  a.peer = b;
  b.peer = a;
  return [a, b];
}

function lost(): CascadeError {
  return new CascadeError("connection-lost", "the pair is closed", { retryable: true });
}
