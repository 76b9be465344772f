/**
 * An NBD client: one connection to one export, any number of requests at once, bounded by the bytes
 * that are in flight.
 *
 * Protocol: NetworkBlockDevice/nbd, doc/proto.md. It does not reconnect: whoever copies through it
 * knows what was answered, and goes on from there.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { Command, REQUEST_HEADER_BYTES, REQUEST_MAGIC } from "../nbd/constants.ts";
import type { Bytes, Clock, Connection, Network, Timer } from "../ports.ts";
import { ByteReader } from "./byte_reader.ts";
import { agree, type Agreed, askForTls, greet, protocol } from "./client_handshake.ts";
import { type Extent, type Pending, readReply } from "./replies.ts";
import type { NbdPlace } from "./uri.ts";

/** Enough to keep a fast server busy, and little enough to forget about. */
const IN_FLIGHT_BYTES_MAX = 16 * 1024 * 1024;
const IN_FLIGHT_REQUESTS_MAX = 128;
const HANDSHAKE_TIMEOUT_MS = 10_000;
/** A server that says nothing for so long, while it owes an answer, counts as gone. */
const SILENCE_MS_MAX = 120_000;

interface Waiting extends Pending {
  readonly done: () => void;
  readonly failed: (error: unknown) => void;
}

interface Outgoing {
  readonly handle: number;
  readonly payload: Bytes | null;
}

/** One connection. Every call may be made at any time; answers come in any order. */
export class NbdClient {
  readonly export: Agreed;
  readonly #connection: Connection;
  readonly #reader: ByteReader;
  readonly #clock: Clock;
  readonly #waiting = new Map<number, Waiting>();
  /** Requests that wait for room, first come first served. */
  readonly #room: { bytes: number; go: () => void; failed: (error: unknown) => void }[] = [];
  readonly #outgoing: Outgoing[] = [];
  #sending = false;
  #nextHandle = 1;
  #inFlightBytes = 0;
  #inFlightRequests = 0;
  #broken: CascadeError | null = null;
  #timer: Timer | null = null;
  #seenBytes = 0;

  private constructor(connection: Connection, reader: ByteReader, agreed: Agreed, clock: Clock) {
    this.#connection = connection;
    this.#reader = reader;
    this.#clock = clock;
    this.export = agreed;
  }

  /**
   * Connects; over TLS, if the place says so, on connections that the network has made for that. Throws `unreachable`, `timed-out`, `refused`, `protocol` or `connection-lost`.
   */
  static async connect(
    { network, clock }: { network: Network; clock: Clock },
    place: NbdPlace,
  ): Promise<NbdClient> {
    let connection = await network.dial(place.address);
    let reader = new ByteReader(connection);
    let late = false;
    const timer = clock.after(HANDSHAKE_TIMEOUT_MS, () => {
      late = true;
      connection.close();
    });
    try {
      await greet(connection, reader);
      if (place.tls !== null) {
        connection = await askForTls(connection, reader);
        reader = new ByteReader(connection);
      }
      const agreed = await agree(connection, reader, place.exportName);
      const client = new NbdClient(connection, reader, agreed, clock);
      void client.#receive();
      return client;
    } catch (error) {
      connection.close();
      if (!late) throw error;
      throw new CascadeError("timed-out", "the NBD server does not finish the handshake", {
        where: { address: place.address },
        retryable: true,
      });
    } finally {
      timer.cancel();
    }
  }

  /** Fills `into` from `offset`. Throws what the server answered, or `connection-lost`. */
  read(into: Bytes, offset: number): Promise<void> {
    return this.#ask(Command.READ, offset, into.length, { into });
  }

  /** Writes `payload`, which stays unchanged until this settles. */
  write(payload: Bytes, offset: number): Promise<void> {
    return this.#ask(Command.WRITE, offset, payload.length, { payload });
  }

  /** WRITE_ZEROES; the server may make a hole. At most 4 GiB less one block. */
  zero(offset: number, length: number): Promise<void> {
    return this.#ask(Command.WRITE_ZEROES, offset, length);
  }

  /** Asks for everything that was answered to be on stable storage. */
  flush(): Promise<void> {
    return this.#ask(Command.FLUSH, 0, 0);
  }

  /** The extents from `offset` on: at least one, and not always as far as was asked. */
  async blockStatus(offset: number, length: number): Promise<readonly Extent[]> {
    assert(this.export.allocationId !== null, "block status was agreed on");
    const extents: Extent[] = [];
    await this.#ask(Command.BLOCK_STATUS, offset, length, { extents });
    return extents;
  }

