import { assert, assertEquals, assertNotEquals } from "@std/assert";
import { BlockSet } from "../../../core/delta/block_set.ts";
import type { DeltaHeader } from "../../../core/delta/delta_format.ts";
import { DeltaShelf } from "../../../core/delta/delta_shelf.ts";
import { ForwardedDelta } from "../../../core/delta/delta_source.ts";
import { DirtyMap } from "../../../core/delta/dirty_map.ts";
import { touchedIn } from "../../../core/delta/map_chain.ts";
import { MadeDelta } from "../../../core/delta/made_delta.ts";
import { RECORD_BYTES_MAX } from "../../../core/limits.ts";
import { DeltaPlanner, type PeerPlace, type Planned } from "../../../core/link/delta_plan.ts";
import { RecordType } from "../../../core/log/record.ts";
import { must } from "../../support/small.ts";
import { makeBody, makeDeltaHeader, makeDeltaTrailer } from "../delta/made_up_delta.ts";
import { MadeUpGround } from "../delta/made_up_ground.ts";
import { applied, type MadeUp, quickClock } from "../delta/made_up_log.ts";
import { assertImages, Peer, ship } from "../delta/made_up_peer.ts";

const SIZES = [3_000_000];
const RECORDS: MadeUp[] = Array.from({ length: 40 }, (_, i) => ({
  type: i % 7 === 6 ? RecordType.ZERO : RecordType.WRITE,
  volume: 0,
  offset: i * 60_000 % 2_500_000,
  length: 100_000,
  fill: i + 1,
}));

/** A node that stands at the end of record number `at`, and what plans for its peer. */
function makeNode(at: number, map: DirtyMap | null = null, shelf?: DeltaShelf) {
  const ground = new MadeUpGround(RECORDS, SIZES, shelf);
  ground.goTo(ground.made.startOf(at));
  return { ground, planner: new DeltaPlanner(ground, () => map === null ? null : touchedIn(map)) };
}

function place(lsn: number, change: Partial<PeerPlace> = {}): PeerPlace {
  return { lsn, needsSeed: false, inPlace: false, staged: null, ...change };
}

/** A peer that has the first `count` records. */
function peerAt(count: number): Peer {
  return new Peer(applied(RECORDS.slice(0, count), SIZES));
}

/** Ships what was planned; the peer must hold what the node does. */
async function shipAll(planned: Planned | null, peer: Peer, ground: MadeUpGround): Promise<void> {
  must(planned !== null);
  const trailer = await ship(planned.source, peer);
  assertEquals(trailer.toLsn, ground.stable);
  assertImages(peer.images, ground.images());
}

Deno.test("a peer that the log serves needs no delta, but where the log is to be coalesced", async () => {
  const { ground, planner } = makeNode(20);
  const lsn = ground.made.startOf(10);
  assertEquals(await planner.plan(place(lsn), false), null);
  const planned = await planner.plan(place(lsn), true);
  assertEquals(planned?.source.header.source, "log");
  await shipAll(planned, peerAt(10), ground);
  assertEquals(await planner.plan(place(ground.stable), true), null);
});

Deno.test("a peer below the log is given the blocks of its map, and the log behind them", async () => {
  for (const isKnown of [true, false]) {
    const set = new BlockSet(SIZES);
    for (const { volume, offset, length } of RECORDS.slice(5, 12)) set.add(volume, offset, length);
    const { ground } = makeNode(20);
    const [from, fold] = [ground.made.startOf(5), ground.made.startOf(12)];
    const map = new DirtyMap(set, ground.history.idAt(from), from, fold);
    ground.startLsn = fold;
    const planner = new DeltaPlanner(ground, () => touchedIn(map));
    // Below the map nothing tells what is missing: all blocks go, holes too.
    const count = isKnown ? 5 : 3;
    const planned = await planner.plan(place(ground.made.startOf(count)), false);
    assertEquals(planned?.source.header.fromLsn, isKnown ? from : 0);
    const sent = planned?.source.bytesExpected ?? 0;
    assertEquals(sent < 2_000_000, isKnown);
    await shipAll(planned, peerAt(count), ground);
  }
});

Deno.test("the map of another history is of no use", async () => {
  const { ground } = makeNode(20);
  const from = ground.made.startOf(5);
  const map = new DirtyMap(new BlockSet(SIZES), "ee".repeat(16), from, ground.made.startOf(12));
  ground.startLsn = ground.made.startOf(12);
  const planned = await new DeltaPlanner(ground, () => touchedIn(map)).plan(place(from), false);
  assertEquals(planned?.source.header.fromLsn, 0);
  await shipAll(planned, peerAt(5), ground);
});

