/** Lies of a peer that has proved itself: the connection ends, by a reason that says what was wrong. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { FRAME_HEADER_BYTES, FrameType, jsonFrame } from "../../../core/link/frames.ts";
import type { Bytes } from "../../../core/ports.ts";
import {
  type LiarOptions,
  Liars,
  type Lie,
  messageOf,
  packedAs,
  setNumber,
  type Speaker,
  typeOf,
  VOLUME_BYTES,
  withBody,
  withMessage,
  withNumber,
  withRecords,
} from "../../support/liars.ts";

/** A frame type of its speaker, what is made of it, and the reason that the other end gives. */
type Case = readonly [
  name: string,
  who: Speaker,
  type: FrameType,
  lie: (frame: Bytes) => Bytes | Bytes[],
  reason: RegExp,
  options?: LiarOptions,
];

const EPOCH_FAR = 9;

function inRecords(change: (record: Bytes, view: DataView<ArrayBuffer>) => void) {
  return (frame: Bytes) =>
    withRecords(frame, (record) => {
      change(record, new DataView(record.buffer, record.byteOffset));
      return record;
    });
}

/** Changes fields of the message. */
function saying(change: Record<string, unknown>) {
  return (frame: Bytes) => withMessage(frame, { ...messageOf<object>(frame), ...change });
}

function ahead(frame: Bytes, ...at: number[]): Bytes {
  return at.reduce((made, place) => withNumber(made, place, 2 ** 40), frame);
}

const COPY: LiarOptions = { image: new Uint8Array(VOLUME_BYTES).fill(7, 0, 300_000) };
const PERIODIC: LiarOptions = {
  link: {
    mode: "periodic",
    schedule: { everyMs: 200, jitterMs: 0, cron: null, window: null, timezone: null },
  },
};