  /** Says goodbye and hangs up; what waits fails. Safe to call again. */
  async close(): Promise<void> {
    if (this.#broken === null && !this.#sending) {
      try {
        await this.#connection.write(header(Command.DISC, 0, 0, 0));
      } catch {
        // It is gone already, which is all that was wanted.
      }
    }
    this.#break(new CascadeError("connection-lost", "the connection was closed here"));
  }

  async #ask(
    command: number,
    offset: number,
    length: number,
    extra: { into?: Bytes; payload?: Bytes; extents?: Extent[] } = {},
  ): Promise<void> {
    const bytes = extra.into?.length ?? extra.payload?.length ?? 0;
    await this.#roomFor(bytes);
    try {
      await new Promise<void>((done, failed) => {
        if (this.#broken !== null) return failed(this.#broken);
        const handle = this.#nextHandle++;
        const { into = null, extents = [], payload = null } = extra;
        this.#waiting.set(handle, {
          ...{ command, offset, length, into, extents, parts: [], chunks: 0, error: null },
          ...{ done, failed },
        });
        this.#outgoing.push({ handle, payload });
        this.#watch();
        if (!this.#sending) void this.#send();
      });
    } finally {
      this.#release(bytes);
    }
  }

  async #roomFor(bytes: number): Promise<void> {
    if (this.#room.length > 0 || !this.#fits(bytes)) {
      // Whoever makes room takes it for the one that waits: nobody else gets in between.
      return await new Promise<void>((go, failed) => this.#room.push({ bytes, go, failed }));
    }
    this.#inFlightBytes += bytes;
    this.#inFlightRequests++;
  }

  #fits(bytes: number): boolean {
    return this.#inFlightRequests === 0 ||
      this.#inFlightRequests < IN_FLIGHT_REQUESTS_MAX &&
        this.#inFlightBytes + bytes <= IN_FLIGHT_BYTES_MAX;
  }

  #release(bytes: number): void {
    this.#inFlightBytes -= bytes;
    this.#inFlightRequests--;
    for (
      let next = this.#room[0];
      next !== undefined && this.#fits(next.bytes);
      next = this.#room[0]
    ) {
      this.#room.shift();
      this.#inFlightBytes += next.bytes;
      this.#inFlightRequests++;
      next.go();
    }
  }

  async #send(): Promise<void> {
    this.#sending = true;
    try {
      for (let next = this.#outgoing.shift(); next !== undefined; next = this.#outgoing.shift()) {
        const waiting = this.#waiting.get(next.handle);
        if (waiting === undefined) continue;
        const { command, offset, length } = waiting;
        await this.#connection.write(header(command, next.handle, offset, length));
        if (next.payload !== null) await this.#connection.write(next.payload);
      }
    } catch (error) {
      this.#break(error);
    }
    this.#sending = false;
  }

  async #receive(): Promise<void> {
    const find = (handle: number): Waiting => {
      const waiting = this.#waiting.get(handle);
      if (waiting === undefined) throw protocol("an answer to nothing that was asked");
      return waiting;
    };
    try {
      while (this.#broken === null) {
        const handle = await readReply(this.#reader, find, this.export);
        if (handle === null) continue;
        const waiting = find(handle);
        this.#waiting.delete(handle);
        if (waiting.error === null) waiting.done();
        else waiting.failed(waiting.error);
      }
    } catch (error) {
      this.#break(error);
    }
  }

  /** Ends the connection of a server that owes an answer and says nothing. */
  #watch(): void {
    if (this.#timer !== null) return;
    this.#seenBytes = this.#reader.receivedBytes;
    this.#timer = this.#clock.after(SILENCE_MS_MAX, () => {
      this.#timer = null;
      if (this.#waiting.size === 0) return;
      if (this.#reader.receivedBytes !== this.#seenBytes) return this.#watch();
      this.#break(
        new CascadeError("timed-out", "the NBD server does not answer", {
          where: { peer: this.#connection.remote, seconds: SILENCE_MS_MAX / 1000 },
          retryable: true,
        }),
      );
    });
  }

  #break(error: unknown): void {
    if (this.#broken !== null) return;
    this.#broken = error instanceof CascadeError
      ? error
      : new CascadeError("bug", "the NBD client failed", { cause: error });
    this.#timer?.cancel();
    this.#connection.close();
    for (const waiting of this.#waiting.values()) waiting.failed(this.#broken);
    this.#waiting.clear();
    for (const { failed } of this.#room.splice(0)) failed(this.#broken);
  }
}

function header(command: number, handle: number, offset: number, length: number): Bytes {
  const bytes = new Uint8Array(REQUEST_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, REQUEST_MAGIC);
  view.setUint16(6, command);
  view.setBigUint64(8, BigInt(handle));
  view.setBigUint64(16, BigInt(offset));
  view.setUint32(24, length);
  return bytes;
}
