/**
 * Reads exact numbers of bytes from a connection: headers through a small buffer, payload straight
 * to where it belongs.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { Bytes, Connection } from "../ports.ts";

/** Many headers at a time, and little that has to be copied of a large payload. */
const BUFFER_BYTES = 64 * 1024;

/** One reader per connection. */
export class ByteReader {
  readonly #connection: Connection;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  readonly #view = new DataView(this.#buffer.buffer);
  #start = 0;
  #end = 0;
  /** Bytes that ever came: tells a silent server from a slow one. */
  receivedBytes = 0;

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  /** Bytes that came and were not asked for yet. */
  get unread(): number {
    return this.#end - this.#start;
  }

  /**
   * The next `count` bytes as a view that holds until the next call; at most what the buffer takes.
   * Throws `connection-lost`.
   */
  async head(count: number): Promise<DataView> {
    if (this.#end - this.#start < count && this.#start > 0) {
      this.#buffer.copyWithin(0, this.#start, this.#end);
      this.#end -= this.#start;
      this.#start = 0;
    }
    while (this.#end - this.#start < count) {
      this.#end += await this.#read(this.#buffer.subarray(this.#end));
    }
    const view = new DataView(this.#view.buffer, this.#start, count);
    this.#start += count;
    return view;
  }

  /** Fills `into`. Throws `connection-lost`. */
  async fill(into: Bytes): Promise<void> {
    let done = Math.min(into.length, this.#end - this.#start);
    into.set(this.#buffer.subarray(this.#start, this.#start + done));
    this.#start += done;
    while (done < into.length) done += await this.#read(into.subarray(done));
  }

  async #read(into: Bytes): Promise<number> {
    const count = await this.#connection.read(into);
    if (count === null) {
      throw new CascadeError("connection-lost", "the server hung up", {
        where: { peer: this.#connection.remote },
        retryable: true,
      });
    }
    this.receivedBytes += count;
    return count;
  }
}
