/**
 * The downstream end of deltas on one connection: gives their frames to the node's taker, and tells the
 * sender what is here.
 *
 * @module
 */
import { deltaTrailerSchema } from "../delta/delta_format.ts";
import { describeError, isCascadeError } from "../errors.ts";
import {
  FLAG_FLUSH_WANTED,
  FLAG_PATCHED,
  type Frame,
  FrameType,
  jsonFrame,
  readDeltaData,
} from "./frames.ts";
import type { LinkHost } from "./host.ts";
import { decodeMessage, type DeltaAck, deltaSchema } from "./messages.ts";
import { applyPatch } from "./patch.ts";
import type { Receiver } from "./receiver.ts";
import type { Wire } from "./wire.ts";

/** Of a message that says why a delta is not taken. */
const REFUSED_LENGTH_MAX = 1000;

const NOTHING = { position: 0, durable: 0, cursor: { pass: 1, volume: 0, offset: 0 } };

/** See the module's text. */
export class DeltaReceiver {
  readonly #host: LinkHost;
  readonly #wire: Wire;
  readonly #receiver: Receiver;
  /** The delta that is being taken. */
  #id: string | null = null;
  #refused: string | null = null;
  #isBusy = false;

  constructor(host: LinkHost, wire: Wire, receiver: Receiver) {
    this.#host = host;
    this.#wire = wire;
    this.#receiver = receiver;
  }

  get isTaking(): boolean {
    return this.#id !== null;
  }

  /** Works on a frame: what comes meanwhile is not read, and its sender not silent. */
  get isBusy(): boolean {
    return this.#isBusy;
  }

  /** Why the last delta was not taken, or null. */
  get refused(): string | null {
    return this.#refused;
  }

  /** Takes a frame of a delta; false when it is none. Throws `protocol`, or what the disk throws. */
  async take(frame: Frame): Promise<boolean> {
    this.#isBusy = true;
    try {
      switch (frame.type) {
        case FrameType.DELTA:
          await this.#begin(frame);
          return true;
        case FrameType.DELTA_DATA:
          // What was on its way when the delta was refused is of no use.
          if (this.#id !== null) await this.#onData(frame);
          return true;
        case FrameType.DELTA_END:
          if (this.#id !== null) await this.#end(frame);
          return true;
        default:
          return false;
      }
    } finally {
      this.#isBusy = false;
    }
  }

  async #begin(frame: Frame): Promise<void> {
    const message = decodeMessage(deltaSchema, frame.body, "delta");
    const { header, position, bytesExpected, base } = message;
    this.#id = header.id;
    this.#refused = null;
    await this.#receiver.settle(header.fromLsn);
    await this.#try(() => this.#host.deltas.taker.begin(header, position, bytesExpected, base));
    this.#tellStaged();
    this.#host.onLinkProgress();
  }

  async #onData(frame: Frame): Promise<void> {
    const { deltas: { taker }, pipeline: { volumes } } = this.#host;
    const { position, records } = readDeltaData(frame.body);
    await this.#try(async () => {
      const isPatched = (frame.flags & FLAG_PATCHED) !== 0;
      await taker.take(position, isPatched ? applyPatch(records, volumes) : records);
      if ((frame.flags & FLAG_FLUSH_WANTED) !== 0) await taker.makeDurable();
    });
    this.#tellStaged();
  }

  async #end(frame: Frame): Promise<void> {
    const trailer = decodeMessage(deltaTrailerSchema, frame.body, "end of a delta");
    await this.#try(() => this.#host.deltas.taker.end(trailer));
    if (this.#id === null) return;
    this.#id = null;
    this.#receiver.moveTo(trailer.toLsn, trailer.timeMs);
    this.#host.onLinkProgress();
    this.#wire.kick();
  }

  /** The peer is told of a delta that cannot be taken here; the connection goes on. */
  async #try(work: () => Promise<void>): Promise<void> {
    try {
      await work();
    } catch (error) {
      const id = this.#id;
      if (!isCascadeError(error, "refused") || id === null) throw error;
      this.#refused = describeError(error).slice(0, REFUSED_LENGTH_MAX);
      this.#id = null;
      this.#tell({ id, ...NOTHING, refused: this.#refused });
    }
  }

  #tellStaged(): void {
    const { staged, durable } = this.#host.deltas.taker;
    if (staged === null || staged.header.id !== this.#id) return;
    const { header, position, cursor } = staged;
    this.#tell({ id: header.id, position, durable, cursor, refused: null });
  }

  #tell(ack: DeltaAck): void {
    this.#wire.send(jsonFrame(FrameType.DELTA_ACK, ack));
  }
}