Deno.test("a delta that is here is forwarded as it is", async () => {
  const { ground, shelf, bodyBytes } = await makeHolder();
  const planner = new DeltaPlanner(ground, () => null);
  const planned = await planner.plan(place(ground.made.startOf(3)), false);
  must(planned?.source instanceof ForwardedDelta);
  const into = new Uint8Array(RECORD_BYTES_MAX);
  assertEquals(await planned.source.next(into), bodyBytes);
  assertEquals(shelf.deltas[0]?.isInUse, true);
  planned.source.close();
  planned.source.close();
  assertEquals(shelf.deltas[0]?.isInUse, false);
});

/** A node that holds a delta from its record 2 to 8, and has no such log. */
async function makeHolder() {
  const { ground } = makeNode(8);
  const [fromLsn, toLsn] = [ground.made.startOf(2), ground.made.startOf(8)];
  const shelf = await DeltaShelf.open(ground.disk, "/delta", quickClock);
  const { bytes } = makeBody([{ volume: 0, offset: 0, length: 50, fill: 9 }]);
  const header = makeDeltaHeader({ fromLsn, toLsn, epochId: ground.history.idAt(fromLsn) });
  shelf.begin(header).append(bytes);
  await shelf.commit(makeDeltaTrailer(bytes.length, { toLsn }));
  ground.shelf = shelf;
  ground.gap = { fromLsn, toLsn };
  return { ground, shelf, bodyBytes: bytes.length, header };
}

Deno.test("a held delta that was cut off is gone on with, unless the peer is past it", async () => {
  const { ground, header, bodyBytes } = await makeHolder();
  const planner = new DeltaPlanner(ground, () => null);
  const staged = { header, position: bodyBytes, cursor: { pass: 1, volume: 0, offset: 50 } };
  const planned = await planner.plan(place(header.fromLsn, { staged }), false);
  must(planned?.source instanceof ForwardedDelta);
  assertEquals(planned.staged, staged);
  assertEquals(await planned.source.next(new Uint8Array(RECORD_BYTES_MAX)), 0);
  planned.source.close();
  ground.goTo(ground.made.startOf(12));
  const past = place(ground.made.startOf(10), { staged });
  assertEquals(await planner.plan(past, false), null);
});

Deno.test("a node without volumes has only its log and what it holds", async () => {
  const { ground } = makeNode(20);
  const bunker: MadeUpGround = Object.create(ground, { volumes: { value: [] } });
  const planner = new DeltaPlanner(bunker, () => null);
  ground.startLsn = ground.made.startOf(6);
  assertEquals(await planner.plan(place(0), true), null);
  assertEquals(await planner.plan(place(0, { needsSeed: true }), true), null);
  assertEquals([planner.reaches(0), planner.reaches(ground.startLsn)], [false, true]);
});

Deno.test("a first copy carries no holes, but where an earlier one was begun", async () => {
  const { ground, planner } = makeNode(6);
  const seed = await planner.plan(place(0, { needsSeed: true }), false);
  assertEquals(seed?.source.header.full, true);
  assert((seed?.source.bytesExpected ?? 0) < 1_000_000);
  await shipAll(seed, peerAt(0), ground);
  // What an earlier try left where there is a hole here by now must go.
  const left = new Peer([new Uint8Array(SIZES[0] ?? 0).fill(77)]);
  await shipAll(
    await planner.plan(place(0, { needsSeed: true, inPlace: true }), false),
    left,
    ground,
  );
});

Deno.test("a first copy over a begun one leaves nothing of that, also if its sender is another life", async () => {
  const { ground, planner } = makeNode(20);
  const left = new Peer([new Uint8Array(SIZES[0] ?? 0).fill(77)]);
  const begun = place(0, { needsSeed: true, inPlace: true });
  const staged = await cutOff(await planner.plan(begun, false), left, 1);
  const again = await new DeltaPlanner(ground, () => null).plan({ ...begun, staged }, false);
  assertEquals(again?.staged, staged);
  await shipAll(again, left, ground);
});

