import { assert, assertEquals } from "@std/assert";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { MapChain } from "../../../core/delta/map_chain.ts";
import { CascadeError } from "../../../core/errors.ts";
import { RecordType } from "../../../core/log/record.ts";
import { MemoryJournal } from "../../support/small.ts";
import { LogWorld } from "../log/world.ts";
import { MadeUpGround } from "./made_up_ground.ts";
import type { MadeUp } from "./made_up_log.ts";

const SIZES = [1_000_000];
const FOLDER = "/log/maps";
/** Each touches a block of its own. */
const RECORDS: MadeUp[] = Array.from({ length: 20 }, (_, i) => ({
  type: RecordType.WRITE,
  volume: 0,
  offset: i * 8192,
  length: 100,
}));

interface Made {
  readonly chain: MapChain;
  readonly ground: MadeUpGround;
  readonly journal: MemoryJournal;
  /** Where a record begins. */
  readonly at: (record: number) => number;
}

/** A chain on a disk that crashes, of a log that is all stable. */
function makeChain(world: LogWorld): Made {
  const ground = new MadeUpGround(RECORDS, SIZES);
  ground.goTo(ground.made.endLsn);
  const journal = new MemoryJournal();
  const chain = new MapChain(ground, world.disk, FOLDER, journal);
  return { chain, ground, journal, at: (record) => ground.made.startOf(record) };
}

async function load(world: LogWorld, startRecord = 0): Promise<Made> {
  const made = makeChain(world);
  made.ground.startLsn = made.at(startRecord);
  await world.settle(made.chain.load(false));
  return made;
}

/** Which records touched what a node lacks that stands before one of them; null: that is not known. */
function lackedAt({ chain, at }: Made, record: number): number[] | null {
  const blocks = chain.since(at(record))?.blocks() ?? null;
  return blocks === null ? null : [...blocks.extents()].map(({ offset }) => offset / 8192);
}

function from(first: number, end: number): number[] {
  return Array.from({ length: end - first }, (_, i) => first + i);
}

function files(world: LogWorld): string[] {
  return world.disk.list(FOLDER).filter((name) => name.endsWith(".map")).sort();
}

Deno.test("one pass over the log that goes serves nodes that stand at different places", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at, ground } = made;
  let reads = 0;
  const read = ground.log.read.bind(ground.log);
  Object.assign(ground.log, {
    read: (...args: Parameters<typeof read>) => {
      const bytes = read(...args);
      reads += bytes;
      return bytes;
    },
  });
  await world.settle(chain.foldTo(at(10), [at(2), at(5), at(5), at(7)]));
  assertEquals([2, 5, 7].map((record) => lackedAt(made, record)), [
    from(2, 10),
    from(5, 10),
    from(7, 10),
  ]);
  assertEquals(reads, at(10) - at(2));
  assertEquals(files(world).length, 3);
  await world.settle(chain.foldTo(at(15), [at(2), at(5), at(5), at(7)]));
  assertEquals(lackedAt(made, 7), from(7, 15));
  assertEquals(lackedAt(made, 2), from(2, 15));
  assertEquals(files(world).length, 3, "the newest grows, and nothing else changes");
  assertEquals([lackedAt(made, 1), chain.endLsn], [null, at(15)]);
});

Deno.test("what nobody lacks is neither read nor kept", async () => {
  const world = new LogWorld(1);
  const { chain, at } = makeChain(world);
  await world.settle(chain.foldTo(at(10), [at(12), at(15)]));
  await world.settle(chain.foldTo(at(10), []));
  assert(chain.isEmpty);
  assertEquals(world.disk.exists(FOLDER), false);
});

Deno.test("a span goes when nobody stands in it or before, and the rest stays", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at } = made;
  await world.settle(chain.foldTo(at(10), [at(2), at(5)]));
  assertEquals(chain.isSpare(at(2)), false);
  assertEquals(chain.isSpare(at(5)), true);
  await world.settle(chain.trim([at(5), at(12)]));
  assertEquals([lackedAt(made, 2), lackedAt(made, 5)], [null, from(5, 10)]);
  await world.settle(chain.trim([at(10), at(12)]));
  assert(chain.isEmpty);
  assertEquals(files(world), []);
  world.crash("power");
  assert((await load(world)).chain.isEmpty);
});

