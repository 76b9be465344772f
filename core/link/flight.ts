/**
 * How much a connection may have on its way: what the line takes in a round trip, twice, so that it is
 * always full, near or far; and no more, so that a cut of a slow line costs little.
 *
 * The rate is that at which the peer acknowledged while there was always more to send, the best of the last
 * rounds; a round ends when what was under way at its beginning has been acknowledged. The round trip is the
 * least that the connection has seen: a queue that this very window makes does not count.
 *
 * @module
 */
import type { Clock } from "../ports.ts";
import { badFrame, echoFrame, readEcho } from "./frames.ts";
import {
  ACK_DELAY_MS,
  DATA_RECORDS_BYTES_MAX,
  FRAME_BYTES_LIMITED_MIN,
  FRAME_BYTES_MIN,
  FRAME_MS,
  HEARTBEAT_INTERVAL_MS,
  WINDOW_BYTES_FIRST,
  WINDOW_BYTES_MAX,
  WINDOW_BYTES_MIN,
} from "./link_limits.ts";
import type { Wire } from "./wire.ts";

/** Slow rounds in a row after which the line counts as slower. */
const ROUNDS = 8;
/** Shorter rounds tell more of timers than of the line. */
const ROUND_MS_MIN = 20;
/** Measured one behind the other when a connection begins; later now and then. */
const ECHOES_AT_FIRST = 5;
/** Of the latency that is told: the weight of each new one. */
const LATENCY_WEIGHT = 1 / 8;

/** See the module's text. One for each connection. */
export class Flight {
  readonly #clock: Clock;
  /** Bytes of records a second that the limit of the link leaves; null: it has none. */
  readonly #limit: () => number | null;
  #sent = 0;
  #acked = 0;
  /** Bytes a ms of the last rounds. */
  #rates: number[] = [];
  #rate = 0;
  #round = { target: 0, acked: 0, sinceMs: 0 };
  #roundTripMs: number | null = null;
  /** What is timed on its way: the end of what was sent, and when. */
  #timed: { readonly end: number; readonly atMs: number } | null = null;
  #latencyMs: number | null = null;
  #echo: { readonly stamp: number; readonly atMs: number } | null = null;
  #stamps = 0;
  #heard = 0;
  #askedMs = -Infinity;

  constructor(clock: Clock, limit: () => number | null = () => null) {
    this.#clock = clock;
    this.#limit = limit;
  }

  /** The least time of a round trip, null until one was measured. */
  get roundTripMs(): number | null {
    return this.#roundTripMs;
  }

  /** How long the peer takes to acknowledge what is sent, on average; null until it did. */
  get latencyMs(): number | null {
    return this.#latencyMs;
  }

  /** Sent, and not acknowledged. */
  get inFlightBytes(): number {
    return this.#sent - this.#acked;
  }

  /** What may be on its way, in frames of so many bytes: one is written while another is acknowledged. */
  windowFor(frameBytes: number): number {
    if (this.#rate === 0) return WINDOW_BYTES_FIRST;
    const trip = (this.#roundTripMs ?? 0) + ACK_DELAY_MS;
    const bytes = 2 * this.#rate * trip + 2 * frameBytes;
    return Math.ceil(Math.max(WINDOW_BYTES_MIN, Math.min(bytes, WINDOW_BYTES_MAX)));
  }

  /** Records of one frame: on a slow line less, since all else waits behind it. */
  get frameBytes(): number {
    const limit = this.#limit();
    const least = limit === null ? FRAME_BYTES_MIN : FRAME_BYTES_LIMITED_MIN;
    const perMs = limit === null ? this.#rate : limit / 1000;
    if (perMs === 0) return DATA_RECORDS_BYTES_MAX;
    return Math.floor(Math.max(least, Math.min(perMs * FRAME_MS, DATA_RECORDS_BYTES_MAX)));
  }

  get windowBytes(): number {
    return this.windowFor(this.frameBytes);
  }

  /** Whether a frame of records has to wait. */
  get isFull(): boolean {
    return this.inFlightBytes >= this.windowBytes;
  }

  /** The same for frames that may be larger than they are asked to be. */
  isFullOf(frameBytes: number): boolean {
    return this.inFlightBytes >= this.windowFor(Math.max(frameBytes, this.frameBytes));
  }

  sent(bytes: number): void {
    const nowMs = this.#clock.monotonicMs();
    if (this.inFlightBytes === 0) {
      // What follows at once belongs to it: the first word of the peer tells how much that was.
      this.#round = { target: Infinity, acked: this.#acked, sinceMs: nowMs };
    }
    this.#sent += bytes;
    this.#timed ??= { end: this.#sent, atMs: nowMs };
  }

  /** `hasMore`: something else waits to be sent, so the line was the limit. */
  acked(bytes: number, hasMore: boolean): void {
    if (bytes <= 0) return;
    this.#acked = Math.min(this.#acked + bytes, this.#sent);
    const nowMs = this.#clock.monotonicMs();
    this.#takeLatency(nowMs);
    if (this.#round.target === Infinity) this.#round.target = this.#sent;
    const { target, acked, sinceMs } = this.#round;
    if (this.#acked < target || nowMs - sinceMs < ROUND_MS_MIN) return;
    this.#takeRate((this.#acked - acked) / (nowMs - sinceMs), hasMore);
    this.#round = { target: this.#sent, acked: this.#acked, sinceMs: nowMs };
  }

  #takeRate(rate: number, isLimited: boolean): void {
    if (!isLimited && rate <= this.#rate) return;
    this.#rates = [...this.#rates, rate].slice(-ROUNDS);
    this.#rate = Math.max(...this.#rates);
  }

  #takeLatency(nowMs: number): void {
    const timed = this.#timed;
    if (timed === null || this.#acked < timed.end) return;
    this.#timed = null;
    const ms = nowMs - timed.atMs;
    this.#latencyMs = this.#latencyMs === null
      ? ms
      : this.#latencyMs + (ms - this.#latencyMs) * LATENCY_WEIGHT;
  }

  /** What was on its way is not any more: what comes next begins anew. */
  reset(): void {
    this.#acked = this.#sent;
    this.#timed = null;
  }

  /** Now and then sends a number that the peer gives back: that takes a round trip. Cheap to repeat. */
  ask(wire: Pick<Wire, "send">): void {
    const nowMs = this.#clock.monotonicMs();
    // The first answers may be late for other reasons: the peer takes up the connection.
    const isEnough = this.#heard >= ECHOES_AT_FIRST;
    const restMs = isEnough ? HEARTBEAT_INTERVAL_MS : 0;
    if (this.#echo !== null || nowMs - this.#askedMs < restMs) return;
    this.#askedMs = nowMs;
    const stamp = ++this.#stamps;
    this.#echo = { stamp, atMs: nowMs };
    wire.send(echoFrame(stamp));
  }

  /** The body of an ECHO: a number that was not sent is none. Throws `protocol`. */
  heard(body: Uint8Array): void {
    const stamp = readEcho(body);
    if (stamp > this.#stamps) throw badFrame("an echo of what was never sent");
    if (this.#echo?.stamp !== stamp) return;
    const ms = this.#clock.monotonicMs() - this.#echo.atMs;
    this.#echo = null;
    this.#heard++;
    this.#roundTripMs = Math.min(this.#roundTripMs ?? ms, ms);
  }
}
