import { assert, assertEquals } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { Command, ErrorNumber } from "../../../core/nbd/constants.ts";
import { EXTENTS_MAX, REPLY_BYTES, WAITING_MAX } from "../../../core/nbd/nbd_limits.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { Bench } from "./machine_bench.ts";
import { filled, join, request } from "./wire.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

Deno.test("a client that does not read its replies stops the taking of requests", () => {
  const bench = new Bench(new MemoryBackend(MIB), { largeBlocks: 0 });
  const reads = Array.from({ length: 1000 }, (_, index) => ({
    command: Command.READ,
    handle: BigInt(index),
    offset: 0,
    length: 4096,
  }));
  for (const each of reads) bench.parser.expect(each);
  const bytes = join(...reads.map(request));
  bench.input.space(28).set(bytes);
  bench.input.received(bytes.length);
  assertEquals(bench.machine.advance(bench.input), "room");
  const gathered = bench.replies.length;
  assert(gathered <= REPLY_BYTES);
  assertEquals(bench.machine.advance(bench.input), "room");
  assertEquals(bench.replies.length, gathered);
  assertEquals(bench.drain().length + bench.run().length, reads.length);
});

Deno.test("small replies that find no room stop the taking of requests", () => {
  const bench = new Bench(new MemoryBackend(4096), { structured: true });
  const count = 9000;
  const asks = Array.from(
    { length: count },
    (_, index) => request({ command: index % 2 === 0 ? Command.CACHE : 99, handle: BigInt(index) }),
  );
  assertEquals(bench.push(join(...asks)), "room");
  const replies = [...bench.drain(), ...bench.run()];
  assertEquals(replies.map((reply) => Number(reply.handle)), asks.map((_, index) => index));
});

Deno.test("a refused write whose reply finds no more room waits for it", () => {
  const bench = new Bench(new MemoryBackend(4096), { structured: true });
  const { front } = bench.backend;
  front.autoAcknowledge = false;
  const waiting = 1000;
  const write = request({ command: Command.WRITE, payload: filled(1) });
  bench.push(join(...new Array(waiting).fill(write)));
  bench.fillReplies(waiting * 16 + 240);
  const refused = request({ command: Command.WRITE, handle: 7n, offset: 5000, payload: filled(9) });
  assertEquals(bench.push(refused.subarray(0, 30)), "input");
  front.acknowledgedLsn = waiting;
  bench.machine.settle();
  assertEquals(bench.replies.room, 240);
  assertEquals(bench.push(refused.subarray(30)), "room");
  bench.drain();
  assertEquals(bench.run().map((reply) => [reply.handle, reply.error]), [[7n, ErrorNumber.ENOSPC]]);
});

Deno.test("a BLOCK_STATUS waits for room for all that it may tell", () => {
  const pages = 2 * EXTENTS_MAX;
  const bench = new Bench(new MemoryBackend(pages * 4096), { structured: true, blockStatus: true });
  for (let page = 0; page < pages; page += 2) bench.backend.write(filled(1), page * 4096);
  bench.backend.front.commit();
  bench.fillReplies(8 * EXTENTS_MAX);
  const status = { command: Command.BLOCK_STATUS, handle: 7n, length: pages * 4096 };
  assertEquals(bench.push(request(status)), "room");
  bench.drain();
  const [reply] = bench.run();
  assertEquals(reply?.extents.length, EXTENTS_MAX);
});

Deno.test("what was refused stays refused, although its answer must wait for room", () => {
  for (const lostBy of ["peer", "commit"]) {
    const bench = new Bench(new MemoryBackend(4096));
    const { front } = bench.backend;
    front.autoAcknowledge = false;
    const write = { command: Command.WRITE, handle: 1n, payload: filled(1) };
    bench.fillReplies(256);
    if (lostBy === "commit") front.commitError = new CascadeError("disk-full", "no room");
    bench.push(join(...new Array(40).fill(request(write))));
    if (lostBy === "peer") bench.machine.refuse("sync-peer-lost");
    assertEquals(bench.replies.room, 0);
    front.autoAcknowledge = true;
    front.progress(100);
    bench.machine.settle();
    const replies = [...bench.drain(), ...bench.ask({ ...write, handle: 2n })];
    const count = (handle: bigint, isError: boolean) =>
      replies.filter((reply) => reply.handle === handle && reply.error !== 0 === isError).length;
    assertEquals([count(1n, true), count(1n, false)], [40, 0]);
    assertEquals([count(2n, true), count(2n, false)], [0, 1]);
  }
});

Deno.test("requests that wait have a bounded number of places", () => {
  const bench = new Bench(new MemoryBackend(4096));
  bench.backend.front.autoAcknowledge = false;
  const writes = Array.from(
    { length: WAITING_MAX + 10 },
    (_, index) => request({ command: Command.WRITE, handle: BigInt(index), payload: filled(1) }),
  );
  assertEquals(bench.feed(join(...writes)), []);
  assertEquals(bench.lack, "places");
  assertEquals(bench.backend.front.committedLsn, WAITING_MAX);
  bench.backend.front.acknowledgedLsn = 1000;
  bench.machine.settle();
  assertEquals(bench.drain().length, 1000);
  bench.run();
  assertEquals(bench.lack, "input");
  assertEquals(bench.backend.front.committedLsn, WAITING_MAX + 10);
  // All of them refused at once still fit the buffer, in turns.
  bench.machine.refuse("failed");
  let refused = 0;
  while (!bench.machine.idle) {
    refused += bench.drain().length;
    bench.machine.settle();
  }
  refused += bench.drain().length;
  assertEquals(refused, WAITING_MAX + 10 - 1000);
});
