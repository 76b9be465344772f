import { assert, assertEquals } from "@std/assert";
import type { Bandwidth } from "../../../core/config.ts";
import { rateAt } from "../../../core/link/bandwidth.ts";
import {
  DELTA_HEAD_BYTES,
  FRAME_HEADER_BYTES,
  FrameType,
  readDeltaData,
  sealDeltaFrame,
  sealFrame,
  TIDE_BYTES,
} from "../../../core/link/frames.ts";
import { Line, type LineSettings } from "../../../core/link/line.ts";
import { Wire, type WireSource } from "../../../core/link/wire.ts";
import type { Bytes } from "../../../core/ports.ts";
import { ManualClock, settle } from "../../support/manual_clock.ts";
import { connectionPair } from "../../support/pair.ts";

const MIB = 1024 * 1024;

function flat(rate: number | null): Bandwidth {
  return { windows: [], otherwise: rate, timezone: "UTC" };
}

function makeLine(settings: Partial<LineSettings>) {
  const clock = new ManualClock();
  const line = new Line({ clock }, { bandwidth: null, compress: "none", ...settings });
  return { clock, line };
}

function told(line: Line) {
  const { limit, limitedBy, compress, level } = line.status(false);
  return [limit, limitedBy, compress, level];
}

Deno.test("rates follow the hours of the day in their zone", () => {
  const office = { window: { fromMinute: 8 * 60, toMinute: 18 * 60 }, rate: 5 };
  const night = { window: { fromMinute: 22 * 60, toMinute: 4 * 60 }, rate: null };
  const bandwidth = { windows: [office, night], otherwise: 50, timezone: "Europe/Berlin" };
  const at = (text: string) => rateAt(bandwidth, Date.parse(text));
  assertEquals(at("2024-01-10T06:59:59Z"), 50);
  assertEquals(at("2024-01-10T07:00:00Z"), 5);
  assertEquals(at("2024-01-10T17:00:00Z"), 50);
  assertEquals(at("2024-01-10T21:00:00Z"), null);
  assertEquals(at("2024-01-11T02:59:59Z"), null);
  // In summer the office opens an hour earlier.
  assertEquals(at("2024-07-10T06:00:00Z"), 5);
  assertEquals(rateAt(null, 0), null);
});

Deno.test("auto compresses while a limit holds, whoever set it", () => {
  const { line } = makeLine({ compress: "auto" });
  assertEquals([told(line), line.isPlain], [[null, null, "none", null], true]);
  line.override({ rate: MIB });
  assertEquals([told(line), line.isPlain], [[MIB, "operator", "zstd", 1], false]);
  line.override(null);
  line.tune({ bandwidth: flat(2 * MIB), compress: "auto" });
  assertEquals(told(line), [2 * MIB, "topology", "zstd", 1]);
  line.override({ rate: null });
  assertEquals(told(line), [null, "operator", "none", null]);
  line.tune({ bandwidth: flat(3 * MIB), compress: { zstd: 7 } });
  assertEquals(told(line), [null, "operator", "zstd", 7]);
  line.override(null);
  assertEquals(told(line), [3 * MIB, "topology", "zstd", 7]);
});

Deno.test("a rate changes when its hour comes", () => {
  const window = { fromMinute: 0, toMinute: 60 };
  const bandwidth = { windows: [{ window, rate: MIB }], otherwise: null, timezone: "UTC" };
  const { clock, line } = makeLine({ bandwidth });
  clock.wallMs = Date.parse("2024-01-10T00:59:30Z");
  line.look();
  assertEquals(line.status(true).limit, MIB);
  clock.advance(31_000);
  line.look();
  assertEquals(line.status(true).limit, null);
});

function deltaFrame(bytes: number, position: number): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + DELTA_HEAD_BYTES + bytes);
  frame.fill(position % 251, FRAME_HEADER_BYTES + DELTA_HEAD_BYTES);
  sealDeltaFrame(frame, position);
  return frame;
}

const IDLE: WireSource = { fill: (_into, at) => at };

Deno.test("a wire keeps to the rate of its line, in pieces, and stops at once when it is closed", async () => {
  const { clock, line } = makeLine({ bandwidth: flat(MIB) });
  const [near, far] = connectionPair();
  const here = new Wire(near, clock);
  const there = new Wire(far, clock);
  there.allowData();
  here.stream(IDLE, 0, line);
  here.send(deltaFrame(MIB, 7));
  for (let ms = 0; ms < 500; ms += 5) {
    await settle();
    clock.advance(5);
  }
  assert(Math.abs(here.sentBytes / MIB - 0.5) < 0.02, `${here.sentBytes}`);
  assert(near.writes > 50);
  const sent = here.sentBytes;
  here.close();
  await settle();
  clock.advance(1000);
  await settle();
  assertEquals([here.sentBytes, clock.pending], [sent, 0]);
});

Deno.test("what is packed on one wire is whole on the other", async () => {
  const { clock, line } = makeLine({ compress: { zstd: 3 } });
  const [near, far] = connectionPair();
  far.readBytesMax = 1000;
  const here = new Wire(near, clock);
  const there = new Wire(far, clock);
  there.allowData();
  here.stream(IDLE, 0, line);
  for (const position of [1, 2, 3]) here.send(deltaFrame(300_000, position));
  for (const position of [1, 2, 3]) {
    const { type, body } = await there.receive();
    const data = readDeltaData(body);
    assertEquals([type, data.position, data.records.length], [
      FrameType.DELTA_DATA,
      position,
      300_000,
    ]);
    assert(data.records.every((byte) => byte === position));
  }
  assert(here.sentBytes < 1000);
  const { rawBytes, wireBytes, shrinks } = line.status(true);
  assertEquals([rawBytes, shrinks], [900_000, true]);
  assert(wireBytes < here.sentBytes);
});

Deno.test("a delta does not keep the source from telling what it has", async () => {
  const clock = new ManualClock();
  const [near, far] = connectionPair();
  near.stalled = true;
  const here = new Wire(near, clock);
  const there = new Wire(far, clock);
  there.allowData();
  let tides = 2;
  const source: WireSource = {
    fill(into, at) {
      if (tides-- <= 0) return at;
      sealFrame(into, at, FrameType.TIDE, 0, TIDE_BYTES);
      return at + FRAME_HEADER_BYTES + TIDE_BYTES;
    },
  };
  for (const position of [1, 2, 3]) here.send(deltaFrame(100, position));
  here.stream(source, 1000);
  near.release();
  const types: number[] = [];
  while (types.length < 5) types.push((await there.receive()).type);
  const { DELTA_DATA, TIDE } = FrameType;
  assertEquals(types, [DELTA_DATA, TIDE, DELTA_DATA, TIDE, DELTA_DATA]);
});
