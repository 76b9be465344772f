import { assert, assertEquals } from "@std/assert";
import {
  type Ack,
  FLAG_FLUSH_WANTED,
  FRAME_HEADER_BYTES,
  FrameType,
  readAck,
  type Tide,
  TIDE_BYTES,
  writeTide,
} from "../../../core/link/frames.ts";
import { Receiver, RECEIVER_BUFFER_BYTES } from "../../../core/link/receiver.ts";
import { TimeIndex } from "../../../core/link/time_index.ts";
import { CascadeError } from "../../../core/errors.ts";
import { settle, until } from "../../support/manual_clock.ts";
import {
  concat,
  makeEpochRecord,
  makeReign,
  makeRig,
  makeWrite,
  type Rig,
  type RigOptions,
} from "../../support/rig.ts";
import { assertCode, assertRejectsCode, makeEpoch } from "../../support/small.ts";

const VOLUME_BYTES = 1024 * 1024;
const E1 = makeEpoch(1, 0);

interface Below {
  readonly rig: Rig;
  readonly receiver: Receiver;
  readonly tides: Tide[];
  readonly rooms: { bytes: number; go: () => void }[];
  cuts: number;
  appends: number;
  group: { received: number; durable: number };
}

function makeBelow(rig: Rig, fromLsn = rig.log.endLsn): Below {
  const below: Omit<Below, "receiver"> = {
    rig,
    tides: [],
    rooms: [],
    cuts: 0,
    appends: 0,
    group: { received: Infinity, durable: Infinity },
  };
  const receiver = new Receiver({
    pipeline: rig.pipeline,
    times: new TimeIndex(),
    volumeSizes: [VOLUME_BYTES],
    fromLsn,
    groupReceivedLsn: () => below.group.received,
    groupDurableLsn: () => below.group.durable,
    onAppended: () => below.appends++,
    room: (bytes) => new Promise((go) => below.rooms.push({ bytes, go })),
    onCutBack: () => below.cuts++,
    onTide: (tide) => below.tides.push(tide),
  });
  return Object.assign(below, { receiver });
}

async function makeEmpty(options: RigOptions = {}): Promise<Below> {
  return makeBelow(await makeRig({ reigns: false, ...options }));
}

function tideBody(tide: Partial<Tide>, records: Uint8Array = new Uint8Array(0)): Uint8Array {
  const body = new Uint8Array(TIDE_BYTES + records.length);
  writeTide(body, 0, { stableLsn: 0, primaryTimeMs: 7, primaryEndLsn: 0, firstLsn: 0, ...tide });
  body.set(records, TIDE_BYTES);
  return body;
}

function data(below: Below, firstLsn: number, records: Uint8Array, stableLsn = 0, flags = 0) {
  const body = tideBody({ firstLsn, stableLsn }, records);
  return below.receiver.onData({ type: FrameType.DATA, flags, body });
}

function tide(below: Below, stableLsn: number, flags = 0): void {
  below.receiver.onTide({ type: FrameType.TIDE, flags, body: tideBody({ stableLsn }) });
}

/** Lets the flush delay pass, and all that follows. */
async function flush(below: Below): Promise<void> {
  below.rig.clock.advance(100);
  below.rig.pipeline.flushNow();
  await below.rig.log.flushed();
  await settle();
}

/** A node with a reign of three writes, of which all up to `stableLsn` is stable. */
async function makeFollower(stableLsn = 0): Promise<{ below: Below; records: Uint8Array[] }> {
  const below = await makeEmpty();
  const records = makeReign(E1, 3);
  await data(below, 0, concat(records), stableLsn);
  await flush(below);
  return { below, records };
}

Deno.test("records are appended as they are, and their reign is remembered", async () => {
  const { below, records } = await makeFollower();
  const bytes = concat(records);
  const found = new Uint8Array(bytes.length);
  below.rig.log.readAt(0, found);
  assertEquals(found, bytes);
  assertEquals(below.rig.history.epochs, [E1]);
  assert(below.appends > 0);
});

Deno.test("what is stable upstream is stable here only as far as it came down", async () => {
  const below = await makeEmpty();
  const records = makeReign(E1, 3);
  const first = concat(records.slice(0, 2));
  await data(below, 0, first, 1_000_000);
  assertEquals(below.rig.log.upstreamMark, first.length);
  await data(below, first.length, concat(records.slice(2)), 1_000_000);
  assertEquals(below.rig.log.upstreamMark, concat(records).length);
});

Deno.test("nothing is applied before it is known to be stable upstream", async () => {
  const { below, records } = await makeFollower(0);
  const { pipeline, log } = below.rig;
  assertEquals([pipeline.durableLsn, pipeline.stableLsn, pipeline.appliedLsn], [log.endLsn, 0, 0]);
  const stable = concat(records.slice(0, 2)).length;
  tide(below, stable);
  await flush(below);
  await until(() => pipeline.appliedLsn === stable, "applied", below.rig.clock);
  assertEquals([pipeline.stableLsn, pipeline.appliedLsn], [stable, stable]);
});

