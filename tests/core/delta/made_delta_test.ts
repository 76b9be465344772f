import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { BODY_START } from "../../../core/delta/delta_body.ts";
import type { DeltaHeader } from "../../../core/delta/delta_format.ts";
import { MadeDelta } from "../../../core/delta/made_delta.ts";
import { RECORD_BYTES_MAX } from "../../../core/limits.ts";
import { RecordType } from "../../../core/log/record.ts";
import { assertRejectsCode } from "../../support/small.ts";
import { MadeUpGround } from "./made_up_ground.ts";
import { applied, type MadeUp } from "./made_up_log.ts";
import { assertImages, Peer, ship } from "./made_up_peer.ts";

/** Several pieces of a body each. */
const SIZES = [2_500_000, 1_200_000];

/** Records whose contents differ. */
function records(count: number, seed = 0): MadeUp[] {
  return Array.from({ length: count }, (_, i) => {
    const n = (i + 1) * 7919 + seed * 104_729;
    const volume = n % 5 === 0 ? 1 : 0;
    const length = 1 + n * 13 % (n % 3 === 0 ? 200_000 : 5_000);
    const offset = n * 331 % ((SIZES[volume] ?? 0) - length);
    const type = n % 4 === 3 ? RecordType.ZERO : RecordType.WRITE;
    return { type, volume, offset, length, fill: 1 + i % 255 };
  });
}

function header(ground: MadeUpGround, change: Partial<DeltaHeader> = {}): DeltaHeader {
  return {
    id: ground.newId(),
    cluster: "payroll",
    epochId: ground.history.idAt(0),
    fromLsn: 0,
    source: "volume",
    toLsn: null,
    sinceLsn: ground.appliedLsn(),
    full: false,
    volumes: SIZES.map((sizeBytes, number) => ({ name: `v${number}`, sizeBytes })),
    ...change,
  };
}

function all(): BlockSet {
  const set = new BlockSet(SIZES);
  for (const [number, size] of SIZES.entries()) set.add(number, 0, size);
  return set;
}

function blank(): Uint8Array[] {
  return SIZES.map((size) => new Uint8Array(size));
}

/** What the volumes are at `lsn`. */
function imageAt(made: readonly MadeUp[], ground: MadeUpGround, lsn: number): Uint8Array[] {
  const count = ground.made.countAt(lsn);
  return applied(made.slice(0, count), SIZES);
}

Deno.test("a delta of the log is exact as of its end, whatever the volumes hold by then", async () => {
  const made = records(60);
  const ground = new MadeUpGround(made, SIZES);
  const toLsn = ground.made.startOf(40);
  ground.goTo(ground.made.endLsn);
  const delta = new MadeDelta(ground, header(ground, { source: "log", toLsn, sinceLsn: 0 }), null);
  const peer = new Peer(blank());
  const trailer = await ship(delta, peer);
  assertEquals(trailer.toLsn, toLsn);
  assertImages(peer.images, imageAt(made, ground, toLsn));
});

Deno.test("a delta of a volume that is written meanwhile is exact as of its end", async () => {
  for (let seed = 1; seed <= 6; seed++) {
    const made = records(80, seed);
    const ground = new MadeUpGround(made, SIZES);
    ground.goTo(ground.made.startOf(20));
    const delta = new MadeDelta(ground, header(ground), all());
    const peer = new Peer(blank());
    let at = 20;
    const trailer = await ship(delta, peer, () => {
      at = Math.min(80, at + seed % 7);
      ground.goTo(ground.made.startOf(at));
    });
    assertImages(peer.images, imageAt(made, ground, trailer.toLsn));
    assert(trailer.toLsn >= delta.header.sinceLsn);
  }
});

/** What happens to a delta between two of its pieces. */
type Event = "write" | "fold" | "cut" | "nothing";

interface Story {
  readonly source: "log" | "volume";
  readonly seed: number;
  readonly firstRecords: number;
  readonly events: readonly Event[];
  /** Bytes of a piece: runs that are larger are cut. */
  readonly wanted: number;
}