const CASES: readonly Case[] = [
  // What the node above says.
  [
    "records that go back",
    "a",
    FrameType.DATA,
    (f) => withNumber(f, 24, 0),
    /records from LSN 0, expected/,
  ],
  [
    "records of an LSN that is not due",
    "a",
    FrameType.DATA,
    inRecords((r) => setNumber(r, 16, 16)),
    /a record of LSN 16 at LSN/,
  ],
  [
    "records of another epoch",
    "a",
    FrameType.DATA,
    inRecords((r) => r[12] = EPOCH_FAR),
    /a record of epoch 9 in epoch 1/,
  ],
  [
    "records of a volume that is not there",
    "a",
    FrameType.DATA,
    inRecords((r) => r[10] = 3),
    /a record of volume number 3/,
  ],
  [
    "records past the end of a volume",
    "a",
    FrameType.DATA,
    inRecords((r) => setNumber(r, 24, VOLUME_BYTES)),
    /past the end of volume number 0/,
  ],
  [
    "a record longer than any",
    "a",
    FrameType.DATA,
    inRecords((r) => setNumber(r, 32, 2 ** 32)),
    /damaged record/,
  ],
  [
    "a damaged record",
    "a",
    FrameType.DATA,
    (f) => withBody(f, f.slice(FRAME_HEADER_BYTES).fill(0, 60)),
    /damaged record/,
  ],
  [
    "half a record",
    "a",
    FrameType.DATA,
    (f) => withBody(f, f.slice(FRAME_HEADER_BYTES, -16)),
    /damaged record|cut short/,
  ],
  [
    "packed records longer than told",
    "a",
    FrameType.DATA,
    (f) => packedAs(f, new Uint8Array(9000), 64),
    /packed records/,
  ],
  [
    "packed records of 4 GiB",
    "a",
    FrameType.DATA,
    (f) => packedAs(f, new Uint8Array(9000), 2 ** 32 - 1),
    /records that would be 4294967295 bytes/,
  ],
  [
    "a stable position that goes back",
    "a",
    FrameType.DATA,
    (f) => [f, tideOf(f, 0)],
    /LSN 0 as stable, behind/,
  ],
  [
    "a number beyond all",
    "a",
    FrameType.TIDE,
    (f) => withBody(f, f.slice(FRAME_HEADER_BYTES).fill(255, 0, 8)),
    /the number/,
  ],
  [
    "a tide that is none",
    "a",
    FrameType.TIDE,
    (f) => withBody(f, new Uint8Array(3)),
    /a tide of 3 bytes/,
  ],
  [
    "a hello in the midst of it",
    "a",
    FrameType.TIDE,
    (f) => [jsonFrame(FrameType.HELLO, {}), f],
    /frame 1, which does not belong here/,
  ],
  [
    "a stream from within a record",
    "a",
    FrameType.ACCEPT,
    saying({ fromLsn: 40 }),
    /ends at|no record begins/,
  ],
  [
    "a stream from behind the end",
    "a",
    FrameType.ACCEPT,
    saying({ fromLsn: 2 ** 40 }),
    /the upstream streams from LSN 1099511627776/,
  ],
  [
    "a wish for records that are not here",
    "a",
    FrameType.ACCEPT,
    (f) => [jsonFrame(FrameType.FETCH, { fromLsn: 8, toLsn: 100 }), f],
    /asks for records from LSN 8/,
  ],
  [
    "hashes of a volume past its end",
    "a",
    FrameType.TIDE,
    (
      f,
    ) => [
      jsonFrame(FrameType.HASH_ASK, {
        id: 1,
        volume: 0,
        offset: VOLUME_BYTES,
        length: 4096,
        wantsData: true,
      }),
      f,
    ],
    /past the end of a volume/,
  ],
  [
    "a delta of other volumes",
    "a",
    FrameType.DELTA,
    (f) => withMessage(f, inHeader(f, { volumes: [] })),
    /a delta of other volumes/,
    COPY,
  ],
  [
    "a delta from what is not here yet",
    "a",
    FrameType.DELTA,
    (f) => withMessage(f, inHeader(f, { fromLsn: 2 ** 40 })),
    /a delta from LSN 1099511627776/,
    COPY,
  ],
  [
    "a delta that goes on where nothing is",
    "a",
    FrameType.DELTA,
    saying({ position: 4096 }),
    /a delta that goes on at byte 4096/,
    COPY,
  ],
  [
    "a first copy over an image",
    "a",
    FrameType.DELTA,
    (f) => withMessage(f, inHeader(f, { full: true, fromLsn: 0 })),
    /this node has an image|another history/,
    PERIODIC,
  ],
  [
    "a delta's bytes out of order",
    "a",
    FrameType.DELTA_DATA,
    (f) => withNumber(f, 0, 64),
    /a delta's byte 64, expected 0/,
    COPY,
  ],
  [
    "a delta's record of a volume that is not there",
    "a",
    FrameType.DELTA_DATA,
    inRecords((r) => r[10] = 5),
    /a record of volume number 5/,
    COPY,
  ],
  [
    "a delta's record past the end",
    "a",
    FrameType.DELTA_DATA,
    inRecords((r) => setNumber(r, 24, VOLUME_BYTES)),
    /past the end of volume 0/,
    COPY,
  ],
  [
    "the end of a delta that goes back",
    "a",
    FrameType.DELTA_END,
    saying({ toLsn: 0 }),
    /history that goes back|goes back to LSN 0|end of another delta/,
    COPY,
  ],
  [
    "the end of another delta",
    "a",
    FrameType.DELTA_END,
    saying({ id: "0".repeat(32) }),
    /the end of another delta/,
    COPY,
  ],
  [
    "the end of a delta that is not whole",
    "a",
    FrameType.DELTA_END,
    saying({ bodyBytes: 16 }),
    /the end of another delta/,
    COPY,
  ],
  [
    "another number for an epoch that is known",
    "a",
    FrameType.DELTA_END,
    (f) => withMessage(f, otherEpochs(f)),
    /tells otherwise of epoch|history that goes back/,
    PERIODIC,
  ],
  // What the node below says.
  [
    "an end within a record",
    "b",
    FrameType.POSITION,
    (f) => [withMessage(f, endingAt(f, 40))],
    /LSN 40, where no record begins|a history that goes back/,
  ],
  [
    "what is stable beyond the end",
    "b",
    FrameType.POSITION,
    saying({ stableLsn: 2 ** 40 }),
    /LSN 1099511627776 as stable/,
  ],
  [
    "a history that goes back",
    "b",
    FrameType.POSITION,
    (f) => withMessage(f, twice(f)),
    /a history that goes back/,
  ],
  [
    "volumes without number",
    "b",
    FrameType.POSITION,
    saying({ volumes: Array(1025).fill({ name: "x", sizeBytes: 1 }) }),
    /the peer sent a wrong position/,
  ],
  [
    "no JSON",
    "b",
    FrameType.POSITION,
    (f) => withBody(f, new Uint8Array([255, 1])),
    /a position that is no JSON/,
  ],
  [
    "an ack of what was never sent",
    "b",
    FrameType.ACK,
    (f) => ahead(f, 16, 24, 32, 40, 48),
    /acknowledges LSN 1099511627776, and was sent nothing beyond/,
  ],
  [
    "an ack that contradicts itself",
    "b",
    FrameType.ACK,
    (f) => ahead(f, 32),
    /an ack whose positions contradict each other/,
  ],
  [
    "an ack of some bytes",
    "b",
    FrameType.ACK,
    (f) => withBody(f, new Uint8Array(7)),
    /an ack of 7 bytes/,
  ],
  [
    "a wish for a history beyond all",
    "b",
    FrameType.ACK,
    (f) => [jsonFrame(FrameType.ADVANCE, { lsn: 2 ** 40 }), f],
    /asks to go on beyond LSN 1099511627776/,
  ],
  [
    "an echo of what was never sent",
    "b",
    FrameType.ECHO,
    (f) => withNumber(f, 0, 77_777),
    /an echo of what was never sent/,
  ],
  [
    "hashes that nobody asked for",
    "b",
    FrameType.ACK,
    (
      f,
    ) => [
      jsonFrame(FrameType.HASH, {
        id: 7,
        appliedLsn: 0,
        isHole: true,
        digests: null,
        data: null,
        refused: null,
      }),
      f,
    ],
    /hashes that nobody asked for/,
  ],
  [
    "the ack of a delta that was never sent",
    "b",
    FrameType.ACK,
    (f) => [jsonFrame(FrameType.DELTA_ACK, deltaAck(0)), f],
    /frame 15, which does not belong here/,
  ],
  [
    "the ack of more of a delta than was sent",
    "b",
    FrameType.DELTA_ACK,
    saying({ position: 2 ** 40 }),
    /acknowledged more of a delta than was sent/,
    COPY,
  ],
  [
    "records, from below",
    "b",
    FrameType.ACK,
    (f) => [jsonFrame(FrameType.TIDE, {}), f],
    /frame 9, which does not belong here/,
  ],
  [
    "a delta, from below",
    "b",
    FrameType.ACK,
    (f) => [jsonFrame(FrameType.DELTA, {}), f],
    /frame 12, which does not belong here/,
  ],
  [
    "another proof",
    "b",
    FrameType.ACK,
    (f) => [jsonFrame(FrameType.PROOF, {}), f],
    /frame 3, which does not belong here/,
  ],
  [
    "more links than there can be",
    "b",
    FrameType.SUBTREE,
    saying({ links: Array(300).fill({}) }),
    /the peer sent a wrong subtree/,
  ],
];

