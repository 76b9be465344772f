/** A crash, or a failed flush, at every step of receiving and committing a delta. */
import { assertEquals } from "@std/assert";
import { assert } from "../../../core/assert.ts";
import { DeltaShelf } from "../../../core/delta/delta_shelf.ts";
import { CascadeError, isCascadeError } from "../../../core/errors.ts";
import type { CrashKind } from "../../sim/life.ts";
import { LogWorld } from "../log/world.ts";
import { type MadeUpRun, makeBody, makeDeltaHeader, makeDeltaTrailer } from "./made_up_delta.ts";

const FOLDER = "/log/delta";
const RUNS: MadeUpRun[] = Array.from({ length: 12 }, (_, i) => ({
  volume: 0,
  offset: i * 20_000,
  length: i % 3 === 0 ? 3000 : 9000,
  fill: i % 5 === 4 ? null : i + 1,
}));
const BODY = makeBody(RUNS);

/** How far a try came. */
interface Progress {
  /** Durable in what is being received. */
  durable: number;
  isCommitted: boolean;
}

/** Receives what is missing, with a flush now and then, and commits. */
async function receive(world: LogWorld, shelf: DeltaShelf, progress: Progress): Promise<void> {
  const incoming = shelf.incoming ?? shelf.begin(makeDeltaHeader());
  for (const [index, start] of BODY.starts.slice(0, -1).entries()) {
    if (start < incoming.position) continue;
    incoming.append(BODY.bytes.subarray(start, BODY.starts[index + 1]));
    if (index % 4 !== 3) continue;
    const { position } = incoming;
    await world.settle(incoming.flush());
    progress.durable = position;
  }
  await world.settle(shelf.commit(makeDeltaTrailer(BODY.bytes.length)));
  progress.isCommitted = true;
}

function open(world: LogWorld): Promise<DeltaShelf> {
  return world.settle(DeltaShelf.open(world.disk, FOLDER, world.clock));
}

/** What is here is a beginning of the body, or all of it, committed. */
function judge(shelf: DeltaShelf, progress: Progress): void {
  const [delta, ...others] = shelf.deltas;
  assertEquals(others.length, 0);
  if (delta !== undefined) {
    assertEquals(delta.bodyBytes, BODY.bytes.length);
    const found = new Uint8Array(BODY.bytes.length + 2 * 1024 * 1024);
    assertEquals(delta.read(0, found), BODY.bytes.length);
    assertEquals(found.subarray(0, BODY.bytes.length), BODY.bytes);
    assertEquals(shelf.incoming, null);
    return;
  }
  assert(!progress.isCommitted, "what was committed is there");
  const position = shelf.incoming?.position ?? 0;
  assert(position >= progress.durable, "what was flushed is there");
  assert(BODY.starts.includes(position), "whole records are there");
}

/** Goes on after a crash, to the end, and loses power there; the delta must be there in full. */
async function finish(world: LogWorld): Promise<void> {
  let shelf = await open(world);
  if (shelf.deltas.length === 0) {
    await receive(world, shelf, { durable: 0, isCommitted: false });
  }
  world.crash("power");
  shelf = await open(world);
  judge(shelf, { durable: 0, isCommitted: true });
  assertEquals(shelf.deltas.length, 1);
}

async function crashIn(kind: CrashKind, operations: number, seed: number): Promise<boolean> {
  const world = new LogWorld(seed);
  const progress = { durable: 0, isCommitted: false };
  const shelf = await open(world);
  world.dieAfter(operations);
  try {
    await receive(world, shelf, progress);
  } catch (error) {
    if (world.life.alive) throw error;
  }
  const isOver = world.life.alive;
  world.crash(kind);
  judge(await open(world), progress);
  world.crash("process");
  await finish(world);
  return isOver;
}

for (const kind of ["process", "power"] as const) {
  Deno.test(`a delta is being received still, or committed, after any crash (${kind})`, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      let operations = 1;
      while (!await crashIn(kind, operations, seed)) operations++;
      assert(operations > 15, "receiving has many steps, and each was met");
    }
  });
}

for (const phantom of [true, false]) {
  const what = phantom ? "shows what is not on the disk" : "forgets it";
  Deno.test(`after any flush that failed, where the cache ${what}, a delta is made whole`, async () => {
    let failures = 0;
    for (let seed = 1; seed <= 10; seed++) {
      for (let flushes = 1; flushes <= 9; flushes++) {
        const world = new LogWorld(seed);
        const progress = { durable: 0, isCommitted: false };
        const shelf = await open(world);
        Object.assign(world.host.conditions, { phantom, flushesToFailure: flushes });
        try {
          await receive(world, shelf, progress);
        } catch (error) {
          if (!isCascadeError(error, "disk-failed")) throw error;
          failures++;
        }
        world.host.conditions.flushesToFailure = 0;
        world.crash("process");
        await finish(world);
      }
    }
    assert(failures >= 50, "flushes failed");
  });
}

Deno.test("a delta that there is no room to write again comes anew", async () => {
  const world = new LogWorld(1);
  const shelf = await open(world);
  const incoming = shelf.begin(makeDeltaHeader());
  incoming.append(BODY.bytes);
  world.crash("process");
  const { disk } = world;
  const openFile = disk.open.bind(disk);
  disk.open = (path, options) => {
    const file = openFile(path, options);
    file.writeAt = () => {
      throw new CascadeError("disk-full", "there is no room left");
    };
    return file;
  };
  const found = await open(world);
  assertEquals([found.incoming, disk.exists(`${FOLDER}/incoming`)], [null, false]);
});
