/**
 * One direction of a simulated connection: bytes on their way, in order, with a bound on how many.
 *
 * What is written is taken in pieces as room allows, each piece arrives after the line's latency and
 * at its speed, and is read in other pieces still. While the line is cut silently, or the far
 * host is without power, pieces wait, as TCP would send them again and again.
 *
 * @module
 */
import { CascadeError } from "../../core/errors.ts";
import type { Bytes, Timer } from "../../core/ports.ts";
import type { Scheduler } from "./clock.ts";
import type { Life } from "./life.ts";
import type { Prng } from "./prng.ts";

/** What a direction of a line is like now. */
export interface Line {
  latencyMs: number;
  /** Random addition to the latency, ms. */
  jitterMs: number;
  bytesPerMs: number;
  /** Nothing arrives; nobody is told. */
  cut: boolean;
}

/** A piece on its way: bytes, or the end of the stream. */
type Piece = Uint8Array | "end";

interface PendingWrite {
  readonly bytes: Bytes;
  at: number;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

interface PendingRead {
  readonly into: Bytes;
  readonly resolve: (count: number | null) => void;
  readonly reject: (error: unknown) => void;
}

/** What a pipe is made of. */
export interface PipeParts {
  readonly scheduler: Scheduler;
  readonly prng: Prng;
  readonly writer: Life;
  readonly reader: Life;
  readonly line: Line;
  /** Whether the reader's host has power. */
  readonly isReachable: () => boolean;
  /** Bytes that came for a reader that is gone: the writer must be told. */
  readonly onUnwanted: () => void;
}

/** What a write may hand over at once; small ones make frames arrive in pieces. */
const PIECE_BYTES_MAX = 64 * 1024;
/** What it costs to hand bytes to the system, ms. */
const SYSTEM_MS = 0.01;

/** See the module's text. */
export class Pipe {
  readonly #parts: PipeParts;
  readonly #capacity: number;
  readonly #flying: { readonly piece: Piece; dueMs: number }[] = [];
  readonly #arrived: Uint8Array[] = [];
  #held = 0;
  #lastDueMs = 0;
  #landing: Timer | null = null;
  #ended = false;
  #readerGone = false;
  #broken = false;
  #writing: PendingWrite | null = null;
  #reading: PendingRead | null = null;

  constructor(parts: PipeParts) {
    this.#parts = parts;
    this.#capacity = parts.prng.pick([4, 64, 256, 1024]) * 1024;
  }

  /** Bytes arrived that nobody has read. */
  get unread(): boolean {
    return this.#arrived.length > 0;
  }

  write(bytes: Bytes): Promise<void> {
    return new Promise((resolve, reject) => {
      if (this.#writing !== null) return reject(new CascadeError("bug", "one write at a time"));
      if (this.#broken) return this.#soon(this.#parts.writer, () => reject(lost()));
      this.#writing = { bytes, at: 0, resolve, reject };
      this.#take();
    });
  }

  /** Takes of a pending write what there is room for. */
  #take(): void {
    const { prng, writer } = this.#parts;
    const write = this.#writing;
    if (write === null) return;
    while (write.at < write.bytes.length && this.#held < this.#capacity) {
      const left = Math.min(write.bytes.length - write.at, this.#capacity - this.#held);
      const most = Math.min(left, PIECE_BYTES_MAX);
      const count = prng.chance(0.2) ? prng.between(1, most) : most;
      this.#send(write.bytes.slice(write.at, write.at + count));
      write.at += count;
    }
    if (write.at < write.bytes.length) return;
    // One write at a time: the next may come only once this one has settled.
    this.#soon(writer, () => {
      if (this.#writing !== write) return;
      this.#writing = null;
      write.resolve();
    });
  }

  #soon(life: Life, call: () => void): void {
    this.#parts.scheduler.after(this.#parts.prng.fraction() * SYSTEM_MS, life, call);
  }

  #send(piece: Piece): void {
    this.#held += bytesOf(piece);
    this.#flying.push({ piece, dueMs: this.#due(piece) });
    this.#land();
  }

  /** When a piece arrives that follows all before it. */
  #due(piece: Piece): number {
    const { scheduler, prng, line } = this.#parts;
    const flightMs = line.latencyMs + prng.fraction() * line.jitterMs;
    const firstMs = Math.max(this.#lastDueMs, scheduler.nowMs + flightMs);
    this.#lastDueMs = firstMs + bytesOf(piece) / line.bytesPerMs;
    return this.#lastDueMs;
  }