function tideOf(data: Bytes, stableLsn: number): Bytes {
  const body = data.slice(FRAME_HEADER_BYTES, FRAME_HEADER_BYTES + 40);
  setNumber(body, 0, stableLsn);
  const tide = data.slice();
  tide[4] = FrameType.TIDE;
  return withBody(tide, body, 0);
}

function inHeader(frame: Bytes, change: object): object {
  const message = messageOf<{ header: object }>(frame);
  return { ...message, header: { ...message.header, ...change } };
}

interface Told {
  endLsn: number;
  history: { number: number; firstLsn: number; id: string }[];
}

function endingAt(frame: Bytes, lsn: number): object {
  return { ...messageOf<object>(frame), endLsn: lsn, stableLsn: lsn };
}

function twice(frame: Bytes): object {
  const message = messageOf<Told>(frame);
  const epoch = message.history[0] ?? { number: 1, id: "0".repeat(32), firstLsn: 0, node: "a" };
  return { ...message, history: [epoch, epoch] };
}

function otherEpochs(frame: Bytes): object {
  const message = messageOf<Told>(frame);
  return { ...message, history: message.history.map((epoch) => ({ ...epoch, number: 77 })) };
}

function deltaAck(position: number): object {
  const cursor = { pass: 1, volume: 0, offset: 0 };
  return { id: "0".repeat(32), position, durable: 0, cursor, refused: null };
}

