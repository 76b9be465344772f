import { assert, assertEquals } from "@std/assert";
import { Chunk, Command, CommandFlag, ErrorNumber } from "../../../core/nbd/constants.ts";
import { PIECE_BYTES_MAX, REPLY_BYTES } from "../../../core/nbd/nbd_limits.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { Bench } from "./machine_bench.ts";
import { filled, join, request } from "./wire.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

Deno.test("large reads are produced in pieces, with a large buffer and without", () => {
  const size = 5 * MIB + 123;
  for (const largeBlocks of [2, 0]) {
    for (const structured of [false, true]) {
      const bench = new Bench(new MemoryBackend(size + 10), { largeBlocks, structured });
      bench.backend.bytes.set(filled(size + 10));
      bench.backend.calls = [];
      const [reply] = bench.ask({ command: Command.READ, handle: 3n, offset: 10, length: size });
      assertEquals(reply?.data, filled(size + 10).subarray(10));
      const lengths = bench.backend.calls.map((call) => Number(call.split(" ")[2]));
      assert(Math.max(...lengths) <= (largeBlocks === 0 ? REPLY_BYTES : PIECE_BYTES_MAX));
      assertEquals(bench.pool.lent, 0);
    }
  }
});

Deno.test("zeroes are sent as holes where replies are structured and may be cut", () => {
  const bench = new Bench(new MemoryBackend(4 * MIB), { structured: true });
  bench.backend.bytes[MIB + 5] = 1;
  const read = { command: Command.READ, handle: 1n, length: 3 * MIB };
  const [cut] = bench.ask(read);
  assertEquals(cut?.chunks, [Chunk.OFFSET_HOLE, Chunk.OFFSET_DATA, Chunk.OFFSET_HOLE]);
  assertEquals(cut?.data, bench.backend.bytes.subarray(0, 3 * MIB));
  const [whole] = bench.ask({ ...read, flags: CommandFlag.DF });
  assertEquals(whole?.chunks, [Chunk.OFFSET_DATA, Chunk.NONE]);
  assertEquals(whole?.data, bench.backend.bytes.subarray(0, 3 * MIB));
  for (const at of [0, 1, 2, 3, 4, 5, 16_000, 32_766, 32_767]) {
    for (const offset of [0, 1, 2, 3]) {
      bench.backend.bytes.fill(0);
      bench.backend.bytes[offset + at] = 0x80;
      const [reply] = bench.ask({ command: Command.READ, handle: 1n, offset, length: 32_768 });
      assertEquals(reply?.chunks, [Chunk.OFFSET_DATA], `a one at ${at}`);
    }
  }
});

Deno.test("a read that fails at once is an error; midway it breaks a simple stream", () => {
  const simple = new Bench(new MemoryBackend(4 * MIB));
  simple.backend.badOffset = 100;
  assertEquals(simple.errorOf({ command: Command.READ, length: 200 }), ErrorNumber.EIO);
  assertEquals(simple.errorOf({ command: Command.READ, offset: 101, length: 200 }), 0);
  simple.backend.badOffset = 2 * MIB;
  assertEquals(simple.ask({ command: Command.READ, length: 4 * MIB }), []);
  assertEquals(simple.machine.phase, "broken");
});

Deno.test("a structured read that fails midway ends in an error chunk, and the session goes on", () => {
  for (const flags of [0, CommandFlag.DF]) {
    const bench = new Bench(new MemoryBackend(4 * MIB), { structured: true });
    bench.backend.bytes.fill(7);
    bench.backend.badOffset = 2 * MIB;
    const [reply] = bench.ask({ command: Command.READ, flags, handle: 1n, length: 4 * MIB });
    assertEquals(reply?.error, ErrorNumber.EIO);
    assertEquals(reply?.message, "input/output error");
    const data = Chunk.OFFSET_DATA;
    assertEquals(reply?.chunks, flags === 0 ? [data, data, Chunk.ERROR] : [data, Chunk.ERROR]);
    if (flags !== 0) {
      assertEquals(reply?.data?.subarray(2 * MIB), new Uint8Array(2 * MIB), "padded with zeroes");
    }
    const [empty] = bench.ask({ command: Command.READ, flags, handle: 2n, offset: 9, length: 0 });
    assertEquals(empty?.chunks, [Chunk.NONE]);
  }
});

Deno.test("the data of a READ is not interrupted by other replies", () => {
  const bench = new Bench(new MemoryBackend(MIB), { largeBlocks: 0 });
  const { front } = bench.backend;
  front.autoAcknowledge = false;
  bench.backend.bytes.set(filled(MIB));
  const read = { command: Command.READ, handle: 2n, length: MIB };
  bench.parser.expect(read);
  const write = { command: Command.WRITE, handle: 1n, payload: filled(1) };
  assertEquals(bench.push(join(request(write), request(read))), "room");
  bench.parser.push(bench.replies.take());
  front.acknowledgedLsn = 1;
  bench.machine.settle();
  assertEquals(bench.replies.length, 0);
  bench.replies.sent();
  const [data, written] = bench.run();
  assertEquals(data?.data, filled(MIB));
  assertEquals(written?.handle, 1n);
});

Deno.test("an unfragmented READ that ends where the buffer does waits to say so", () => {
  const first = REPLY_BYTES - 4096;
  const length = first + REPLY_BYTES;
  const bench = new Bench(new MemoryBackend(MIB), { structured: true, largeBlocks: 0 });
  const [reply] = bench.ask({ command: Command.READ, flags: CommandFlag.DF, length });
  assertEquals(reply?.chunks, [Chunk.OFFSET_DATA, Chunk.NONE]);
  assertEquals(reply?.data, new Uint8Array(length));
  assertEquals(bench.backend.calls, null);
});
