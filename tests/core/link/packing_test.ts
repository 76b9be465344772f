import { assert, assertEquals, assertStrictEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import { zstdCompressSync } from "node:zlib";
import {
  DELTA_HEAD_BYTES,
  FLAG_FLUSH_WANTED,
  FLAG_PACKED,
  type Frame,
  FRAME_HEADER_BYTES,
  FrameReader,
  FrameType,
  readDeltaData,
  readTide,
  sealDeltaFrame,
  sealFrame,
  TIDE_BYTES,
  writeTide,
} from "../../../core/link/frames.ts";
import { DATA_RECORDS_BYTES_MAX } from "../../../core/link/link_limits.ts";
import { compressHere, Packer, unpack } from "../../../core/link/packing.ts";
import type { Bytes } from "../../../core/ports.ts";
import { assertCode } from "../../support/small.ts";

const TIDE = { stableLsn: 5, primaryTimeMs: 6, primaryEndLsn: 7, firstLsn: 8 };

function text(bytes: number): Bytes {
  return Uint8Array.from({ length: bytes }, (_, i) => (i % 97) + (i >> 9) % 7);
}

function random(bytes: number): Bytes {
  const out = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += 65536) {
    crypto.getRandomValues(out.subarray(at, Math.min(bytes, at + 65536)));
  }
  return out;
}

function dataFrame(records: Uint8Array, flags = 0): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + TIDE_BYTES + records.length);
  writeTide(frame, FRAME_HEADER_BYTES, TIDE);
  frame.set(records, FRAME_HEADER_BYTES + TIDE_BYTES);
  sealFrame(frame, 0, FrameType.DATA, flags, TIDE_BYTES + records.length, TIDE_BYTES);
  return frame;
}

function deltaFrame(records: Uint8Array): Bytes {
  const frame = new Uint8Array(FRAME_HEADER_BYTES + DELTA_HEAD_BYTES + records.length);
  frame.set(records, FRAME_HEADER_BYTES + DELTA_HEAD_BYTES);
  sealDeltaFrame(frame, 12345, FLAG_FLUSH_WANTED);
  return frame;
}

function read(bytes: Uint8Array): Frame {
  const reader = new FrameReader(bytes.length);
  reader.allowData();
  reader.room().set(bytes);
  reader.advance(bytes.length);
  const frame = reader.next();
  assert(frame !== null);
  return frame!;
}

Deno.test("records come back as they were, with tide, position and flags", async () => {
  const packer = new Packer(null);
  for (const bytes of [300, 4096, 60_000, DATA_RECORDS_BYTES_MAX]) {
    const records = text(bytes);
    const data = Uint8Array.from(await packer.pack(dataFrame(records, FLAG_FLUSH_WANTED), 1));
    assert(data.length < records.length, `${bytes}`);
    assertEquals(read(data).flags, FLAG_FLUSH_WANTED | FLAG_PACKED);
    const frame = unpack(read(data));
    assertEquals([frame.type, frame.flags], [FrameType.DATA, FLAG_FLUSH_WANTED]);
    assertEquals(readTide(frame.body), TIDE);
    assertEquals(frame.body.subarray(TIDE_BYTES), records);
    const delta = unpack(read(await packer.pack(deltaFrame(records), 1)));
    assertEquals(readDeltaData(delta.body), { position: 12345, records });
  }
  assertEquals(packer.isShrinking, true);
  assert(packer.packedBytes < packer.rawBytes / 3);
});

Deno.test("records come back from every level", async () => {
  const records = new Uint8Array(DATA_RECORDS_BYTES_MAX);
  records.set(text(DATA_RECORDS_BYTES_MAX - 70_000));
  records.set(random(70_000), 500_000);
  for (let level = 1; level <= 19; level++) {
    const packed = await new Packer(null).pack(dataFrame(records), level);
    assert(packed.length < records.length / 2, `${level}`);
    const frame = unpack(read(packed));
    assert(Buffer.compare(frame.body.subarray(TIDE_BYTES), records) === 0, `${level}`);
  }
});

Deno.test("zeroes, and blocks that come again, cost a few bytes", async () => {
  const packer = new Packer(null);
  const zeroes = await packer.pack(dataFrame(new Uint8Array(1 << 20)), 1);
  assert(zeroes.length < 200, `${zeroes.length}`);
  const block = random(4096);
  const again = new Uint8Array(1 << 19);
  for (let at = 0; at < again.length; at += block.length) again.set(block, at);
  // A sample of what repeats looks like noise: all of a frame is tried now and then.
  let least = Infinity;
  for (let i = 0; i < 64; i++) {
    least = Math.min(least, (await packer.pack(dataFrame(again), 1)).length);
  }
  assert(least < 3 * block.length, `${least}`);
});