for (const [name, who, type, lie, reason, options] of CASES) {
  Deno.test(`${who === "a" ? "the node above" : "the node below"} is cut off: ${name}`, async () => {
    let told = 0;
    const deceive: Lie = (speaker, frame) => {
      if (speaker !== who || typeOf(frame) !== type || told > 0) return [frame];
      told++;
      return [lie(frame)].flat();
    };
    const isFirst = options === COPY;
    const liars = await Liars.start({ ...options, ...(isFirst ? { lie: deceive } : {}) });
    try {
      // Some truth first, and a new connection behind it.
      if (!isFirst) {
        liars.write(0, 4096, 1);
        await liars.pass(300);
        liars.cut();
        liars.lie = deceive;
      }
      const [deceived] = who === "a" ? [liars.b] : [liars.a];
      const reasons = new Set<string>();
      for (let turn = 0; turn < 40; turn++) {
        if (turn % 4 === 0) liars.write(8192, 4096, 2);
        await liars.pass(50);
        for (const { reason } of deceived.node.status().links) {
          if (reason !== null) reasons.add(reason);
        }
        for (const { fields } of deceived.journal.lines) {
          if (fields["reason"] !== undefined) reasons.add(String(fields["reason"]));
        }
      }
      assertEquals(told, 1);
      assertMatch([...reasons].join("\n"), reason);
      // The truth is heard again, and nothing was harmed.
      await liars.pass(12_000);
      liars.write(0, 4096, 3);
      await liars.pass(2_000);
      const [a, b] = [liars.a, liars.b].map(({ disk }) => disk.file("/vols/data").bytes);
      for (const { node } of [liars.a, liars.b]) {
        assertEquals(node.phase, "running", String(node.reason));
      }
      assertEquals(liars.b.node.pipeline.appliedLsn, liars.a.node.pipeline.appliedLsn);
      assert(a!.every((byte, at) => byte === b![at]), "the volumes are the same");
    } finally {
      await liars.end();
    }
  });
}

Deno.test("a peer that lies every time is met again at the pace of one that is away", async () => {
  const liars = await Liars.start();
  try {
    await liars.pass(200);
    let hellos = 0;
    liars.lie = (speaker, frame) => {
      if (typeOf(frame) === FrameType.HELLO) hellos++;
      const isLie = speaker === "a" && typeOf(frame) === FrameType.ACCEPT;
      return isLie ? [saying({ fromLsn: 2 ** 40 })(frame)] : [frame];
    };
    liars.cut();
    await liars.pass(60_000);
    // Each wait is half of two seconds at least, but for the first ones.
    assert(hellos > 20 && hellos < 70, `${hellos} connections in a minute`);
    const lines = [...liars.a.journal.lines, ...liars.b.journal.lines];
    assert(lines.length < 5 * hellos, `${lines.length} lines`);
  } finally {
    await liars.end();
  }
});
