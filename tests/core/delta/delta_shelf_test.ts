import { assertEquals } from "@std/assert";
import { DeltaShelf } from "../../../core/delta/delta_shelf.ts";
import { LogWorld } from "../log/world.ts";
import { makeBody, makeDeltaHeader, makeDeltaTrailer } from "./made_up_delta.ts";

Deno.test("volumes take deltas in the order in which they came, peers the one that leads furthest", async () => {
  const world = new LogWorld();
  const shelf = await world.settle(DeltaShelf.open(world.disk, "/log/delta", world.clock));
  const body = makeBody([{ volume: 0, offset: 0, length: 512, fill: 1 }]);
  // The second was made for a node that stood at 50, and came when this one stood at 200.
  for (const [i, [fromLsn, toLsn]] of ([[100, 200], [50, 300]] as const).entries()) {
    const header = { ...makeDeltaHeader(), id: String(i).repeat(32), fromLsn, toLsn };
    const incoming = shelf.begin(header);
    incoming.append(body.bytes);
    const trailer = makeDeltaTrailer(body.bytes.length, { id: header.id, toLsn });
    await world.settle(shelf.commit(trailer));
  }
  const to = (lsn: number) => [shelf.following(lsn)?.toLsn, shelf.covering(lsn)?.toLsn];
  assertEquals(to(100), [200, 300]);
  assertEquals(to(200), [300, 300]);
  assertEquals(to(60), [300, 300]);
  assertEquals(to(300), [undefined, undefined]);
});

Deno.test("what a kept delta counts is what is there, whatever its sender counted", async () => {
  const world = new LogWorld();
  const shelf = await world.settle(DeltaShelf.open(world.disk, "/log/delta", world.clock));
  const body = makeBody([{ volume: 0, offset: 0, length: 512, fill: 1 }]);
  const incoming = shelf.begin(makeDeltaHeader());
  incoming.append(body.bytes);
  const sentTwice = { records: 2, payloadBytes: 1024 };
  const { trailer } = await world.settle(
    shelf.commit(makeDeltaTrailer(body.bytes.length, sentTwice)),
  );
  assertEquals([trailer.records, trailer.payloadBytes], [1, 512]);
});
