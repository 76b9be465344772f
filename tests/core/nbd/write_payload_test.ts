import { assert, assertEquals } from "@std/assert";
import { Command, ErrorNumber } from "../../../core/nbd/constants.ts";
import { PIECE_BYTES_MAX } from "../../../core/nbd/nbd_limits.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { Bench } from "./machine_bench.ts";
import { DISC, filled, join, request } from "./wire.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

Deno.test("a refused write takes its payload with it, in whatever pieces it comes", () => {
  const bench = new Bench(new MemoryBackend(4096));
  // The payload looks like requests.
  const payload = join(...new Array(1000).fill(DISC));
  const bytes = join(
    request({ command: Command.WRITE, handle: 1n, offset: 4096, payload }),
    request({ command: Command.FLUSH, handle: 2n }),
  );
  for (const count of [Infinity, 1000, 28, 27]) {
    const replies = bench.feed(bytes, count);
    assertEquals(replies.map((reply) => [reply.handle, reply.error]), [
      [1n, ErrorNumber.ENOSPC],
      [2n, 0],
    ]);
  }
  assertEquals(bench.machine.phase, "requests");
});

Deno.test("large writes reach the back end in pieces, with a large buffer and without", () => {
  const size = 3 * MIB + 4 * KIB;
  for (const largeBlocks of [1, 0]) {
    for (const count of [Infinity, 100_000, 4096]) {
      const bench = new Bench(new MemoryBackend(size + 100), { largeBlocks });
      bench.backend.calls = [];
      const payload = filled(size);
      const replies = bench.feed(
        join(
          request({ command: Command.WRITE, handle: 1n, offset: 77, payload }),
          request({ command: Command.FLUSH, handle: 2n }),
        ),
        count,
      );
      assertEquals(replies.map((reply) => [reply.handle, reply.error]), [[1n, 0], [2n, 0]]);
      assertEquals(bench.backend.bytes.subarray(77, 77 + size), payload);
      const lengths = bench.backend.calls.map((call) => Number(call.split(" ")[2]));
      assert(Math.max(...lengths) <= PIECE_BYTES_MAX);
      if (largeBlocks === 1) assertEquals(lengths, [MIB, MIB, MIB, 4 * KIB]);
      else {
        const offsets = bench.backend.calls.map((call) => Number(call.split(" ")[1]));
        assert(offsets.slice(1).every((offset) => offset % 4096 === 0), "cut at pages");
      }
      bench.input.space(28);
      assertEquals(bench.pool.lent, 0, "what was lent came back");
    }
  }
});

Deno.test("a large write that is refused midway is answered with an error, once, at its end", () => {
  const bench = new Bench(new MemoryBackend(4 * MIB));
  const bytes = request({ command: Command.WRITE, handle: 1n, payload: filled(4 * MIB) });
  const cut = 2 * MIB;
  assertEquals(bench.feed(bytes.subarray(0, cut)), []);
  bench.machine.refuse("sync-peer-lost");
  assertEquals(bench.drain(), []);
  const replies = bench.feed(join(bytes.subarray(cut), request({ command: 3, handle: 2n })));
  assertEquals(replies.map((reply) => [reply.handle, reply.error]), [
    [1n, ErrorNumber.EIO],
    [2n, 0],
  ]);
});

Deno.test("a node that begins to stop in the middle of a large write fails that write alone", () => {
  const bench = new Bench(new MemoryBackend(4 * MIB));
  bench.backend.front.autoAcknowledge = false;
  const bytes = join(
    request({ command: Command.WRITE, handle: 1n, payload: filled(1) }),
    request({ command: Command.WRITE, handle: 2n, payload: filled(4 * MIB) }),
  );
  bench.feed(bytes.subarray(0, 2 * MIB));
  bench.backend.refusal = "stopping";
  const replies = bench.feed(bytes.subarray(2 * MIB));
  assertEquals(replies.map((reply) => [reply.handle, reply.error]), [[2n, ErrorNumber.ESHUTDOWN]]);
  bench.backend.front.acknowledgedLsn = 1;
  bench.machine.settle();
  assertEquals(bench.drain().map((reply) => [reply.handle, reply.error]), [[1n, 0]]);
});