  /** The line has another speed now: what is on its way arrives accordingly. */
  replan(): void {
    this.#lastDueMs = 0;
    for (const flight of this.#flying) flight.dueMs = this.#due(flight.piece);
    this.#landing?.cancel();
    this.#landing = null;
    this.resume();
  }

  /** Sees that the first piece on its way arrives. */
  #land(): void {
    const first = this.#flying[0];
    if (this.#landing !== null || first === undefined) return;
    const { scheduler } = this.#parts;
    this.#landing = scheduler.after(Math.max(0, first.dueMs - scheduler.nowMs), null, () => {
      this.#landing = null;
      this.resume();
    });
  }

  /** The line or the far host may be back: what is due arrives. */
  resume(): void {
    const { scheduler, line, isReachable } = this.#parts;
    while (!this.#broken) {
      const first = this.#flying[0];
      if (first === undefined || line.cut || !isReachable()) return;
      if (first.dueMs > scheduler.nowMs) return this.#land();
      this.#flying.shift();
      this.#arrive(first.piece);
    }
  }

  #arrive(piece: Piece): void {
    const isGone = this.#readerGone || !this.#parts.reader.alive;
    if (piece === "end") this.#ended = true;
    else if (isGone) {
      this.#held -= piece.length;
      this.#parts.onUnwanted();
      return;
    } else this.#arrived.push(piece);
    this.#serve();
  }

  read(into: Bytes): Promise<number | null> {
    return new Promise((resolve, reject) => {
      if (this.#reading !== null) return reject(new CascadeError("bug", "one read at a time"));
      if (into.length === 0) return reject(new CascadeError("bug", "a read has room"));
      this.#reading = { into, resolve, reject };
      if (this.#broken) this.fail();
      else this.#serve();
    });
  }

  /** Gives a pending read what has arrived. */
  #serve(): void {
    const read = this.#reading;
    if (read === null || (this.#arrived.length === 0 && !this.#ended)) return;
    this.#soon(this.#parts.reader, () => {
      if (this.#reading !== read) return;
      this.#reading = null;
      if (this.#arrived.length === 0) read.resolve(null);
      else read.resolve(this.#copy(read.into));
      this.#take();
    });
  }

  #copy(into: Bytes): number {
    const { prng } = this.#parts;
    const room = prng.chance(0.1) ? prng.between(1, into.length) : into.length;
    let count = 0;
    while (count < room) {
      const first = this.#arrived[0];
      if (first === undefined) break;
      const piece = first.subarray(0, room - count);
      into.set(piece, count);
      count += piece.length;
      if (piece.length === first.length) this.#arrived.shift();
      else this.#arrived[0] = first.subarray(piece.length);
    }
    this.#held -= count;
    return count;
  }

  /** The writer is done: the end of the stream follows what was taken. */
  end(): void {
    if (!this.#broken) this.#send("end");
  }

  /** The reader is gone: what still arrives is unwanted. */
  abandon(): void {
    this.#readerGone = true;
    for (const piece of this.#arrived) this.#held -= piece.length;
    this.#arrived.length = 0;
  }

  /** The connection is broken: what was on its way is lost, who waits is told. */
  fail(): void {
    this.#broken = true;
    this.#flying.length = 0;
    this.#arrived.length = 0;
    const { reader, writer } = this.#parts;
    const reading = this.#reading;
    const writing = this.#writing;
    this.#reading = null;
    this.#writing = null;
    if (reading !== null) this.#soon(reader, () => reading.reject(lost()));
    if (writing !== null) this.#soon(writer, () => writing.reject(lost()));
  }

  /** This end of the pipe is closed here: calls that wait fail, on this side alone. */
  failReader(): void {
    const reading = this.#reading;
    this.#reading = null;
    if (reading !== null) this.#soon(this.#parts.reader, () => reading.reject(lost()));
  }

  /** See {@linkcode Pipe.failReader}. */
  failWriter(): void {
    const writing = this.#writing;
    this.#writing = null;
    if (writing !== null) this.#soon(this.#parts.writer, () => writing.reject(lost()));
  }
}

function bytesOf(piece: Piece): number {
  return piece === "end" ? 0 : piece.length;
}

/** What calls on a broken connection throw. */
export function lost(): CascadeError {
  return new CascadeError("connection-lost", "the connection is broken", { retryable: true });
}
