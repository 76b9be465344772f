/**
 * The upstream end of a delta: ships a body in frames, within a window, and commits it. What the peer has
 * of each pass is durable there before the next begins: no pass ever has to be made again.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { DeltaTrailer } from "../delta/delta_format.ts";
import type { DeltaSource } from "../delta/delta_source.ts";
import {
  DELTA_HEAD_BYTES,
  FLAG_FLUSH_WANTED,
  FLAG_PATCHED,
  FRAME_HEADER_BYTES,
  FrameType,
  jsonFrame,
  sealDeltaFrame,
} from "./frames.ts";
import type { Flight } from "./flight.ts";
import { DATA_RECORDS_BYTES_MAX, DELTA_FRAMES_QUEUED_MAX } from "./link_limits.ts";
import type { Bytes } from "../ports.ts";
import type { DeltaAck, StagedMessage } from "./messages.ts";
import { makePatch } from "./patch.ts";
import type { PeerImage } from "./peer_image.ts";
import type { Wire } from "./wire.ts";

/** What a delta is doing, for the status. */
export type DeltaPhase = "planning" | "shipping" | "committing" | "applying";

/** Buffers that are kept for the next frames: fresh ones cost memory until they are collected. */
const FREE_BUFFERS_MAX = 8;

/** Frames of no more than this do not keep a buffer for any frame from others. */
const SMALL_FRAME_BYTES = 64 * 1024;

/** The buffers of frames, which are used again once the peer has what was in them. */
class FrameBuffers {
  readonly #free: Bytes[] = [];

  /** For a frame with as many records as one may have. */
  take(): Bytes {
    const bytes = FRAME_HEADER_BYTES + DELTA_HEAD_BYTES + DATA_RECORDS_BYTES_MAX;
    return this.#free.pop() ?? new Uint8Array(bytes);
  }

  /** Nobody looks at it any more. */
  give(buffer: Bytes): void {
    if (this.#free.length < FREE_BUFFERS_MAX) this.#free.push(buffer);
  }
}

/** See the module's text. One for each try to ship a delta on a connection. */
export class DeltaCourier {
  readonly source: DeltaSource;
  readonly #wire: Wire;
  readonly #flight: Flight;
  /** What the peer has is not sent to it; null: it is known what it lacks. In the first pass alone. */
  #image: PeerImage | null;
  readonly #buffers = new FrameBuffers();
  /** Frames on their way, and where in the body they end. */
  readonly #frames: { readonly buffer: Bytes; readonly end: number }[] = [];
  #phase: DeltaPhase = "planning";
  #sent = 0;
  #acked = 0;
  #durable = 0;
  #sentBytes = 0;
  #refused: string | null = null;
  #wake: () => void = () => {};

  constructor(source: DeltaSource, wire: Wire, flight: Flight, image: PeerImage | null = null) {
    this.source = source;
    this.#image = image;
    this.#wire = wire;
    this.#flight = flight;
    flight.reset();
  }

  get phase(): DeltaPhase {
    return this.#phase;
  }

  /** Bytes of the body that the peer has. */
  get stagedBytes(): number {
    return this.#acked;
  }

  /** Bytes of the body, or of patches that it is made from, that went over this connection. */
  get sentBytes(): number {
    return this.#sentBytes;
  }