Deno.test("what a tail below the stream's begin holds is not agreed upon by a tide", async () => {
  // Our log goes on past the point that the stream begins at; the upstream is durable past our end.
  const { below, records } = await makeFollower(0);
  const fromLsn = concat(records.slice(0, 2)).length;
  const again = makeBelow(below.rig, fromLsn);
  tide(again, 1_000_000);
  assertEquals(below.rig.log.upstreamMark, fromLsn);
});

Deno.test("records that are here already are skipped, and then agreed upon", async () => {
  const { below, records } = await makeFollower(0);
  const endLsn = below.rig.log.endLsn;
  const again = makeBelow(below.rig, 0);
  await data(again, 0, concat(records.slice(0, 2)), 1_000_000);
  assertEquals([below.rig.log.endLsn, again.cuts, again.appends], [endLsn, 0, 0]);
  assertEquals(below.rig.log.upstreamMark, concat(records.slice(0, 2)).length);
  const more = makeWrite(1, endLsn, 0, 64, 5);
  const rest = concat([...records.slice(2), more]);
  await data(again, concat(records.slice(0, 2)).length, rest, 1_000_000);
  assertEquals([below.rig.log.endLsn, again.cuts], [endLsn + more.length, 0]);
});

Deno.test("a new reign below our end cuts our provisional tail off", async () => {
  const { below, records } = await makeFollower(0);
  const cut = concat(records.slice(0, 2)).length;
  const e2 = makeEpoch(2, cut);
  const reign = makeReign(e2, 1);
  const again = makeBelow(below.rig, cut);
  await data(again, cut, concat(reign), cut);
  assertEquals(below.rig.history.epochs, [E1, e2]);
  assertEquals(below.rig.log.endLsn, cut + concat(reign).length);
  // Links below are cut off before the cut and after it.
  assertEquals(again.cuts, 2);
});

Deno.test("a tide never makes a tail stable that is about to be cut", async () => {
  const { below, records } = await makeFollower(0);
  const cut = concat(records.slice(0, 2)).length;
  const reign = makeReign(makeEpoch(2, cut), 3);
  const again = makeBelow(below.rig, cut);
  tide(again, cut + concat(reign).length);
  await flush(again);
  assertEquals(below.rig.pipeline.stableLsn, cut);
  await data(again, cut, concat(reign), cut + concat(reign).length);
  await flush(again);
  assertEquals(below.rig.pipeline.stableLsn, cut + concat(reign).length);
});

Deno.test("another record of the same reign below our end cuts our provisional tail, too", async () => {
  const { below, records } = await makeFollower(0);
  const cut = concat(records.slice(0, 2)).length;
  const other = makeWrite(1, cut, 0, 512, 77);
  const again = makeBelow(below.rig, cut);
  await data(again, cut, other, 1_000_000);
  assertEquals([again.cuts, below.rig.log.endLsn], [2, cut + other.length]);
  const found = new Uint8Array(other.length);
  below.rig.log.readAt(cut, found);
  assertEquals(found, other);
});

Deno.test("a stable tail is never cut: neither by a reign nor by another record", async () => {
  const endLsn = concat(makeReign(E1, 3)).length;
  for (const other of [false, true]) {
    const { below, records } = await makeFollower(endLsn);
    await flush(below);
    assertEquals(below.rig.pipeline.stableLsn, endLsn);
    const cut = concat(records.slice(0, 2)).length;
    const again = makeBelow(below.rig, cut);
    const record = other ? makeWrite(1, cut, 0, 512, 77) : makeEpochRecord(makeEpoch(2, cut));
    await assertRejectsCode(data(again, cut, record), "protocol");
    assertEquals([below.rig.log.endLsn, again.cuts], [endLsn, 0]);
  }
});

Deno.test("a frame that does not go on where the last one ended is refused", async () => {
  const { below } = await makeFollower();
  const endLsn = below.rig.log.endLsn;
  for (const lsn of [0, endLsn - 16, endLsn + 16]) {
    await assertRejectsCode(data(below, lsn, makeWrite(1, lsn, 0, 64, 1)), "protocol");
  }
  assertEquals(below.rig.log.endLsn, endLsn);
});

Deno.test("a flipped bit in any record is found before anything of it is appended", async () => {
  const { below } = await makeFollower();
  const endLsn = below.rig.log.endLsn;
  const record = makeWrite(1, endLsn, 0, 64, 1);
  for (let bit = 0; bit < record.length * 8; bit += 5) {
    const bad = Uint8Array.from(record);
    bad[bit >> 3] = (bad[bit >> 3] ?? 0) ^ (1 << (bit & 7));
    await assertRejectsCode(data(makeBelow(below.rig), endLsn, bad), "protocol");
  }
  assertEquals(below.rig.log.endLsn, endLsn);
});

Deno.test("records that no volume can take are refused", async () => {
  const { below } = await makeFollower();
  const lsn = below.rig.log.endLsn;
  const past = makeWrite(1, lsn, VOLUME_BYTES - 32, 64, 1);
  await assertRejectsCode(data(makeBelow(below.rig), lsn, past), "protocol");
  const short = makeWrite(1, lsn, 0, 64, 1).subarray(0, 64);
  await assertRejectsCode(data(makeBelow(below.rig), lsn, short), "protocol");
});

