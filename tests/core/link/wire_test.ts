import { assert, assertEquals } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import {
  FRAME_HEADER_BYTES,
  FrameType,
  jsonFrame,
  sealFrame,
  TIDE_BYTES,
  writeTide,
} from "../../../core/link/frames.ts";
import { Wire, type WireSource } from "../../../core/link/wire.ts";
import type { Bytes } from "../../../core/ports.ts";
import { ManualClock, settle, until } from "../../support/manual_clock.ts";
import { connectionPair } from "../../support/pair.ts";
import { assertRejectsCode } from "../../support/small.ts";

function makeWires() {
  const clock = new ManualClock();
  const [near, far] = connectionPair();
  return { clock, near, far, here: new Wire(near, clock), there: new Wire(far, clock) };
}

function numbered(number: number): Bytes {
  return jsonFrame(FrameType.PROOF, { number });
}

async function numberOf(wire: Wire): Promise<number> {
  const { body } = await wire.receive();
  return JSON.parse(new TextDecoder().decode(body)).number;
}

/** Gives `count` tides, numbered from 0, and remembers how often it was asked. */
class Tides implements WireSource {
  asked = 0;
  given = 0;
  left: number;
  constructor(count: number) {
    this.left = count;
  }
  fill(into: Bytes, at: number): number {
    this.asked++;
    if (this.left === 0) return at;
    this.left--;
    const firstLsn = this.given++;
    writeTide(into, at + FRAME_HEADER_BYTES, {
      stableLsn: 0,
      primaryTimeMs: 0,
      primaryEndLsn: 0,
      firstLsn,
    });
    sealFrame(into, at, FrameType.TIDE, 0, TIDE_BYTES);
    return at + FRAME_HEADER_BYTES + TIDE_BYTES;
  }
}

Deno.test("frames arrive in the order in which they were sent, whatever the reads", async () => {
  for (const bytes of [1, 7, 1000]) {
    const { far, here, there } = makeWires();
    far.readBytesMax = bytes;
    for (let i = 0; i < 20; i++) here.send(numbered(i));
    for (let i = 0; i < 20; i++) assertEquals(await numberOf(there), i);
  }
});

Deno.test("what has arrived is there at once; more is waited for", async () => {
  const { here, there } = makeWires();
  here.send(numbered(1));
  here.send(numbered(2));
  assertEquals(there.next(), null);
  assertEquals(await numberOf(there), 1);
  // The second came with the same read or comes with the next: no frame is lost in between.
  assertEquals(await numberOf(there), 2);
  assertEquals(there.next(), null);
});

Deno.test("the source is asked when the line is free, and not before", async () => {
  const { near, here } = makeWires();
  near.stalled = true;
  const tides = new Tides(3);
  here.stream(tides, 100);
  for (let i = 0; i < 10; i++) here.kick();
  await settle();
  assertEquals([tides.given, near.writes], [1, 0]);
  near.release();
  await until(() => tides.given === 3, "all tides");
  await settle();
  assertEquals(near.writes, 3);
});

Deno.test("a kick after the source ran dry starts it again", async () => {
  const { here, near } = makeWires();
  const tides = new Tides(1);
  here.stream(tides, 100);
  await settle();
  tides.left = 2;
  here.kick();
  await settle();
  assertEquals([tides.given, near.writes], [3, 3]);
});

Deno.test("control frames go before what the source has", async () => {
  const { near, here, there } = makeWires();
  near.stalled = true;
  here.stream(new Tides(2), 100);
  here.send(numbered(5));
  near.release();
  const types = [];
  for (let i = 0; i < 3; i++) types.push((await there.receive()).type);
  assertEquals(types, [FrameType.TIDE, FrameType.PROOF, FrameType.TIDE]);
});

Deno.test("a peer that does not read is cut off before its queue grows", async () => {
  const { near, here } = makeWires();
  near.stalled = true;
  for (let i = 0; i < 100; i++) here.send(numbered(i));
  assert(here.closed);
  assertEquals(
    await assertRejectsCode(here.receive(), "connection-lost"),
    "the peer does not read",
  );
});

Deno.test("readers meet the first reason that the wire was closed for", async () => {
  const { here } = makeWires();
  const reading = here.receive();
  here.close(new CascadeError("timed-out", "the first"));
  here.close(new CascadeError("protocol", "the second"));
  await assertRejectsCode(
    reading.catch((error) => Promise.reject(here.reasonOf(error))),
    "timed-out",
  );
  await assertRejectsCode(here.receive(), "timed-out");
});

Deno.test("a peer that hangs up is a lost connection", async () => {
  const { far, here } = makeWires();
  far.close();
  await assertRejectsCode(here.receive(), "connection-lost");
});

Deno.test("what arrived before the peer hung up is still read", async () => {
  const { here, there } = makeWires();
  there.send(numbered(1));
  await settle();
  there.close();
  assertEquals(await numberOf(here), 1);
  await assertRejectsCode(here.receive(), "connection-lost");
});

Deno.test("a source that throws closes the wire, and the reader is told its reason", async () => {
  const { here } = makeWires();
  const reading = here.receive();
  const error = new CascadeError("log-corrupt", "damaged");
  here.stream({
    fill: () => {
      throw error;
    },
  }, 10);
  assert(here.closed);
  await assertRejectsCode(
    reading.catch((met) => Promise.reject(here.reasonOf(met))),
    "log-corrupt",
  );
});

Deno.test("a write that fails closes the wire", async () => {
  const { far, here } = makeWires();
  far.close();
  here.send(numbered(1));
  await settle();
  assert(here.closed);
});

Deno.test("a deadline closes the wire unless it was lifted", async () => {
  const { clock, here, there } = makeWires();
  here.setDeadline(100, "handshake");
  there.setDeadline(100, "handshake");
  there.setDeadline(null);
  const reading = here.receive();
  clock.advance(101);
  assert(here.closed && !there.closed);
  await assertRejectsCode(reading.catch((met) => Promise.reject(here.reasonOf(met))), "timed-out");
  assertEquals(clock.pending, 0);
});

Deno.test("silence is counted from the last bytes that came", async () => {
  const { clock, here, there } = makeWires();
  clock.advance(300);
  assertEquals(here.silenceMs(), 300);
  there.send(numbered(1));
  await here.receive();
  assertEquals(here.silenceMs(), 0);
});

Deno.test("the wire counts what it sent", async () => {
  const { here } = makeWires();
  here.send(numbered(1));
  here.stream(new Tides(1), 100);
  await settle();
  assertEquals(here.sentBytes, numbered(1).length + FRAME_HEADER_BYTES + TIDE_BYTES);
});

Deno.test("draining waits for the last control frame, and ends when the wire is closed", async () => {
  const { clock, near, here } = makeWires();
  near.stalled = true;
  here.send(numbered(1));
  let drained = false;
  const draining = here.drain().then(() => drained = true);
  clock.advance(5);
  await settle();
  assertEquals(drained, false);
  near.release();
  await settle();
  clock.advance(5);
  await draining;
  here.close();
  await here.drain();
});

Deno.test("data before the proof closes nothing by itself, but is a protocol error", async () => {
  const { here, there } = makeWires();
  const frame = new Uint8Array(FRAME_HEADER_BYTES + TIDE_BYTES);
  sealFrame(frame, 0, FrameType.DATA, 0, TIDE_BYTES);
  there.send(frame);
  await assertRejectsCode(here.receive(), "protocol");
  const proved = makeWires();
  proved.here.allowData();
  proved.there.send(frame);
  assertEquals((await proved.here.receive()).type, FrameType.DATA);
});
