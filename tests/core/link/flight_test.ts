import { assert, assertEquals } from "@std/assert";
import { Flight } from "../../../core/link/flight.ts";
import { echoFrame, FRAME_HEADER_BYTES } from "../../../core/link/frames.ts";
import {
  DATA_RECORDS_BYTES_MAX,
  WINDOW_BYTES_FIRST,
  WINDOW_BYTES_MAX,
  WINDOW_BYTES_MIN,
} from "../../../core/link/link_limits.ts";
import { assertCode } from "../../support/small.ts";
import { ManualClock } from "../../support/manual_clock.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

/** A line of so many bytes a ms, with a delay, and a sender that always has more. */
class Path {
  readonly clock = new ManualClock();
  readonly flight: Flight;
  readonly #bytesPerMs: number;
  readonly #delayMs: number;
  readonly #acks: { atMs: number; bytes: number }[] = [];
  #freeMs = 0;
  delivered = 0;

  constructor(bytesPerMs: number, delayMs: number, limit: number | null = null) {
    this.flight = new Flight(this.clock, () => limit);
    this.#bytesPerMs = bytesPerMs;
    this.#delayMs = delayMs;
    const asked: Uint8Array[] = [];
    this.flight.ask({ send: (frame) => asked.push(frame) });
    this.clock.advance(delayMs);
    this.flight.heard(asked[0]!.subarray(FRAME_HEADER_BYTES));
  }

  run(ms: number): void {
    for (let i = 0; i < ms; i++) {
      const nowMs = this.clock.monotonicMs();
      while (!this.flight.isFull) {
        const bytes = this.flight.frameBytes;
        this.flight.sent(bytes);
        this.#freeMs = Math.max(this.#freeMs, nowMs) + bytes / this.#bytesPerMs;
        this.#acks.push({ atMs: this.#freeMs + this.#delayMs, bytes });
      }
      while ((this.#acks[0]?.atMs ?? Infinity) <= nowMs) {
        const { bytes } = this.#acks.shift()!;
        this.delivered += bytes;
        this.flight.acked(bytes, true);
      }
      this.clock.advance(1);
    }
  }
}

Deno.test("a line is full, near or far, once its rate is known", () => {
  for (
    const [rate, delay] of [[1000, 0], [3000, 5], [10_000, 100], [50_000, 100], [200_000, 200]]
  ) {
    const path = new Path(rate!, delay!);
    path.run(10_000);
    const before = path.delivered;
    path.run(5000);
    const part = (path.delivered - before) / (5000 * rate!);
    assert(part > 0.95, `${rate} bytes a ms, ${delay} ms: ${part}`);
    assert(path.flight.windowBytes >= Math.min(rate! * delay!, WINDOW_BYTES_MAX));
  }
});

Deno.test("a slow line holds little, so that a cut costs little", () => {
  const path = new Path(1000, 20);
  path.run(10_000);
  // One second of a line of 1 MB/s.
  assert(path.flight.inFlightBytes <= MIB, `${path.flight.inFlightBytes}`);
  const limited = new Path(1e9, 0, 200 * KIB);
  limited.run(1000);
  assertEquals(limited.flight.frameBytes, 20 * KIB);
});

Deno.test("a queue that the window makes itself does not make it grow without end", () => {
  const path = new Path(1000, 20);
  path.run(60_000);
  assert(path.flight.windowBytes <= WINDOW_BYTES_MIN + 2 * 256 * KIB, `${path.flight.windowBytes}`);
});

Deno.test("nothing is known at first, and the bounds hold at last", () => {
  const clock = new ManualClock();
  const flight = new Flight(clock);
  assertEquals([flight.windowBytes, flight.frameBytes], [
    WINDOW_BYTES_FIRST,
    DATA_RECORDS_BYTES_MAX,
  ]);
  assertEquals([flight.roundTripMs, flight.latencyMs], [null, null]);
  const path = new Path(10_000_000, 500);
  path.run(5000);
  assertEquals(path.flight.windowBytes, WINDOW_BYTES_MAX);
});

Deno.test("a peer that answers what was not asked changes nothing", () => {
  const clock = new ManualClock();
  const flight = new Flight(clock);
  const sent: Uint8Array[] = [];
  const wire = { send: (frame: Uint8Array) => void sent.push(frame) };
  flight.ask(wire);
  clock.advance(50);
  flight.heard(echoFrame(0).subarray(FRAME_HEADER_BYTES));
  assertEquals(flight.roundTripMs, null);
  flight.ask(wire);
  assertEquals(sent.length, 1);
  flight.heard(sent[0]!.subarray(FRAME_HEADER_BYTES));
  flight.heard(sent[0]!.subarray(FRAME_HEADER_BYTES));
  assertEquals(flight.roundTripMs, 50);
  flight.acked(10 * MIB, true);
  assertEquals(flight.inFlightBytes, 0);
  // But what was never asked cannot be answered.
  const early = echoFrame(77).subarray(FRAME_HEADER_BYTES);
  assertCode(() => flight.heard(early), "protocol");
});