const story: fc.Arbitrary<Story> = fc.record({
  source: fc.constantFrom("log" as const, "volume" as const),
  seed: fc.integer({ min: 1, max: 1000 }),
  firstRecords: fc.integer({ min: 1, max: 60 }),
  events: fc.array(
    fc.constantFrom<Event>("write", "write", "fold", "cut", "nothing"),
    { minLength: 1, maxLength: 60 },
  ),
  wanted: fc.constantFrom(RECORD_BYTES_MAX, 64 * 1024, 10_000, 4096 + 48),
});

/** Ships a delta through all that; the peer must hold the image of its end. */
async function live({ source, seed, firstRecords, events, wanted }: Story): Promise<void> {
  const made = records(150, seed);
  const ground = new MadeUpGround(made, SIZES);
  let count = firstRecords;
  ground.goTo(ground.made.startOf(count));
  const fromLsn = ground.made.startOf(Math.floor(firstRecords / 2));
  const peer = new Peer(imageAt(made, ground, fromLsn));
  const base = header(ground, { fromLsn, source, epochId: ground.history.idAt(fromLsn) });
  const parts = source === "log" ? { sinceLsn: fromLsn, toLsn: ground.stable } : {};
  const set = source === "log" ? null : all();
  const delta = new MadeDelta(ground, { ...base, ...parts }, set);
  let next = 0;
  const trailer = await ship(delta, peer, async () => {
    const event = events[next++];
    if (event === "write") {
      count = Math.min(150, count + 3);
      ground.goTo(ground.made.startOf(count));
    } else if (event === "fold") {
      await delta.foldTo(ground.stable);
      ground.startLsn = ground.stable;
    } else if (event === "cut") {
      const { position, cursor } = peer.place;
      assert(delta.canSeek(position, cursor), "what the peer has is gone on with");
      delta.seek(position, cursor);
    }
  }, wanted);
  assertImages(peer.images, imageAt(made, ground, trailer.toLsn));
}

Deno.test("a delta is exact through writes, log that goes, and cuts, in any order", async () => {
  await fc.assert(fc.asyncProperty(story, live), { numRuns: 30 });
});

Deno.test("what was being read when a peer came back is not counted as sent", async () => {
  const made = records(60);
  const ground = new MadeUpGround(made, SIZES);
  ground.goTo(ground.made.endLsn);
  const toLsn = ground.made.endLsn;
  const held: (() => void)[] = [];
  ground.clock = { ...ground.clock, soon: (call) => void held.push(call) };
  const delta = new MadeDelta(ground, header(ground, { source: "log", toLsn, sinceLsn: 0 }), null);
  const old = delta.next(new Uint8Array(RECORD_BYTES_MAX));
  await Promise.resolve();
  await Promise.resolve();
  delta.seek(0, BODY_START);
  const peer = new Peer(blank());
  const shipped = ship(delta, peer);
  for (let i = 0; i < 10_000; i++) {
    await Promise.resolve();
    held.shift()?.();
  }
  await old;
  await shipped;
  assertImages(peer.images, imageAt(made, ground, toLsn));
});

Deno.test("a delta without volumes ends when its log goes", async () => {
  const made = records(30);
  const ground = new MadeUpGround(made, SIZES);
  ground.goTo(ground.made.endLsn);
  const bunker = Object.create(ground, { volumes: { value: [] } });
  const parts = { source: "log" as const, toLsn: ground.stable, sinceLsn: 0 };
  const delta = new MadeDelta(bunker, header(ground, parts), null);
  await assertRejectsCode(delta.foldTo(ground.made.startOf(10)), "log-gone");
});

Deno.test("a delta that is closed while it waits for room or blocks comes to an end", async () => {
  const made = records(30);
  const ground = new MadeUpGround(made, SIZES);
  ground.goTo(ground.made.startOf(10));
  ground.gap = { fromLsn: ground.made.startOf(10), toLsn: ground.made.startOf(12) };
  ground.stable = ground.made.startOf(12);
  const delta = new MadeDelta(ground, header(ground), new BlockSet(SIZES));
  assertEquals(await delta.next(new Uint8Array(RECORD_BYTES_MAX)), 0);
  delta.close();
  await delta.endPass();
});