Deno.test("a peer that a seed file filled lacks what was touched since, not what the link's map has", async () => {
  const { ground } = makeNode(30);
  const mapFrom = (from: number, to: number) => {
    const set = new BlockSet(SIZES);
    for (const { volume, offset, length } of RECORDS.slice(from, to)) {
      set.add(volume, offset, length);
    }
    const [fromLsn, foldLsn] = [ground.made.startOf(from), ground.made.startOf(to)];
    return new DirtyMap(set, ground.history.idAt(fromLsn), fromLsn, foldLsn);
  };
  const [all, seed] = [mapFrom(0, 25), mapFrom(20, 25)];
  ground.startLsn = ground.made.startOf(25);
  const seeded: MadeUpGround = Object.create(ground, { seedMap: { value: () => seed } });
  const planner = new DeltaPlanner(seeded, () => touchedIn(all));
  const planned = await planner.plan(place(ground.made.startOf(20)), false);
  assertEquals(planned?.source.header.fromLsn, ground.made.startOf(20));
  assert((planned?.source.bytesExpected ?? 0) < 1_200_000);
  await shipAll(planned, peerAt(20), ground);
  // One that stands before the seed needs all that its own map has.
  const before = await planner.plan(place(ground.made.startOf(12)), false);
  await shipAll(before, peerAt(12), ground);
});

/** Ships some of a delta to a peer; what the peer has then. */
async function cutOff(planned: Planned | null, peer: Peer, pieces: number) {
  must(planned !== null);
  const { source } = planned;
  const into = new Uint8Array(RECORD_BYTES_MAX);
  for (let piece = 0; piece < pieces;) {
    const bytes = await source.next(into);
    if (bytes > 0) {
      peer.take(into.subarray(0, bytes));
      piece++;
    } else if (await source.endPass() !== null) throw new Error("it ended before it was cut off");
  }
  return { header: source.header, ...peer.place };
}

Deno.test("a delta that was cut off is gone on with where the peer is", async () => {
  for (const pieces of [1, 2, 3]) {
    const { ground, planner } = makeNode(20);
    const peer = peerAt(0);
    ground.startLsn = ground.stable;
    const planned = await planner.plan(place(0), false);
    ground.goTo(ground.made.startOf(25));
    must(planned !== null);
    const staged = await cutOff(planned, peer, pieces);
    planner.keep(planned.source);
    assertEquals(planner.heldLsn, planned.source.heldLsn);
    const again = await planner.plan(place(0, { staged }), false);
    assertEquals([again?.source, again?.staged], [planned.source, staged]);
    await shipAll(again, peer, ground);
  }
});

Deno.test("a delta is gone on with by another life of its node, in whatever pass it was", async () => {
  for (const pieces of [1, 2, 3, 4]) {
    const { ground, planner } = makeNode(20);
    const peer = peerAt(0);
    ground.startLsn = ground.stable;
    const planned = await planner.plan(place(0), false);
    must(planned !== null);
    ground.goTo(ground.made.startOf(38));
    const staged = await cutOff(planned, peer, pieces);
    const next = new DeltaPlanner(ground, () => null);
    const again = await next.plan(place(0, { staged }), false);
    must(again?.source instanceof MadeDelta);
    assertEquals([again.source.header.id, again.staged], [staged.header.id, staged]);
    await shipAll(again, peer, ground);
  }
});

/** Why a delta that was cut off is made anew; each change is to the node that is asked next. */
const ANEW: { why: string; change: (ground: MadeUpGround, header: DeltaHeader) => DeltaHeader }[] =
  [
    {
      why: "it was made elsewhere",
      change: (ground, header) => {
        ground.series = "1111111111111111";
        return header;
      },
    },
    {
      why: "the log behind it is gone",
      change: (ground, header) => {
        ground.startLsn = ground.stable;
        return header;
      },
    },
    { why: "it is of another cluster", change: (_, header) => ({ ...header, cluster: "other" }) },
    {
      why: "it is of another history",
      change: (ground, header) => ({
        ...header,
        fromLsn: ground.made.startOf(1),
        epochId: "ee".repeat(16),
      }),
    },
    {
      why: "it begins behind the peer",
      change: (ground, header) => ({
        ...header,
        fromLsn: ground.made.startOf(1),
        epochId: ground.history.idAt(ground.made.startOf(1)),
      }),
    },
  ];

for (const { why, change } of ANEW) {
  Deno.test(`a delta that was cut off is made anew where ${why}`, async () => {
    const { ground, planner } = makeNode(20);
    ground.startLsn = ground.stable;
    const peer = peerAt(0);
    const planned = await planner.plan(place(0), false);
    const staged = await cutOff(planned, peer, 1);
    ground.goTo(ground.made.startOf(25));
    const header = change(ground, staged.header);
    const next = new DeltaPlanner(ground, () => null);
    const again = await next.plan(place(0, { staged: { ...staged, header } }), false);
    assertEquals(again?.staged, null);
    assertNotEquals(again?.source.header.id, staged.header.id);
    peer.begin();
    await shipAll(again, peer, ground);
  });
}