Deno.test("a chain is as it was after a power cut, whatever of it was being written", async () => {
  let died = 0;
  for (let seed = 1; seed <= 30; seed++) {
    const world = new LogWorld(seed);
    const made = makeChain(world);
    const { chain, at } = made;
    await world.settle(chain.foldTo(at(8), [at(2), at(5)]));
    world.dieAfter(seed);
    await world.settle(chain.foldTo(at(16), [at(2), at(5), at(8), at(11)])).catch(() => died++);
    world.crash(seed % 2 === 0 ? "power" : "process");
    // The log that the fold was about is still there.
    const found = await load(world, 8);
    const reached = found.chain.endLsn;
    assert(reached >= at(8) && reached <= at(16), `seed ${seed}: it ends at ${reached}`);
    await world.settle(found.chain.foldTo(at(16), [at(2), at(5), at(8), at(11)]));
    for (const record of [2, 5, 8, 11]) {
      const lacked = lackedAt(found, record) ?? [];
      assertEquals(from(record, 16).filter((i) => !lacked.includes(i)), [], `seed ${seed}`);
    }
    assertEquals([lackedAt(found, 2), lackedAt(found, 5)], [from(2, 16), from(5, 16)]);
  }
  assert(died > 10, `it died ${died} times`);
});

Deno.test("a chain that a start found is there after a power cut", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const world = new LogWorld(seed);
    const { chain, at } = makeChain(world);
    await world.settle(chain.foldTo(at(2), [0]));
    const rename = world.disk.rename.bind(world.disk);
    let isRenamed = false;
    world.disk.rename = (from, to) => {
      rename(from, to);
      isRenamed = true;
    };
    chain.foldTo(at(7), [0]).catch(() => {/* it dies before it ends */});
    await world.until(() => isRenamed);
    world.crash("process");
    assertEquals((await load(world)).chain.endLsn, at(7));
    world.crash("power");
    assertEquals((await load(world)).chain.endLsn, at(7));
  }
});

Deno.test("the folder of the maps is durable even if its maker died before it flushed its name", async () => {
  for (let seed = 1; seed <= 8; seed++) {
    const world = new LogWorld(seed);
    world.disk.makeFolder(FOLDER);
    world.crash("process");
    const { chain, at } = makeChain(world);
    await world.settle(chain.foldTo(at(2), [0]));
    world.crash("power");
    assert(!(await load(world)).chain.isEmpty);
  }
});

Deno.test("spans that nobody stands at the beginning of are united", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at } = made;
  for (let record = 3; record < 19; record++) {
    await world.settle(chain.foldTo(at(record), [at(1), at(record - 1)]));
  }
  assert(files(world).length <= 9, `${files(world).length} files`);
  assertEquals(lackedAt(made, 1), from(1, 18));
  assertEquals(lackedAt(made, 17), [17]);
  world.crash("power");
  assertEquals(lackedAt(await load(world), 1), from(1, 18));
});

Deno.test("two spans that were being united when the power failed are still right", async () => {
  let died = 0;
  for (let seed = 1; seed <= 20; seed++) {
    const world = new LogWorld(seed);
    const { chain, at } = makeChain(world);
    const taken = from(1, 12).map(at);
    await world.settle(chain.foldTo(at(14), taken));
    world.dieAfter(seed);
    await world.settle(chain.trim([at(1), at(11)])).catch(() => died++);
    world.crash(seed % 2 === 0 ? "power" : "process");
    const found = await load(world, 13);
    assertEquals(lackedAt(found, 1), from(1, 14), `seed ${seed}`);
    const lacked = lackedAt(found, 11) ?? [];
    assertEquals(from(11, 14).filter((i) => !lacked.includes(i)), [], `seed ${seed}`);
  }
  assert(died > 10, `it died ${died} times`);
});

Deno.test("a fold that the disk had no room for is done again, and no log goes before", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at } = made;
  await world.settle(chain.foldTo(at(4), [0]));
  const rename = world.disk.rename.bind(world.disk);
  world.disk.rename = () => {
    throw new CascadeError("disk-full", "no room");
  };
  const failure = await world.settle(chain.foldTo(at(9), [0, at(6)]).catch((error) => error));
  assert(failure instanceof CascadeError);
  assertEquals([chain.endLsn, chain.heldLsn], [at(4), Infinity]);
  world.disk.rename = rename;
  await world.settle(chain.foldTo(at(9), [0, at(6)]));
  assertEquals([lackedAt(made, 0), lackedAt(made, 6)], [from(0, 9), from(6, 9)]);
});