  /**
   * Ships all of it, from where the peer is: settles when the trailer was sent. `staged`: what the peer
   * has of this very delta. Throws `refused` when the peer cannot take it; what the connection throws.
   */
  async ship(
    staged: StagedMessage | null,
    base: Readonly<Record<string, string>> | null,
  ): Promise<DeltaTrailer> {
    const { source } = this;
    this.#sent = this.#acked = staged?.position ?? 0;
    const header = { ...source.header };
    this.#wire.send(jsonFrame(FrameType.DELTA, {
      header,
      position: this.#sent,
      bytesExpected: Math.ceil(source.bytesExpected),
      base,
    }));
    this.#phase = "shipping";
    for (;;) {
      await this.#shipPass();
      await this.#until(() => this.#durable >= this.#sent);
      const trailer = await source.endPass();
      this.check();
      // What follows was written meanwhile: the peer has none of it.
      this.#image = null;
      if (trailer === null) continue;
      this.#phase = "committing";
      this.#wire.send(jsonFrame(FrameType.DELTA_END, trailer));
      return trailer;
    }
  }

  /** The trailer is sent: the peer commits, and its log goes on behind the delta. */
  committed(): void {
    this.#phase = "applying";
  }

  async #shipPass(): Promise<void> {
    const head = FRAME_HEADER_BYTES + DELTA_HEAD_BYTES;
    let lastBytes = 0;
    for (;;) {
      await this.#until(() => !this.#flight.isFullOf(lastBytes));
      await this.#wire.queueBelow(DELTA_FRAMES_QUEUED_MAX);
      const buffer = this.#buffers.take();
      // On a slow line in small frames: heartbeats and questions go between them.
      const bytes = await this.source.next(buffer.subarray(head), this.#flight.frameBytes);
      this.check();
      const patch = await this.#patchOf(buffer.subarray(head, head + bytes));
      this.check();
      const frame = patch === null
        ? this.#framed(buffer, head + bytes)
        : this.#patched(buffer, patch);
      const flags = patch === null ? 0 : FLAG_PATCHED;
      sealDeltaFrame(frame, this.#sent, flags | (bytes === 0 ? FLAG_FLUSH_WANTED : 0));
      this.#wire.send(frame);
      if (bytes === 0) return;
      lastBytes = bytes;
      this.#sent += bytes;
      this.#flight.sent(bytes);
      if (frame.buffer === buffer.buffer) this.#frames.push({ buffer, end: this.#sent });
      this.#sentBytes += patch?.length ?? bytes;
    }
  }

  #patchOf(records: Bytes): Promise<Bytes | null> {
    return this.#image === null || records.length === 0
      ? Promise.resolve(null)
      : makePatch(records, this.#image.lacksOf);
  }

  #patched(buffer: Bytes, patch: Bytes): Bytes {
    this.#buffers.give(buffer);
    const frame = new Uint8Array(FRAME_HEADER_BYTES + DELTA_HEAD_BYTES + patch.length);
    frame.set(patch, FRAME_HEADER_BYTES + DELTA_HEAD_BYTES);
    return frame;
  }

  /** A frame in its buffer; a small one by itself: many are under way then. */
  #framed(buffer: Bytes, bytes: number): Bytes {
    if (bytes > SMALL_FRAME_BYTES) return buffer.subarray(0, bytes);
    this.#buffers.give(buffer);
    return buffer.slice(0, bytes);
  }

  /** Throws `refused` when the peer does not take it, `connection-lost`. */
  check(): void {
    if (this.#wire.closed) {
      throw new CascadeError("connection-lost", "the connection was closed", { retryable: true });
    }
    if (this.#refused !== null) throw new CascadeError("refused", this.#refused);
  }

  async #until(holds: () => boolean): Promise<void> {
    for (this.check(); !holds(); this.check()) {
      const acked = new Promise<void>((wake) => this.#wake = wake);
      await Promise.race([acked, this.#wire.whenClosed]);
    }
  }

  /** The peer tells what it has. Throws `protocol` when it cannot have that. */
  onAck(ack: DeltaAck): void {
    if (ack.id !== this.source.header.id) return;
    if (ack.refused !== null) this.#refused = ack.refused;
    else if (ack.position > this.#sent) {
      throw new CascadeError("protocol", "the peer acknowledged more of a delta than was sent");
    } else {
      this.#flight.acked(ack.position - this.#acked, true);
      this.#acked = Math.max(this.#acked, ack.position);
      while ((this.#frames[0]?.end ?? Infinity) <= this.#acked) {
        this.#buffers.give(this.#frames.shift()!.buffer);
      }
      this.#durable = Math.max(this.#durable, Math.min(ack.durable, ack.position));
    }
    this.#wake();
  }
}
