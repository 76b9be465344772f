import { assert, assertEquals } from "@std/assert";
import type { DeltaSource } from "../../../core/delta/delta_source.ts";
import { DeltaCourier } from "../../../core/link/delta_courier.ts";
import { Flight } from "../../../core/link/flight.ts";
import type { DeltaAck } from "../../../core/link/messages.ts";
import { FrameType } from "../../../core/link/frames.ts";
import type { Wire } from "../../../core/link/wire.ts";
import type { Bytes } from "../../../core/ports.ts";
import { ManualClock } from "../../support/manual_clock.ts";

const KIB = 1024;

Deno.test("over a slow line a delta goes in frames that take a tenth of a second", async () => {
  const wanted: number[] = [];
  let left = 100 * KIB;
  const source = {
    header: { id: "x" },
    bytesExpected: left,
    next: (_into: Bytes, bytes: number) => {
      wanted.push(bytes);
      const given = Math.min(bytes, left);
      left -= given;
      return Promise.resolve(given);
    },
    endPass: () => Promise.resolve({ id: "x" }),
  } as unknown as DeltaSource;
  const frames: Bytes[] = [];
  const wire = {
    closed: false,
    whenClosed: new Promise<void>(() => {}),
    send: (frame: Bytes) => void frames.push(frame),
    queueBelow: () => Promise.resolve(),
  } as unknown as Wire;
  const courier = new DeltaCourier(source, wire, new Flight(new ManualClock(), () => 200 * KIB));
  const shipped = courier.ship(null, null);
  for (let turn = 0; left > 0 || turn < 50; turn++) await Promise.resolve();
  const position = 100 * KIB;
  const ack = { id: "x", position, durable: position, refused: null };
  courier.onAck(ack as unknown as DeltaAck);
  await shipped;
  assertEquals(new Set(wanted), new Set([20 * KIB]));
  const data = frames.filter((frame) => frame[4] === FrameType.DELTA_DATA);
  assertEquals(data.length, 6);
  assert(data.every((frame) => frame.length < 21 * KIB && frame.buffer.byteLength < 21 * KIB));
});
