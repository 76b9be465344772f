import { assertEquals } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import type { Refusal } from "../../../core/nbd/backend.ts";
import { Chunk, Command, CommandFlag, ErrorNumber } from "../../../core/nbd/constants.ts";
import { MemoryBackend } from "./memory_backend.ts";
import { Bench } from "./machine_bench.ts";
import { DISC, filled, join, request, u32 } from "./wire.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

Deno.test("a write is answered with its handle and can be read back, at any alignment", () => {
  for (const structured of [false, true]) {
    const bench = new Bench(new MemoryBackend(64 * KIB), { structured });
    const handle = 0xfedcba9876543210n;
    const payload = filled(4097);
    const written = bench.ask({ command: Command.WRITE, handle, offset: 4095, payload });
    assertEquals(written.map((reply) => [reply.handle, reply.error]), [[handle, 0]]);
    const [read] = bench.ask({ command: Command.READ, handle, offset: 4090, length: 4110 });
    assertEquals(read?.data, join(new Uint8Array(5), payload, new Uint8Array(8)));
    assertEquals(read?.chunks, structured ? [Chunk.OFFSET_DATA] : []);
  }
});

Deno.test("the exact bytes of a simple and of a structured reply", () => {
  const ask = request({ command: Command.READ, handle: 0x0102030405060708n, offset: 6, length: 2 });
  const handle = new Uint8Array([1, 2, 3, 4, 5, 6, 7, 8]);
  const said = (structured: boolean) => {
    const bench = new Bench(new MemoryBackend(8), { structured });
    bench.backend.bytes.set([7, 9], 6);
    bench.input.space(28).set(ask);
    bench.input.received(ask.length);
    bench.machine.advance(bench.input);
    return bench.replies.take();
  };
  assertEquals(said(false), join(u32(0x67446698), u32(0), handle, new Uint8Array([7, 9])));
  assertEquals(
    said(true),
    join(u32(0x668e33ef), u32(0x00010001), handle, u32(10), u32(0), u32(6), new Uint8Array([7, 9])),
  );
});

Deno.test("TRIM and WRITE_ZEROES reach the back end as what they are", () => {
  const bench = new Bench(new MemoryBackend(64 * KIB));
  bench.backend.calls = [];
  bench.ask(
    { command: Command.TRIM, offset: 1, length: 2 },
    { command: Command.WRITE_ZEROES, offset: 3, length: 4 },
    { command: Command.WRITE_ZEROES, flags: CommandFlag.NO_HOLE, offset: 5, length: 6 },
    { command: Command.WRITE_ZEROES, flags: CommandFlag.FAST_ZERO, offset: 0, length: 64 * KIB },
    { command: Command.CACHE, offset: 0, length: 100 },
    { command: Command.WRITE, offset: 9, payload: new Uint8Array(0) },
  );
  assertEquals(bench.backend.calls, [
    "trim 1 2",
    "zero 3 4 true",
    "zero 5 6 false",
    `zero 0 ${64 * KIB} true`,
  ]);
});

Deno.test("each request with FUA is counted once, whatever it is cut into", () => {
  const bench = new Bench(new MemoryBackend(4 * MIB));
  bench.ask(
    { command: Command.WRITE, flags: CommandFlag.FUA, payload: filled(3 * MIB) },
    { command: Command.WRITE, payload: filled(512) },
    { command: Command.WRITE_ZEROES, flags: CommandFlag.FUA, length: 512 },
    { command: Command.TRIM, flags: CommandFlag.FUA, length: 512 },
    { command: Command.FLUSH },
  );
  assertEquals(bench.backend.front.fuaWrites, 3);
});

Deno.test("a batch is one commit, and all its replies are one output", () => {
  const bench = new Bench(new MemoryBackend(64 * KIB));
  const writes = Array.from({ length: 16 }, (_, index) => ({
    command: Command.WRITE,
    handle: BigInt(index),
    offset: index * 4096,
    payload: filled(4096, index),
  }));
  // More than one batch's worth of receive buffer would be two.
  const bytes = join(...writes.map(request));
  bench.input.space(28).set(bytes);
  bench.input.received(bytes.length);
  bench.machine.advance(bench.input);
  assertEquals(bench.replies.length, 0, "nothing is answered before the commit");
  bench.machine.commit();
  assertEquals(bench.backend.front.commits, 1);
  assertEquals(bench.drain().map((reply) => reply.handle), writes.map((write) => write.handle));
});

Deno.test("a read behind a write of the same batch sees it, and it is committed before", () => {
  const bench = new Bench(new MemoryBackend(4096));
  const replies = bench.ask(
    { command: Command.WRITE, handle: 1n, payload: filled(10) },
    { command: Command.READ, handle: 2n, length: 10 },
  );
  assertEquals(replies.find((reply) => reply.handle === 2n)?.data, filled(10));
  assertEquals(bench.backend.front.commits, 1);
});

