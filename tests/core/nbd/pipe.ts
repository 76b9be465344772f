/**
 * A network in memory, whose connections hold a bounded number of bytes.
 *
 * @module
 */
import { CascadeError } from "../../../core/errors.ts";
import type { Bytes, Connection, Journal, Listener, Network } from "../../../core/ports.ts";

/** One direction: a bounded queue of bytes. */
class Stream {
  readonly #capacity: number;
  readonly #parts: Uint8Array[] = [];
  #bytes = 0;
  #ended = false;
  #broken = false;
  #waiters: (() => void)[] = [];

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  get bytes(): number {
    return this.#bytes;
  }

  async write(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) {
      if (this.#broken || this.#ended) throw lost();
      const count = Math.min(this.#capacity - this.#bytes, bytes.length - at);
      if (count > 0) {
        this.#parts.push(bytes.slice(at, at + count));
        this.#bytes += count;
        at += count;
        this.#tell();
      } else await this.#change();
    }
  }

  async read(into: Uint8Array): Promise<number | null> {
    for (;;) {
      if (this.#broken) throw lost();
      const part = this.#parts[0];
      if (part !== undefined) {
        const count = Math.min(part.length, into.length);
        into.set(part.subarray(0, count));
        if (count === part.length) this.#parts.shift();
        else this.#parts[0] = part.subarray(count);
        this.#bytes -= count;
        this.#tell();
        return count;
      }
      if (this.#ended) return null;
      await this.#change();
    }
  }

  /** The writer is gone: what was written can still be read. */
  end(): void {
    this.#ended = true;
    this.#tell();
  }

  /** This end is gone. */
  break(): void {
    this.#broken = true;
    this.#tell();
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#waiters.push(resolve));
  }

  #tell(): void {
    const waiters = this.#waiters;
    this.#waiters = [];
    for (const waiter of waiters) waiter();
  }
}

function lost(): CascadeError {
  return new CascadeError("connection-lost", "the connection is closed");
}

/** One end of a connection. */
export class PipeEnd implements Connection {
  readonly remote = "test";
  readonly transport = "tcp";
  readonly channelBinding = null;
  readonly certifiedNames = null;
  closed = false;
  readonly #incoming: Stream;
  readonly #outgoing: Stream;

  constructor(incoming: Stream, outgoing: Stream) {
    this.#incoming = incoming;
    this.#outgoing = outgoing;
  }

  /** Bytes that the other end wrote and this one has not read. */
  get unreadBytes(): number {
    return this.#incoming.bytes;
  }

  read(into: Bytes): Promise<number | null> {
    return this.#incoming.read(into);
  }

  write(bytes: Bytes): Promise<void> {
    return this.#outgoing.write(bytes);
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.#incoming.break();
    this.#outgoing.end();
  }
}

/** Two ends, joined; each direction holds at most `capacity` bytes. */
export function pipe(capacity = 1 << 20): [PipeEnd, PipeEnd] {
  const there = new Stream(capacity);
  const back = new Stream(capacity);
  return [new PipeEnd(back, there), new PipeEnd(there, back)];
}

/** Addresses are any text. */
export class PipeNetwork implements Network {
  capacity = 1 << 20;
  readonly #accepts = new Map<string, (connection: Connection) => void>();

  dial(address: string): Promise<Connection> {
    return Promise.resolve(this.connect(address));
  }

  /** Dials at once. */
  connect(address: string): PipeEnd {
    const accept = this.#accepts.get(address);
    if (accept === undefined) throw new CascadeError("unreachable", `nobody is at ${address}`);
    const [mine, theirs] = pipe(this.capacity);
    accept(theirs);
    return mine;
  }

  listen(address: string, accept: (connection: Connection) => void): Promise<Listener> {
    if (this.#accepts.has(address)) {
      return Promise.reject(new CascadeError("address-in-use", `${address} is taken`));
    }
    this.#accepts.set(address, accept);
    return Promise.resolve({ address, close: () => void this.#accepts.delete(address) });
  }
}

/** Remembers what was told. */
export class ListJournal implements Journal {
  readonly lines: string[] = [];

  write(level: string, message: string, fields: Record<string, unknown> = {}): void {
    this.lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  }
}
