/**
 * Reading and writing a socket of `node:net` or `node:tls` as a {@linkcode Connection} wants it: bytes are pulled
 * when somebody reads, so that what nobody reads stays in the system's buffers; a write settles when the
 * system has its bytes.
 *
 * @module
 */
import type { Duplex } from "node:stream";
import { CascadeError } from "../core/errors.ts";
import type { Bytes } from "../core/ports.ts";

/** How long the peer may take to hear that this end has closed. */
const GOODBYE_MS = 1_000;

/** See the module's text. One read and one write at a time. */
export class SocketStream {
  readonly #socket: Duplex;
  readonly #remote: string;
  /** What was pulled and not asked for yet. */
  #rest: Uint8Array | null = null;
  #ended = false;
  #broken: unknown = null;
  #closed = false;
  #writing = false;
  #wakeReader: () => void = () => {};
  #failWriter: () => void = () => {};

  constructor(socket: Duplex, remote: string) {
    this.#socket = socket;
    this.#remote = remote;
    socket.on("readable", this.#onReadable);
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
  }

  readonly #onReadable = (): void => this.#wakeReader();

  readonly #onEnd = (): void => {
    this.#ended = true;
    this.#wakeReader();
  };

  readonly #onError = (error: unknown): void => this.#break(error);

  readonly #onClose = (): void => this.#break(new Error("the peer closed the connection"));

  /**
   * Lets go of the socket, for something else to go on with; nothing works here afterwards. False, and nothing is
   * changed, when there is something in it that nobody has read.
   */
  release(): boolean {
    const socket = this.#socket;
    if (this.#closed || this.#broken !== null || this.#writing) throw this.#lost();
    if (this.#rest !== null || socket.readableLength > 0) return false;
    socket.off("readable", this.#onReadable);
    socket.off("end", this.#onEnd);
    socket.off("close", this.#onClose);
    // An error that nobody listens to would be everybody's.
    this.#closed = true;
    return true;
  }

  #break(error: unknown): void {
    this.#broken ??= error;
    this.#wakeReader();
    this.#failWriter();
  }

  async read(into: Bytes): Promise<number | null> {
    for (;;) {
      if (this.#closed) throw this.#lost();
      const chunk: Uint8Array | null = this.#rest ?? this.#socket.read();
      if (chunk !== null && chunk.length > 0) return this.#give(chunk, into);
      if (this.#ended) return null;
      if (this.#broken !== null) throw this.#lost();
      await new Promise<void>((wake) => this.#wakeReader = wake);
    }
  }

  #give(chunk: Uint8Array, into: Bytes): number {
    const count = Math.min(chunk.length, into.length);
    into.set(count === chunk.length ? chunk : chunk.subarray(0, count));
    this.#rest = count === chunk.length ? null : chunk.subarray(count);
    return count;
  }

  write(bytes: Bytes): Promise<void> {
    if (this.#closed || this.#broken !== null) return Promise.reject(this.#lost());
    // The runtime takes a write of nothing for a wrong one.
    if (bytes.length === 0) return Promise.resolve();
    this.#writing = true;
    return new Promise((done, fail) => {
      this.#failWriter = () => fail(this.#lost());
      this.#socket.write(bytes, (error) => {
        this.#writing = false;
        this.#failWriter = () => {};
        if (error === null || error === undefined) return done();
        this.#broken ??= error;
        fail(this.#lost());
      });
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    const socket = this.#socket;
    if (this.#writing || this.#broken !== null) socket.destroy();
    else {
      // What was written is on its way: the peer reads it, and then the end.
      const timer = setTimeout(() => socket.destroy(), GOODBYE_MS);
      socket.once("close", () => clearTimeout(timer));
      socket.end(() => socket.destroy());
    }
    this.#wakeReader();
    this.#failWriter();
  }

  #lost(): CascadeError {
    const error = this.#broken;
    const reason = error instanceof Error ? error.message : String(error);
    return new CascadeError(
      "connection-lost",
      this.#closed ? "the connection was closed here" : `the connection broke: ${reason}`,
      { where: { peer: this.#remote }, retryable: true, cause: error },
    );
  }
}