Deno.test("writes wait for the acknowledged position, FLUSH and FUA for the flushed one", () => {
  const bench = new Bench(new MemoryBackend(4096));
  const { front } = bench.backend;
  front.autoAcknowledge = front.autoFlush = false;
  const payload = filled(8);
  const replies = bench.ask(
    { command: Command.WRITE, handle: 1n, payload },
    { command: Command.WRITE, handle: 2n, flags: CommandFlag.FUA, payload },
    { command: Command.WRITE, handle: 3n, payload },
    { command: Command.FLUSH, handle: 4n },
    { command: Command.TRIM, handle: 5n, flags: CommandFlag.FUA, length: 4 },
    { command: Command.WRITE_ZEROES, handle: 6n, length: 4 },
  );
  assertEquals(replies, []);
  assertEquals(bench.machine.idle, false);
  assertEquals(front.flushRequests, 1, "one for the whole batch");
  const after = (acknowledged: number, flushed: number) => {
    front.acknowledgedLsn = acknowledged;
    front.flushedLsn = flushed;
    bench.machine.settle();
    return bench.drain().map((reply) => Number(reply.handle));
  };
  assertEquals(after(1, 0), [1]);
  assertEquals(after(2, 1), []);
  assertEquals(after(3, 2), [3, 2]);
  assertEquals(after(3, 3), [4]);
  assertEquals(after(5, 4), [6, 5]);
  assertEquals(bench.machine.idle, true);
});

Deno.test("a flush with nothing to flush is answered at once", () => {
  const bench = new Bench(new MemoryBackend(4096));
  assertEquals(bench.errorOf({ command: Command.FLUSH }), 0);
  assertEquals(bench.backend.front.flushRequests, 0);
});

Deno.test("a flush of a read-only export has nothing to wait for", () => {
  const bench = new Bench(new MemoryBackend(4096, { readOnly: true }));
  const { front } = bench.backend;
  front.autoFlush = false;
  front.stage();
  assertEquals(bench.errorOf({ command: Command.FLUSH }), 0);
});

Deno.test("each refusal has its error, for writes; reads go on; a full disk still flushes", () => {
  const { ESHUTDOWN, EIO, ENOSPC, EPERM } = ErrorNumber;
  const cases: [Refusal, number, number][] = [
    ["stopping", ESHUTDOWN, ESHUTDOWN],
    ["sync-peer-lost", EIO, EIO],
    ["disk-full", ENOSPC, 0],
    ["failed", EIO, EIO],
    ["not-primary", EPERM, EPERM],
  ];
  const bench = new Bench(new MemoryBackend(4096));
  for (const [refusal, error, flushError] of cases) {
    bench.backend.refusal = refusal;
    assertEquals(bench.errorOf({ command: Command.WRITE, payload: filled(1) }), error, refusal);
    assertEquals(bench.errorOf({ command: Command.TRIM, length: 1 }), error, refusal);
    assertEquals(bench.errorOf({ command: Command.WRITE_ZEROES, length: 1 }), error, refusal);
    assertEquals(bench.errorOf({ command: Command.FLUSH }), flushError, refusal);
    assertEquals(bench.errorOf({ command: Command.READ, length: 1 }), 0, refusal);
  }
  assertEquals(bench.backend.bytes[0], 0);
});

Deno.test("what waits is answered with an error when the front refuses it, and later work goes on", () => {
  const bench = new Bench(new MemoryBackend(4096));
  const { front } = bench.backend;
  front.autoAcknowledge = front.autoFlush = false;
  bench.ask(
    { command: Command.WRITE, handle: 1n, payload: filled(1) },
    { command: Command.FLUSH, handle: 2n },
  );
  bench.machine.refuse("sync-peer-lost");
  assertEquals(bench.drain().map((reply) => [reply.handle, reply.error]), [
    [1n, ErrorNumber.EIO],
    [2n, ErrorNumber.EIO],
  ]);
  front.autoAcknowledge = true;
  assertEquals(bench.errorOf({ command: Command.WRITE, handle: 3n, payload: filled(1) }), 0);
});

Deno.test("a failed commit fails all that waits, so that no lost write is ever acknowledged", () => {
  const bench = new Bench(new MemoryBackend(4096));
  const { front } = bench.backend;
  const failed = new CascadeError("disk-failed", "the log is gone");
  const write = (handle: bigint) => ({ command: Command.WRITE, handle, payload: filled(1) });
  for (
    const rest of [
      [],
      [{ command: Command.READ, handle: 9n, length: 1 }],
      [{ command: Command.FLUSH, handle: 9n }],
    ]
  ) {
    front.commitError = failed;
    const replies = bench.ask(write(1n), write(2n), ...rest);
    const lost = replies.filter((reply) => reply.handle !== 9n);
    assertEquals(lost.map((reply) => reply.error), [ErrorNumber.EIO, ErrorNumber.EIO]);
    // The same positions are given out again, and this time they count.
    assertEquals(bench.errorOf(write(3n)), 0);
  }
});

