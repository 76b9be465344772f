import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { isCascadeError } from "../../../core/errors.ts";
import {
  type Ack,
  ACK_BYTES,
  DELTA_HEAD_BYTES,
  FLAG_FLUSH_WANTED,
  FRAME_HEADER_BYTES,
  FRAME_MAGIC,
  FrameReader,
  FrameType,
  jsonFrame,
  readAck,
  readDeltaData,
  readEcho,
  readTide,
  sealFrame,
  TIDE_BYTES,
  writeAckFrame,
  writeTide,
} from "../../../core/link/frames.ts";
import { CONTROL_BODY_BYTES_MAX, DATA_BODY_BYTES_MAX } from "../../../core/link/link_limits.ts";
import {
  GOLDEN_ACK,
  GOLDEN_FRAMES,
  GOLDEN_MESSAGES,
  GOLDEN_RECORDS,
  GOLDEN_TIDE,
} from "../../golden/frames_list.ts";
import { assertCode, idOf } from "../../support/small.ts";

/** A frame that outlives the reader's next step. */
interface Taken {
  type: number;
  flags: number;
  body: Uint8Array;
}

/** Gives `bytes` to a reader in pieces of the given sizes (the last one again and again). */
function feed(bytes: Uint8Array, sizes: readonly number[], reader = makeReader()): Taken[] {
  const taken: Taken[] = [];
  let turn = 0;
  for (let at = 0; at < bytes.length;) {
    const room = reader.room();
    assert(room.length > 0, "there is always room for a byte");
    const size = sizes[Math.min(turn++, sizes.length - 1)] ?? 1;
    const count = Math.min(size, room.length, bytes.length - at);
    room.set(bytes.subarray(at, at + count));
    reader.advance(count);
    at += count;
    for (let frame = reader.next(); frame !== null; frame = reader.next()) {
      taken.push({ type: frame.type, flags: frame.flags, body: Uint8Array.from(frame.body) });
    }
  }
  return taken;
}

function makeReader(): FrameReader {
  const reader = new FrameReader(64);
  reader.allowData();
  return reader;
}