Deno.test("a chain that was removed, and came back when the log had gone on, is of no use", async () => {
  const world = new LogWorld(1);
  const { chain, at } = makeChain(world);
  await world.settle(chain.foldTo(at(2), [0]));
  world.crash("process");
  const found = await load(world, 5);
  assert(found.chain.isEmpty);
  await world.settle(found.chain.foldTo(at(9), [at(6)]));
  assertEquals([lackedAt(found, 0), lackedAt(found, 6)], [null, from(6, 9)]);
});

Deno.test("a chain that the log went on without is begun anew", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at, ground } = made;
  await world.settle(chain.foldTo(at(2), [0]));
  // All had it, and before the chain was trimmed one of them was given new disks.
  ground.startLsn = at(5);
  assertEquals(lackedAt(made, 0), null);
  await world.settle(chain.foldTo(at(9), [0, at(6)]));
  assertEquals([lackedAt(made, 0), lackedAt(made, 5)], [null, from(5, 9)]);
});

Deno.test("a damaged map is told and forgotten with all before it, but not while blocks come in place", async () => {
  const world = new LogWorld(1);
  const { chain, at } = makeChain(world);
  await world.settle(chain.foldTo(at(9), [at(1), at(4), at(7)]));
  world.host.flip(`${FOLDER}/${at(4)}.map`, 9, 4);
  let isRefused = false;
  await world.settle(makeChain(world).chain.load(true)).catch(() => isRefused = true);
  assert(isRefused);
  const found = await load(world, 8);
  assertEquals([1, 4, 7].map((record) => lackedAt(found, record)), [null, null, from(7, 9)]);
  assertEquals(found.journal.lines.length, 1);
  assertEquals(files(world), [`${at(7)}.map`]);
});

Deno.test("a map that is damaged while the node runs is told when it is wanted", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at, journal } = made;
  await world.settle(chain.foldTo(at(9), [at(1), at(4)]));
  world.host.flip(`${FOLDER}/${at(1)}.map`, 60, 4);
  assertEquals([lackedAt(made, 1), lackedAt(made, 4)], [null, from(4, 9)]);
  assertEquals([journal.lines.length, chain.since(at(1))], [1, null]);
});

Deno.test("what the chain is made from stays while it is read, however far the nodes are by then", async () => {
  const world = new LogWorld(1);
  const { chain, at } = makeChain(world);
  const folding = chain.foldTo(at(9), [at(4)]);
  assertEquals(chain.heldLsn, at(4));
  await world.settle(folding);
  assertEquals([chain.heldLsn, chain.neededFrom(at(4))], [Infinity, at(9)]);
});

Deno.test("blocks that come in place are in the chain, for those too who had all until then", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at } = made;
  await world.settle(chain.foldTo(at(3), [at(1)]));
  await world.settle(chain.begin(at(5), [at(1), at(5)]));
  const blocks = new BlockSet(SIZES);
  blocks.add(0, 8192 * 19, 4096);
  chain.addAll(blocks);
  await world.settle(chain.save(at(9)));
  world.crash("power");
  const found = await load(world, 8);
  assertEquals([lackedAt(found, 1), lackedAt(found, 5)], [[...from(1, 5), 19], [19]]);
  assertEquals(found.chain.endLsn, at(9));
});

Deno.test("a node that tells of an LSN where nothing begins is given more, and nobody less", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at, ground } = made;
  Object.assign(ground.log, { beginsRecord: (lsn: number) => lsn !== at(4) + 8 });
  await world.settle(chain.foldTo(at(9), [at(2), at(4) + 8]));
  assertEquals(lackedAt(made, 2), from(2, 9));
  assertEquals([...chain.since(at(4) + 8)?.blocks()?.extents() ?? []].length, 7);
});

Deno.test("a chain begins behind what nobody knows, and that log is asked for no more", async () => {
  const world = new LogWorld(1);
  const made = makeChain(world);
  const { chain, at, ground } = made;
  ground.gap = { fromLsn: at(2), toLsn: at(8) };
  await world.settle(chain.foldTo(at(5), [0]));
  assertEquals([chain.neededFrom(0), lackedAt(made, 1)], [at(8), null]);
  await world.settle(chain.foldTo(at(12), [0]));
  assertEquals(lackedAt(made, 8), from(8, 12));
  world.crash("power");
  assertEquals((await load(world)).chain.endLsn, at(12));
});
