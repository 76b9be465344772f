/**
 * The upstream end of a streaming link: ships the log in order, from where the peer stands, within
 * a window, and tells the tide (what is stable, the primary's time and end) beside it.
 *
 * One sender serves all modes; what tells them apart is one line: a `sync` link ships what is
 * appended, an `async` link what is stable.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { LinkConfig } from "../config.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Bytes, Clock } from "../ports.ts";
import {
  type Ack,
  FLAG_FLUSH_WANTED,
  FRAME_HEADER_BYTES,
  FrameType,
  sealFrame,
  TIDE_BYTES,
  writeTide,
} from "./frames.ts";
import { Flight } from "./flight.ts";
import { DATA_RECORDS_BYTES_MAX, HEARTBEAT_INTERVAL_MS } from "./link_limits.ts";
import type { SyncPolicy } from "./sync_policy.ts";
import type { WireSource } from "./wire.ts";

/** The primary's clock and end of log, as this node knows them. */
export interface PrimaryTide {
  timeMs(): number;
  /** The same for nodes below; 0: nothing is heard of it now. */
  toldTimeMs(): number;
  endLsn(): number;
}

/** Room that a sender's output buffer must have. */
export const SENDER_BUFFER_BYTES = FRAME_HEADER_BYTES + TIDE_BYTES + DATA_RECORDS_BYTES_MAX;

export class Sender implements WireSource {
  readonly #pipeline: Pipeline;
  readonly #link: LinkConfig;
  readonly #policy: SyncPolicy;
  readonly #tide: PrimaryTide;
  readonly #clock: Clock;
  /** What is on its way, of records and of deltas. */
  readonly flight: Flight;
  #cursorLsn: number;
  #receivedLsn: number;
  #toldStableLsn = -1;
  #toldFlushLsn = 0;
  #toldMs = -Infinity;
  /** No records are sent: the peer is being given a delta, or waits for the next one. */
  #held = true;
  #onGap: () => void = () => {};

  constructor(
    pipeline: Pipeline,
    link: LinkConfig,
    policy: SyncPolicy,
    tide: PrimaryTide,
    clock: Clock,
    fromLsn: number,
    flight: Flight = new Flight(clock),
  ) {
    this.#pipeline = pipeline;
    this.#link = link;
    this.#policy = policy;
    this.#tide = tide;
    this.#clock = clock;
    this.flight = flight;
    this.#cursorLsn = fromLsn;
    this.#receivedLsn = fromLsn;
  }

  /** Ships records from `lsn` on; settles where the log goes on behind a delta that comes first. */
  flow(lsn: number): Promise<void> {
    this.#cursorLsn = lsn;
    this.#receivedLsn = Math.max(this.#receivedLsn, lsn);
    this.#held = false;
    this.flight.reset();
    return new Promise((stop) => this.#onGap = stop);
  }

  /** The peer was brought to `lsn` by a delta. */
  moveTo(lsn: number): void {
    this.#cursorLsn = Math.max(this.#cursorLsn, lsn);
    this.#receivedLsn = Math.max(this.#receivedLsn, lsn);
  }

  /** The next LSN to be sent. */
  get cursorLsn(): number {
    return this.#cursorLsn;
  }

  /** Records go out from the cursor on: the log there must stay. */
  get isFlowing(): boolean {
    return !this.#held;
  }

  /** Everything that may be sent now has been sent. */
  get caughtUp(): boolean {
    return !this.#held && this.#cursorLsn >= this.#limitLsn();
  }

  /** What may be sent now and was not. */
  get pendingBytes(): number {
    return this.#held ? 0 : this.#limitLsn() - this.#cursorLsn;
  }

  /** See {@linkcode WireSource.isHeldUp}. */
  get isHeldUp(): boolean {
    return this.#held ? this.flight.inFlightBytes > 0 : this.pendingBytes > 0;
  }

  #limitLsn(): number {
    return this.#link.mode === "sync" ? this.#pipeline.appendedLsn : this.#pipeline.stableLsn;
  }

