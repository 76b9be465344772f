/**
 * Reading and writing a socket of `node:net` or `node:tls` as a {@linkcode Connection} wants it: little is taken ahead of
 * who reads, so that what nobody reads stays in the system's buffers; a write settles when the system has its bytes.
 *
 * @module
 */
import type { Duplex } from "node:stream";
import { CascadeError } from "../core/errors.ts";
import type { Bytes } from "../core/ports.ts";
import { giveBack, type Intake, intakeOf } from "./intake.ts";

/** How long the peer may take to hear that this end has closed. */
const GOODBYE_MS = 1_000;

/** What is taken ahead of who reads; a chunk more may come. */
const AHEAD_BYTES = 256 * 1024;

/** See the module's text. One read and one write at a time. */
export class SocketStream {
  readonly #socket: Duplex;
  readonly #remote: string;
  readonly #intake: Intake;
  /** What came and was not asked for yet, in order. */
  readonly #came: Uint8Array[] = [];
  #cameBytes = 0;
  #ended = false;
  #broken: unknown = null;
  #closed = false;
  #writing = false;
  #wakeReader: () => void = () => {};
  #failWriter: () => void = () => {};

  constructor(socket: Duplex, remote: string) {
    this.#socket = socket;
    this.#remote = remote;
    this.#intake = intakeOf(socket);
    // Chunk by chunk: what is read of a paused stream is one new buffer of all that came, filled again.
    socket.on("data", this.#onData);
    socket.on("end", this.#onEnd);
    socket.on("error", this.#onError);
    socket.on("close", this.#onClose);
  }

  readonly #onData = (chunk: Uint8Array): void => {
    this.#came.push(chunk);
    this.#cameBytes += chunk.length;
    if (this.#cameBytes >= AHEAD_BYTES) this.#intake.hold();
    this.#wakeReader();
  };

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
    if (this.#cameBytes > 0 || socket.readableLength > 0) return false;
    socket.off("data", this.#onData);
    socket.off("end", this.#onEnd);
    socket.off("close", this.#onClose);
    // Nothing is to flow to nobody; and an error that nobody listens to would be everybody's.
    socket.pause();
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
      if (this.#cameBytes > 0) return this.#give(into);
      if (this.#ended) return null;
      if (this.#broken !== null) throw this.#lost();
      this.#intake.go();
      await new Promise<void>((wake) => this.#wakeReader = wake);
    }
  }

  #give(into: Bytes): number {
    let given = 0;
    for (let chunk = this.#came[0]; chunk !== undefined; chunk = this.#came[0]) {
      const count = Math.min(chunk.length, into.length - given);
      if (count === 0 && chunk.length > 0) break;
      into.set(count === chunk.length ? chunk : chunk.subarray(0, count), given);
      given += count;
      if (count === chunk.length) {
        this.#came.shift();
        giveBack(chunk);
      } else this.#came[0] = chunk.subarray(count);
    }
    this.#cameBytes -= given;
    if (this.#cameBytes < AHEAD_BYTES / 2) this.#intake.go();
    return given;
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
