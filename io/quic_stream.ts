/**
 * One connection over QUIC: a stream of it as a {@linkcode Connection}.
 *
 * @module
 */
import { CascadeError, describeError } from "../core/errors.ts";
import type { Bytes, Connection } from "../core/ports.ts";

/** What is read at once: little from a stranger, and more as soon as a read brings all that it may. */
const READ_BYTES_FIRST = 4 * 1024;
const READ_BYTES_FACTOR = 8;
const READ_BYTES_MAX = 256 * 1024;
/** How long the peer may take to read what was written before this end closed. */
const GOODBYE_MS = 1_000;

/** See the module's text. One read and one write at a time. */
export class QuicStream implements Connection {
  readonly remote: string;
  readonly transport = "quic";
  /** The runtime tells nothing of the kind. */
  readonly channelBinding = null;
  readonly certifiedNames: readonly string[] | null;
  readonly #conn: Deno.QuicConn;
  readonly #reader: ReadableStreamBYOBReader;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #onClosed: () => void;
  /** Read and not asked for yet: [start, end) of the buffer. */
  #buffer: Bytes = new Uint8Array(READ_BYTES_FIRST);
  #start = 0;
  #end = 0;
  #ended = false;
  #closed = false;
  #writing = false;
  #failReader: () => void = () => {};
  #failWriter: () => void = () => {};

  constructor(
    conn: Deno.QuicConn,
    stream: Deno.QuicBidirectionalStream,
    remote: string,
    certifiedNames: readonly string[] | null,
    onClosed: () => void,
  ) {
    this.#conn = conn;
    this.#reader = stream.readable.getReader({ mode: "byob" });
    this.#writer = stream.writable.getWriter();
    this.remote = remote;
    this.certifiedNames = certifiedNames;
    this.#onClosed = onClosed;
    // Whoever reads or writes meets it.
    this.#reader.closed.catch(() => {});
    this.#writer.closed.catch(() => {});
    conn.closed.catch(() => {});
  }

  async read(into: Bytes): Promise<number | null> {
    if (this.#closed) throw this.#lost(null);
    if (this.#start === this.#end && !this.#ended) await this.#fill();
    if (this.#closed) throw this.#lost(null);
    if (this.#start === this.#end) return null;
    const count = Math.min(into.length, this.#end - this.#start);
    into.set(this.#buffer.subarray(this.#start, this.#start + count));
    this.#start += count;
    return count;
  }

  /** The runtime takes a buffer along, and gives it back filled. */
  #fill(): Promise<void> {
    const { length } = this.#buffer;
    if (this.#end === length && length < READ_BYTES_MAX) {
      this.#buffer = new Uint8Array(length * READ_BYTES_FACTOR);
    }
    return new Promise((done, fail) => {
      // Settled by whichever comes first; a race with a promise that lives as long as the connection would leak.
      this.#failReader = () => fail(this.#lost(null));
      this.#reader.read(this.#buffer).then((result) => {
        if (result.value !== undefined) this.#buffer = new Uint8Array(result.value.buffer);
        this.#start = 0;
        this.#end = result.value?.length ?? 0;
        this.#ended = result.done;
        done();
      }, (error) => fail(this.#lost(error)));
    });
  }

  write(bytes: Bytes): Promise<void> {
    return new Promise((done, fail) => {
      if (this.#closed) return fail(this.#lost(null));
      this.#writing = true;
      this.#failWriter = () => fail(this.#lost(null));
      this.#writer.write(bytes).then(() => {
        this.#writing = false;
        if (this.#closed) fail(this.#lost(null));
        else done();
      }, (error) => fail(this.#lost(error)));
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#failReader();
    this.#failWriter();
    if (this.#writing) this.#hangUp();
    else this.#sayGoodbye();
  }

  /** What was written is on its way, and closing the connection would drop it: the peer ends it, or time does. */
  async #sayGoodbye(): Promise<void> {
    const timer = setTimeout(() => this.#hangUp(), GOODBYE_MS);
    try {
      await this.#writer.close();
      let unread: Bytes = new Uint8Array(READ_BYTES_FIRST);
      while (!this.#ended) {
        const { value, done } = await this.#reader.read(unread);
        if (value !== undefined) unread = new Uint8Array(value.buffer);
        this.#ended = done;
      }
    } catch {
      // The connection is gone already.
    }
    clearTimeout(timer);
    this.#hangUp();
  }

  #hangUp(): void {
    try {
      this.#conn.close({ closeCode: 0, reason: "" });
    } catch {
      // It was gone already.
    }
    this.#onClosed();
  }

  #lost(error: unknown): CascadeError {
    return new CascadeError(
      "connection-lost",
      this.#closed
        ? "the connection was closed here"
        : `the connection broke: ${describeError(error)}`,
      { where: { peer: this.remote }, retryable: true, cause: error },
    );
  }
}