  /** See {@linkcode WireSource.fill}. */
  fill(into: Bytes, at: number): number {
    const end = this.#fillData(into, at);
    if (this.caughtUp && this.#link.mode === "sync") {
      this.#policy.caughtUp(this.#pipeline.appendedLsn, this.#clock.monotonicMs());
    }
    return end > at || !this.#tideDue() ? end : this.#fillTide(into, at);
  }

  #fillData(into: Bytes, at: number): number {
    if (this.#held) return at;
    const gap = this.#pipeline.log.nextGap(this.#cursorLsn);
    if (gap !== null && this.#cursorLsn === gap.fromLsn) return this.#hold(at);
    const limit = Math.min(this.#limitLsn(), gap?.fromLsn ?? Infinity);
    if (this.#cursorLsn >= limit) return at;
    if (this.flight.isFull) return at;
    const records = at + FRAME_HEADER_BYTES + TIDE_BYTES;
    const bytes = this.#readRecords(into.subarray(records), limit);
    const first = this.#cursorLsn;
    this.#cursorLsn += bytes;
    this.flight.sent(bytes);
    this.#writeTide(into, at + FRAME_HEADER_BYTES, first);
    sealFrame(into, at, FrameType.DATA, this.#flags(), TIDE_BYTES + bytes, TIDE_BYTES);
    return records + bytes;
  }

  /** As many as fit a frame for this line; or the first alone, if that is larger. */
  #readRecords(into: Bytes, limitLsn: number): number {
    const { log } = this.#pipeline;
    const room = into.subarray(0, this.flight.frameBytes);
    const bytes = log.read(this.#cursorLsn, room, limitLsn);
    if (bytes > 0) return bytes;
    const first = log.read(this.#cursorLsn, into.subarray(0, DATA_RECORDS_BYTES_MAX), limitLsn);
    assert(first > 0, "what may be sent holds whole records");
    return first;
  }

  #hold(at: number): number {
    this.#held = true;
    this.#onGap();
    return at;
  }

  /** Sync peers hear at once of a stable position and of a flush; all hear a heartbeat. */
  #tideDue(): boolean {
    if (this.#clock.monotonicMs() - this.#toldMs >= HEARTBEAT_INTERVAL_MS) return true;
    if (this.#pipeline.stableLsn > this.#toldStableLsn) return true;
    return this.#flushDue();
  }

  #fillTide(into: Bytes, at: number): number {
    this.#writeTide(into, at + FRAME_HEADER_BYTES, this.#cursorLsn);
    sealFrame(into, at, FrameType.TIDE, this.#flags(), TIDE_BYTES);
    return at + FRAME_HEADER_BYTES + TIDE_BYTES;
  }

  #writeTide(into: Bytes, at: number, firstLsn: number): void {
    const stableLsn = this.#pipeline.stableLsn;
    writeTide(into, at, {
      stableLsn,
      primaryTimeMs: this.#tide.toldTimeMs(),
      primaryEndLsn: this.#tide.endLsn(),
      firstLsn,
    });
    this.#toldStableLsn = stableLsn;
    this.#toldMs = this.#clock.monotonicMs();
  }

  /** A client waits for a flush that the peer was not asked for, and all of it was sent. */
  #flushDue(): boolean {
    const wanted = this.#pipeline.flushWantedLsn;
    return this.#link.mode === "sync" && wanted > this.#toldFlushLsn && this.#cursorLsn >= wanted;
  }

  /** Asks for a flush once for each flush that a client waits for. */
  #flags(): number {
    if (!this.#flushDue()) return 0;
    this.#toldFlushLsn = this.#pipeline.flushWantedLsn;
    return FLAG_FLUSH_WANTED;
  }

  /** An ack that lies on this node's history. */
  acked(ack: Ack): void {
    const receivedLsn = Math.max(this.#receivedLsn, ack.receivedLsn);
    if (!this.#held) this.flight.acked(receivedLsn - this.#receivedLsn, this.pendingBytes > 0);
    this.#receivedLsn = receivedLsn;
    this.#policy.acked(ack.groupReceivedLsn, ack.groupDurableLsn, this.#clock.monotonicMs());
  }
}
