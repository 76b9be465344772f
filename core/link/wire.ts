/**
 * One connection of a link as frames: reads them in order, gathers what is to be sent and writes
 * it, one write at a time. What is sent is pulled when the line is free, so a slow line holds no
 * queue of data: only small control frames ever wait.
 *
 * @module
 */
import { CascadeError, isCascadeError } from "../errors.ts";
import type { Bytes, Clock, Connection, Timer } from "../ports.ts";
import { type Frame, FrameReader, FrameType } from "./frames.ts";
import type { Line } from "./line.ts";
import { GATHER_MS } from "./link_limits.ts";
import { unpack } from "./packing.ts";

/** What a side of the protocol gives to the wire. */
export interface WireSource {
  /** Writes the frames that are due into `into` from `at`; returns where they end. */
  fill(into: Bytes, at: number): number;
  /** There is more to send, and the peer has to take what is on its way first. */
  readonly isHeldUp?: boolean;
}

const CONTROL_QUEUE_MAX = 64;

export class Wire {
  readonly remote: string;
  /** What carries it, and what that knows of the peer. */
  readonly channel: Pick<Connection, "transport" | "channelBinding" | "certifiedNames">;
  /** Why it runs over another address than the one preferred; null: it does not, or was not dialled here. */
  readonly fallback: string | null;
  readonly #connection: Connection;
  readonly #clock: Clock;
  readonly #reader = new FrameReader();
  readonly #queue: Bytes[] = [];
  #source: WireSource | null = null;
  #line: Line | null = null;
  #out: Bytes = new Uint8Array(0);
  #writing = false;
  #isSourcesTurn = false;
  #error: unknown = null;
  #closed = false;
  #deadline: Timer | null = null;
  #kickTimer: Timer | null = null;
  #pause: Timer | null = null;
  #wakeQueue: () => void = () => {};
  #heardMs: number;
  #tellClosed: () => void = () => {};
  /** Settles when the connection is closed, for whatever reason. */
  readonly whenClosed = new Promise<void>((tell) => this.#tellClosed = tell);
  #sentBytes = 0;

  constructor(connection: Connection, clock: Clock, fallback: string | null = null) {
    this.fallback = fallback;
    this.remote = connection.remote;
    this.channel = connection;
    this.#connection = connection;
    this.#clock = clock;
    this.#heardMs = clock.monotonicMs();
  }

  get closed(): boolean {
    return this.#closed;
  }

  get sentBytes(): number {
    return this.#sentBytes;
  }

  /** How long nothing was heard from the peer. */
  silenceMs(): number {
    return this.#clock.monotonicMs() - this.#heardMs;
  }

  /** Closes the connection `ms` from now unless called again; null: no deadline. */
  setDeadline(ms: number | null, what = ""): void {
    this.#deadline?.cancel();
    this.#deadline = ms === null ? null : this.#clock.after(ms, () => {
      this.close(new CascadeError("timed-out", `no ${what} within ${ms} ms`, { retryable: true }));
    });
  }

  /** The peer has proved itself: DATA frames are welcome. */
  allowData(): void {
    this.#reader.allowData();
  }

  /** From now on `source` is asked for frames whenever the line is free; `line` tells how it is used. */
  stream(source: WireSource, bufferBytes: number, line: Line | null = null): void {
    this.#source = source;
    this.#line = line;
    this.#out = new Uint8Array(bufferBytes);
    this.#reader.widen();
    this.kick();
  }

  /** Sends a control frame, behind those before it. */
  send(frame: Bytes): void {
    if (this.#queue.length >= CONTROL_QUEUE_MAX) {
      this.close(
        new CascadeError("connection-lost", "the peer does not read", { retryable: true }),
      );
      return;
    }
    this.#queue.push(frame);
    this.kick();
  }

  /** Settles when fewer than `frames` wait to be sent, or the connection is closed. */
  async queueBelow(frames: number): Promise<void> {
    while (!this.#closed && this.#queue.length >= frames) {
      await new Promise<void>((wake) => this.#wakeQueue = wake);
    }
  }

  /** Tells that there may be something to send. Cheap to repeat. */
  kick(): void {
    if (!this.#writing && !this.#closed) this.#write();
  }

  /** The same, but it may wait a little for more to come. Cheap to repeat. */
  kickSoon(): void {
    if (this.#writing || this.#closed) return;
    this.#kickTimer ??= this.#clock.after(GATHER_MS, () => {
      this.#kickTimer = null;
      this.kick();
    });
  }

  async #write(): Promise<void> {
    this.#writing = true;
    try {
      while (!this.#closed) {
        const frame = this.#next();
        if (frame === null) break;
        const line = this.#line;
        if (line === null || line.isPlain) {
          line?.plain(frame);
          await this.#connection.write(frame);
          this.#sentBytes += frame.length;
        } else await this.#writePaced(line, await line.pack(frame));
      }
      if (this.#source?.isHeldUp !== true) this.#line?.pacer.rest();
    } catch (error) {
      this.close(error);
    } finally {
      this.#writing = false;
    }
  }

  /** Frames that wait; but behind each that is large it is the source's turn, if it has something to tell. */
  #next(): Bytes | null {
    const told = this.#isSourcesTurn ? this.#pull() : null;
    this.#isSourcesTurn = false;
    if (told !== null) return told;
    const frame = this.#take();
    if (frame === undefined) return this.#pull();
    this.#isSourcesTurn = frame[4] === FrameType.DELTA_DATA;
    return frame;
  }

  #take(): Bytes | undefined {
    const frame = this.#queue.shift();
    if (frame !== undefined) this.#wakeQueue();
    return frame;
  }

  /** Piece by piece, each at its time. */
  async #writePaced(line: Line, frame: Bytes): Promise<void> {
    for (let at = 0; at < frame.length && !this.#closed;) {
      const piece = frame.subarray(at, at + Math.min(line.pacer.pieceBytes, frame.length - at));
      const waitMs = line.pacer.take(piece.length, this.#clock.monotonicMs());
      if (waitMs > 0) await this.#wait(line, waitMs);
      if (this.#closed) return;
      await this.#connection.write(piece);
      this.#sentBytes += piece.length;
      at += piece.length;
    }
  }

  async #wait(line: Line, ms: number): Promise<void> {
    line.throttled(ms);
    const passed = new Promise<void>((go) => this.#pause = this.#clock.after(ms, go));
    await Promise.race([passed, this.whenClosed]);
    this.#pause?.cancel();
  }

  #pull(): Bytes | null {
    const end = this.#source?.fill(this.#out, 0) ?? 0;
    return end === 0 ? null : this.#out.subarray(0, end);
  }

  /** Waits until all control frames were handed to the system, or the connection is lost. */
  async drain(): Promise<void> {
    while (!this.#closed && (this.#writing || this.#queue.length > 0)) {
      await new Promise<void>((go) => this.#clock.after(1, go));
    }
  }

  /** The next frame, valid until the next call. Throws when the connection ends or breaks. */
  async receive(): Promise<Frame> {
    for (;;) {
      const frame = this.next();
      if (frame !== null) return frame;
      await this.#read();
    }
  }

  /** A frame that is already here, or null. Throws like {@linkcode Wire.receive}. */
  next(): Frame | null {
    if (this.#closed) throw this.#lost();
    const frame = this.#reader.next();
    return frame === null ? null : unpack(frame);
  }

  async #read(): Promise<void> {
    const count = await this.#connection.read(this.#reader.room());
    if (this.#closed) throw this.#lost();
    if (count === null) {
      throw new CascadeError("connection-lost", "the peer closed the connection", {
        retryable: true,
      });
    }
    this.#heardMs = this.#clock.monotonicMs();
    this.#reader.advance(count);
  }

  #lost(): unknown {
    return this.#error ??
      new CascadeError("connection-lost", "the connection was closed", { retryable: true });
  }

  /** Closes the connection; the first reason given is the one that readers meet. */
  close(reason: unknown = null): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#error = reason;
    this.#deadline?.cancel();
    this.#kickTimer?.cancel();
    this.#pause?.cancel();
    this.#wakeQueue();
    this.#connection.close();
    this.#tellClosed();
  }

  /** The reason to show for `error`: a closed connection's own reason when it has one. */
  reasonOf(error: unknown): unknown {
    return isCascadeError(error, "connection-lost") && this.#error !== null ? this.#error : error;
  }
}