function concat(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A header alone, with whatever it claims. */
function header(type: number, bodyBytes: number, magic = FRAME_MAGIC): Uint8Array {
  const bytes = new Uint8Array(FRAME_HEADER_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, magic, true);
  view.setUint8(4, type);
  view.setUint32(8, bodyBytes, true);
  return bytes;
}

const frames = GOLDEN_FRAMES.map(({ make }) => make());
const stream = concat(frames);
const expected = GOLDEN_FRAMES.map(({ type, name }, index) => ({
  type,
  flags: /^v1-(delta-)?data/.test(name) ? FLAG_FLUSH_WANTED : 0,
  body: Uint8Array.from(frames[index] ?? []).subarray(FRAME_HEADER_BYTES),
}));

Deno.test("frames of version 1 are the golden bytes", async () => {
  for (const { name, make } of GOLDEN_FRAMES) {
    const golden = await Deno.readFile(new URL(`../../golden/frames/${name}`, import.meta.url));
    assertEquals(make(), golden, name);
  }
});

Deno.test("golden frames are read back as what they say", () => {
  const taken = feed(stream, [stream.length]);
  assertEquals(taken, expected);
  for (const { type, body } of taken) {
    const name = GOLDEN_FRAMES.find((frame) => frame.type === type)?.name.slice(3, -6) ?? "";
    if (type === FrameType.ACK) assertEquals(readAck(body), GOLDEN_ACK);
    else if (type === FrameType.TIDE) assertEquals(readTide(body), GOLDEN_TIDE);
    else if (type === FrameType.ECHO) assertEquals(readEcho(body), 0x1_0000_0010);
    else if (type === FrameType.DATA) {
      assertEquals(readTide(body), GOLDEN_TIDE);
      assertEquals(body.subarray(TIDE_BYTES), GOLDEN_RECORDS);
    } else if (type === FrameType.DELTA_DATA) {
      assertEquals(readDeltaData(body), { position: 4096, records: GOLDEN_RECORDS });
    } else {
      const message = GOLDEN_MESSAGES[name as keyof typeof GOLDEN_MESSAGES];
      assertEquals(JSON.parse(new TextDecoder().decode(body)), message);
    }
  }
});

Deno.test("a stream of frames is read the same when it is split at any byte", () => {
  for (let at = 1; at < stream.length; at++) {
    assertEquals(feed(stream, [at, stream.length]), expected, `split at ${at}`);
  }
});

Deno.test("a stream of frames is read the same byte by byte, and in any pieces", () => {
  assertEquals(feed(stream, [1]), expected);
  fc.assert(fc.property(fc.array(fc.integer({ min: 1, max: 90 }), { minLength: 1 }), (sizes) => {
    assertEquals(feed(stream, sizes), expected);
  }));
});

Deno.test("every flipped bit of a frame is found, but for those in records", () => {
  const unguarded = (type: number, at: number) =>
    type === FrameType.DATA && at >= FRAME_HEADER_BYTES + TIDE_BYTES ||
    type === FrameType.DELTA_DATA && at >= FRAME_HEADER_BYTES + DELTA_HEAD_BYTES;
  for (const [index, frame] of frames.entries()) {
    const type = GOLDEN_FRAMES[index]?.type ?? 0;
    for (let bit = 0; bit < frame.length * 8; bit++) {
      if (unguarded(type, bit >> 3)) continue;
      const bad = Uint8Array.from(frame);
      bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      let taken: Taken[] = [];
      try {
        taken = feed(bad, [bad.length]);
      } catch (error) {
        assert(isCascadeError(error, "protocol"), String(error));
      }
      assertEquals(taken.length, 0, `bit ${bit} of ${GOLDEN_FRAMES[index]?.name}`);
    }
  }
});

Deno.test("any bytes give frames or a protocol error, within bounded memory", () => {
  const most = FRAME_HEADER_BYTES + DATA_BODY_BYTES_MAX;
  const noise = fc.uint8Array({ maxLength: 400 });
  // Noise alone never gets past the magic: put it behind true headers, and into true frames.
  const likely = fc.tuple(fc.integer({ min: 0, max: 17 }), fc.integer({ min: 0, max: 2 ** 32 - 1 }))
    .map(([type, length]) => header(type, length));
  const damaged = fc.tuple(fc.constantFrom(...frames), fc.nat(), fc.nat(255)).map(
    ([frame, at, value]) => {
      const bad = Uint8Array.from(frame);
      bad[at % bad.length] = value;
      return bad;
    },
  );
  const part = fc.oneof(noise, likely, damaged, fc.constantFrom(...frames));
  fc.assert(
    fc.property(fc.array(part, { maxLength: 6 }), fc.boolean(), (parts, proved) => {
      const reader = new FrameReader(64);
      if (proved) reader.allowData();
      try {
        feed(concat(parts), [7, 100], reader);
        assert(reader.room().buffer.byteLength <= most);
      } catch (error) {
        assert(isCascadeError(error, "protocol"), String(error));
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("a length is believed only after magic, type and limit", () => {
  const cases: [string, Uint8Array][] = [
    ["another magic", header(FrameType.TIDE, 40, 0x12345678)],
    ["type 0", header(0, 40)],
    ["an unknown type", header(23, 40)],
    ["a control body past the limit", header(FrameType.HELLO, CONTROL_BODY_BYTES_MAX + 1)],
    ["the largest length", header(FrameType.HELLO, 0xffff_ffff)],
    ["a DATA body past the limit", header(FrameType.DATA, DATA_BODY_BYTES_MAX + 1)],
    ["a DATA body without a whole tide", header(FrameType.DATA, TIDE_BYTES - 1)],
  ];
  for (const [what, bytes] of cases) {
    const reader = makeReader();
    reader.room().set(bytes);
    reader.advance(bytes.length);
    assertCode(() => reader.next(), "protocol");
    assert(assertCode(() => reader.room(), "protocol").includes("the peer sent"), what);
  }
});

Deno.test("an unproved peer can make the reader hold one control frame, and send no data", () => {
  const reader = new FrameReader();
  const head = header(FrameType.HELLO, CONTROL_BODY_BYTES_MAX);
  reader.room().set(head);
  reader.advance(head.length);
  assertEquals(reader.next(), null);
  assert(reader.room().buffer.byteLength <= FRAME_HEADER_BYTES + CONTROL_BODY_BYTES_MAX);
  const unproved = new FrameReader();
  assertCode(() => feed(frames[7] ?? new Uint8Array(0), [9], unproved), "protocol");
});

Deno.test("frames of the largest size pass, one after the other, without growth", () => {
  const body = new Uint8Array(DATA_BODY_BYTES_MAX);
  body.fill(7, TIDE_BYTES);
  const frame = new Uint8Array(FRAME_HEADER_BYTES + body.length);
  frame.set(body, FRAME_HEADER_BYTES);
  sealFrame(frame, 0, FrameType.DATA, 0, body.length, TIDE_BYTES);
  const reader = makeReader();
  for (let turn = 0; turn < 3; turn++) {
    const taken = feed(concat([frame, frames[8] ?? frame]), [100_000], reader);
    assertEquals(taken.map(({ body }) => body.length), [DATA_BODY_BYTES_MAX, TIDE_BYTES]);
    assert(reader.room().buffer.byteLength <= frame.length);
  }
});

Deno.test("a tide comes back as it was written, for any LSNs", () => {
  const lsn = fc.maxSafeNat();
  fc.assert(fc.property(lsn, lsn, lsn, lsn, (stableLsn, primaryTimeMs, primaryEndLsn, firstLsn) => {
    const bytes = new Uint8Array(TIDE_BYTES + 3);
    const tide = { stableLsn, primaryTimeMs, primaryEndLsn, firstLsn };
    writeTide(bytes, 3, tide);
    assertEquals(readTide(bytes.subarray(3)), tide);
  }));
});

Deno.test("a tide that is cut short, or has a number past what can be counted, is refused", () => {
  assertCode(() => readTide(new Uint8Array(TIDE_BYTES - 1)), "protocol");
  for (let field = 0; field < 4; field++) {
    const bytes = new Uint8Array(TIDE_BYTES);
    bytes[8 * field + 7] = 1;
    assertCode(() => readTide(bytes), "protocol");
  }
});

Deno.test("an ack comes back as it was written, and one that contradicts itself is refused", () => {
  const lsn = fc.nat(1 << 20);
  fc.assert(
    fc.property(lsn, lsn, lsn, lsn, lsn, (received, durable, applied, group, groupDurable) => {
      const ack: Ack = {
        epochId: idOf("e"),
        receivedLsn: received,
        durableLsn: durable,
        appliedLsn: applied,
        groupReceivedLsn: group,
        groupDurableLsn: groupDurable,
      };
      const frame = new Uint8Array(FRAME_HEADER_BYTES + ACK_BYTES);
      writeAckFrame(frame, 0, ack);
      const body = feed(frame, [frame.length])[0]?.body ?? new Uint8Array(0);
      const ordered = applied <= durable && durable <= received && groupDurable <= group &&
        group <= received;
      if (ordered) assertEquals(readAck(body), ack);
      else assertCode(() => readAck(body), "protocol");
    }),
  );
});

Deno.test("an ack of another length is refused", () => {
  for (const length of [0, ACK_BYTES - 1, ACK_BYTES + 1]) {
    assertCode(() => readAck(new Uint8Array(length)), "protocol");
  }
});

Deno.test("a control frame may have an empty body", () => {
  const frame = new Uint8Array(FRAME_HEADER_BYTES);
  sealFrame(frame, 0, FrameType.SUBTREE, 0, 0);
  assertEquals(feed(frame, [5]).map(({ type, body }) => [type, body.length]), [[11, 0]]);
  assertEquals(jsonFrame(FrameType.PROOF, {}).length, FRAME_HEADER_BYTES + 2);
});