Deno.test("records of another reign than the present one are refused", async () => {
  const { below } = await makeFollower();
  const lsn = below.rig.log.endLsn;
  for (const epoch of [0, 2]) {
    await assertRejectsCode(
      data(makeBelow(below.rig), lsn, makeWrite(epoch, lsn, 0, 64, 1)),
      "protocol",
    );
  }
  const old = makeEpochRecord(makeEpoch(1, lsn, "again"));
  await assertRejectsCode(data(makeBelow(below.rig), lsn, old), "protocol");
});

Deno.test("an append that fails leaves no reign behind that the log does not hold", async () => {
  const { below } = await makeFollower();
  const { rig } = below;
  const endLsn = rig.log.endLsn;
  const reign = makeReign(makeEpoch(2, endLsn), 1);
  rig.disk.beforeWrite = () => {
    throw new CascadeError("disk-full", "no room");
  };
  await assertRejectsCode(data(below, endLsn, concat(reign)), "disk-full");
  assertEquals([rig.history.lastNumber, rig.log.endLsn], [1, endLsn]);
  rig.disk.beforeWrite = () => {};
  await data(makeBelow(rig), endLsn, concat(reign));
  assertEquals(rig.history.lastNumber, 2);
});

Deno.test("a full node takes no records, but hears at once what is stable of those it has", async () => {
  const { below, records } = await makeFollower(0);
  const { rig } = below;
  rig.pipeline.accepts = () => false;
  const taking = data(below, rig.log.endLsn, makeWrite(1, rig.log.endLsn, 0, 64, 1), 1_000_000);
  await settle();
  assertEquals(below.rooms.length, 1);
  assertEquals(rig.log.upstreamMark, concat(records).length);
  below.rooms[0]?.go();
  await taking;
  assert(rig.log.endLsn > concat(records).length);
});

Deno.test("a record that this log can never take is refused, not waited for", async () => {
  const below = await makeEmpty({ segmentBytes: 16 * 1024 });
  const begin = makeEpochRecord(E1);
  const large = makeWrite(1, begin.length, 0, 12 * 1024, 1);
  await assertRejectsCode(data(below, 0, concat([begin, large])), "protocol");
});

Deno.test("a wanted flush is begun at once", async () => {
  const below = await makeEmpty();
  const records = concat(makeReign(E1, 2));
  await data(below, 0, records, 0, FLAG_FLUSH_WANTED);
  await below.rig.log.flushed();
  assertEquals(below.rig.pipeline.durableLsn, records.length);
});

function ackOf(below: Below): Ack | null {
  const frame = new Uint8Array(RECEIVER_BUFFER_BYTES);
  const end = below.receiver.fill(frame, 0);
  return end === 0 ? null : readAck(frame.subarray(FRAME_HEADER_BYTES, end));
}

Deno.test("an ack tells where this node is, and that its sync peers below count upward", async () => {
  const { below } = await makeFollower(0);
  const endLsn = below.rig.log.endLsn;
  assertEquals(ackOf(below), {
    epochId: E1.id,
    receivedLsn: endLsn,
    durableLsn: endLsn,
    appliedLsn: 0,
    groupReceivedLsn: endLsn,
    groupDurableLsn: endLsn,
  });
  below.group = { received: 160, durable: 96 };
  below.receiver.ackSoon();
  const ack = ackOf(below);
  assertEquals([ack?.groupReceivedLsn, ack?.groupDurableLsn], [160, 96]);
});

Deno.test("an ack is told once, unless something moved or the heartbeat is due", async () => {
  const { below } = await makeFollower(0);
  assert(ackOf(below) !== null);
  below.receiver.ackSoon();
  assertEquals(ackOf(below), null);
  below.receiver.heartbeat();
  assert(ackOf(below) !== null);
  assertEquals(ackOf(below), null);
});

Deno.test("a tide is passed on as it came", async () => {
  const { below } = await makeFollower(0);
  const seen = below.tides.length;
  const first = makeReign(E1, 0)[0]!.length;
  tide(below, first);
  assertEquals(
    below.tides.slice(seen).map(({ stableLsn, primaryTimeMs }) => [stableLsn, primaryTimeMs]),
    [
      [first, 7],
    ],
  );
  const body = new Uint8Array(3);
  assertCode(() => below.receiver.onTide({ type: FrameType.TIDE, flags: 0, body }), "protocol");
});

Deno.test("a stable position within a record is none, and changes nothing", async () => {
  const { below, records } = await makeFollower(0);
  for (const lsn of [8, records[0]!.length + 16, concat(records).length - 16]) {
    const found = assertCode(() => tide(below, lsn), "protocol");
    assertEquals(found, `the upstream sent LSN ${lsn} as stable, where no record begins`);
  }
  assertEquals(below.rig.log.upstreamMark, 0);
});