Deno.test("what does not shrink goes as it is, and is tried ever less often", async () => {
  let calls = 0;
  const packer = new Packer((bytes, level) => {
    calls++;
    return Promise.resolve(Uint8Array.from(compressHere(bytes, level)));
  });
  const frame = dataFrame(random(1 << 20));
  for (let i = 0; i < 500; i++) assertStrictEquals(await packer.pack(frame, 1), frame);
  assert(calls < 8, `${calls}`);
  assertEquals([packer.isShrinking, packer.rawBytes === packer.packedBytes], [false, true]);
  // Text is found soon enough, and then compressed frame by frame.
  const words = dataFrame(text(1 << 20));
  let asItIs = 0;
  while (await packer.pack(words, 1) === words) asItIs++;
  assert(asItIs <= 65, `${asItIs}`);
  assert((await packer.pack(words, 1)).length < words.length / 4);
});

Deno.test("other frames, small ones, and all without a level go as they are", async () => {
  const packer = new Packer(null);
  const tide = new Uint8Array(FRAME_HEADER_BYTES + TIDE_BYTES);
  sealFrame(tide, 0, FrameType.TIDE, 0, TIDE_BYTES);
  const small = dataFrame(text(64));
  const large = dataFrame(text(100_000));
  assertStrictEquals(await packer.pack(tide, 1), tide);
  assertStrictEquals(await packer.pack(small, 1), small);
  assertStrictEquals(await packer.pack(large, null), large);
});

Deno.test("another thread that breaks costs nothing but time", async () => {
  const packer = new Packer(() => Promise.reject(new Error("it is gone")));
  const records = text(1 << 20);
  const frame = unpack(read(await packer.pack(dataFrame(records), 1)));
  assertEquals(frame.body.subarray(TIDE_BYTES), records);
});

/** A frame that says that its records are `told` bytes. */
function lying(packed: Uint8Array, told: number, type: FrameType = FrameType.DATA): Frame {
  const body = new Uint8Array(TIDE_BYTES + packed.length);
  body.set(packed, TIDE_BYTES);
  new DataView(body.buffer).setUint32(32, told, true);
  return { type, flags: FLAG_PACKED, body };
}

Deno.test("a frame that lies about what is in it is a protocol error, and costs no memory", () => {
  const small = zstdCompressSync(text(1000));
  const bomb = zstdCompressSync(new Uint8Array(1 << 28));
  const before = Deno.memoryUsage().rss;
  const cases: [string, Frame][] = [
    ["more than a frame may have", lying(bomb, 1 << 28)],
    ["the largest length", lying(bomb, 0xffff_ffff)],
    ["a bomb behind a small length", lying(bomb, 1000)],
    ["a bomb behind the largest length that may be", lying(bomb, DATA_RECORDS_BYTES_MAX)],
    ["nothing", lying(small, 0)],
    ["less than there is", lying(small, 999)],
    ["more than there is", lying(small, 1001)],
    ["what is not packed", lying(random(1000), 1000)],
    ["what is cut short", lying(small.subarray(0, small.length - 3), 1000)],
    ["no bytes", lying(new Uint8Array(0), 1000)],
    ["no head", { type: FrameType.DATA, flags: FLAG_PACKED, body: new Uint8Array(TIDE_BYTES - 1) }],
    ["a frame without records", lying(small, 1000, FrameType.TIDE)],
  ];
  for (let turn = 0; turn < 20; turn++) {
    for (const [, frame] of cases) assertCode(() => unpack(frame), "protocol");
  }
  assert(Deno.memoryUsage().rss - before < 100 * 1024 * 1024);
});

Deno.test("random damage to packed records is a protocol error, or leaves their length", () => {
  const records = text(20_000);
  const packed = compressHere(records, 1);
  for (let at = 0; at < packed.length; at++) {
    const damaged = Uint8Array.from(packed);
    damaged[at]! ^= 1 << (at % 8);
    try {
      assertEquals(unpack(lying(damaged, records.length)).body.length, TIDE_BYTES + records.length);
    } catch (error) {
      assertCode(() => {
        throw error;
      }, "protocol");
    }
  }
});