Deno.test("a write that throws is answered with its error, and so is all that waits with it", () => {
  const bench = new Bench(new MemoryBackend(4096));
  bench.backend.front.autoAcknowledge = false;
  bench.ask({ command: Command.WRITE, handle: 1n, payload: filled(1) });
  bench.backend.writeError = new CascadeError("disk-full", "no room");
  const replies = bench.ask({ command: Command.WRITE, handle: 2n, payload: filled(1) });
  assertEquals(new Set(replies.map((reply) => reply.error)), new Set([ErrorNumber.ENOSPC]));
  assertEquals(replies.length, 2);
  bench.backend.writeError = new CascadeError("disk-failed", "a bad disk");
  assertEquals(bench.errorOf({ command: Command.TRIM, length: 1 }), ErrorNumber.EIO);
});

Deno.test("BLOCK_STATUS tells data from holes, or the first of them", () => {
  const bench = new Bench(new MemoryBackend(64 * KIB), { structured: true, blockStatus: true });
  bench.ask({ command: Command.WRITE, offset: 8192, payload: filled(5000) });
  const status = (flags: number, offset: number, length: number) =>
    bench.ask({ command: Command.BLOCK_STATUS, flags, offset, length })[0]?.extents;
  assertEquals(status(0, 0, 64 * KIB), [[8192, 3], [8192, 0], [48 * KIB, 3]]);
  assertEquals(status(0, 8191, 2), [[1, 3], [1, 0]]);
  assertEquals(status(CommandFlag.REQ_ONE, 0, 64 * KIB), [[8192, 3]]);
  assertEquals(status(CommandFlag.REQ_ONE, 9000, 100), [[100, 0]]);
});

Deno.test("DISC and a bad magic number end the taking; what waits is still answered", () => {
  for (const last of [DISC, request({ command: Command.READ, magic: 0x12560953 })]) {
    const bench = new Bench(new MemoryBackend(4096));
    bench.backend.front.autoAcknowledge = false;
    bench.backend.calls = [];
    const write = request({ command: Command.WRITE, handle: 1n, payload: filled(1) });
    assertEquals(bench.feed(join(write, last, write)), []);
    assertEquals(bench.machine.phase, "ended");
    assertEquals(bench.machine.idle, false);
    bench.backend.front.acknowledgedLsn = 99;
    bench.machine.settle();
    assertEquals(bench.drain().length, 1);
    assertEquals(bench.machine.idle, true);
    assertEquals(bench.backend.calls.length, 1, "nothing behind it is looked at");
  }
});

Deno.test("while the server stops, new requests meet ESHUTDOWN and their payload is skipped", () => {
  const bench = new Bench(new MemoryBackend(4 * MIB));
  const begun = request({ command: Command.WRITE, handle: 1n, payload: filled(2 * MIB) });
  bench.feed(begun.subarray(0, MIB));
  bench.machine.draining = true;
  const replies = bench.feed(join(
    begun.subarray(MIB),
    request({ command: Command.WRITE, handle: 2n, payload: filled(100) }),
    request({ command: Command.READ, handle: 3n, length: 10 }),
    request({ command: Command.FLUSH, handle: 4n }),
  ));
  const { ESHUTDOWN } = ErrorNumber;
  assertEquals(
    replies.map((reply) => [reply.handle, reply.error]).sort(),
    [[1n, 0], [2n, ESHUTDOWN], [3n, ESHUTDOWN], [4n, ESHUTDOWN]],
  );
});

Deno.test("a session gives the same answers however its bytes are cut", () => {
  const session = (cut: number) => {
    const bench = new Bench(new MemoryBackend(8192), { structured: true, blockStatus: true });
    const read = { command: Command.READ, handle: 3n, offset: 5, length: 30 };
    bench.parser.expect(read);
    const bytes = join(
      request({ command: Command.WRITE, handle: 1n, offset: 7, payload: filled(20) }),
      request({ command: Command.WRITE, handle: 2n, offset: 9000, payload: filled(3) }),
      request(read),
      request({ command: Command.BLOCK_STATUS, handle: 4n, length: 8192 }),
      request({ command: Command.WRITE_ZEROES, handle: 5n, offset: 8, length: 3 }),
      request({ command: Command.FLUSH, handle: 6n }),
      DISC,
    );
    const replies = [
      ...bench.feed(bytes.subarray(0, cut)),
      ...bench.feed(bytes.subarray(cut)),
    ].sort((a, b) => Number(a.handle - b.handle));
    return { replies, bytes, image: bench.backend.bytes, phase: bench.machine.phase };
  };
  const whole = session(0);
  assertEquals(whole.replies.length, 6);
  for (let cut = 1; cut < whole.bytes.length; cut++) assertEquals(session(cut), whole);
});
