import { assert, assertEquals } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import type { Refusal } from "../../../core/nbd/backend.ts";
import { BlockPool, ReceiveBuffer } from "../../../core/nbd/buffers.ts";
import { Chunk, Command, CommandFlag, ErrorNumber } from "../../../core/nbd/constants.ts";
import {
  EXTENTS_MAX,
  PAYLOAD_BYTES_MAX,
  PIECE_BYTES_MAX,
  REPLY_BYTES,
  WAITING_MAX,
} from "../../../core/nbd/nbd_limits.ts";
import { ReplyBuffer } from "../../../core/nbd/reply_buffer.ts";
import { type Lack, Transmission } from "../../../core/nbd/transmission.ts";
import { MemoryBackend } from "./memory_backend.ts";
import {
  DISC,
  filled,
  join,
  type ParsedReply,
  ReplyParser,
  request,
  type RequestFields,
  u32,
} from "./wire.ts";

const KIB = 1024;
const MIB = 1024 * KIB;

interface Options {
  readonly structured?: boolean;
  readonly blockStatus?: boolean;
  readonly largeBlocks?: number;
}

/** A transmission with its buffers, driven by hand as a socket would. */
class Bench {
  readonly pool: BlockPool;
  readonly input: ReceiveBuffer;
  readonly replies: ReplyBuffer;
  readonly machine: Transmission;
  readonly parser: ReplyParser;
  readonly backend: MemoryBackend;
  lack: Lack = "input";

  constructor(backend: MemoryBackend, options: Options = {}) {
    const { structured = false, blockStatus = false, largeBlocks = 4 } = options;
    this.backend = backend;
    this.pool = new BlockPool(largeBlocks);
    this.input = new ReceiveBuffer(this.pool);
    this.replies = new ReplyBuffer(this.pool);
    this.machine = new Transmission({ backend, structured, blockStatus }, this.replies);
    this.parser = new ReplyParser(structured);
  }

  /** Brings bytes, at most `count` at a time; returns all replies that came. */
  feed(bytes: Uint8Array, count = Infinity): ParsedReply[] {
    const replies: ParsedReply[] = [];
    let at = 0;
    while (at < bytes.length && this.machine.phase !== "ended") {
      const space = this.input.space(this.machine.wanted);
      const length = Math.min(space.length, count, bytes.length - at);
      if (length === 0) throw new Error(`no space while it lacks ${this.lack}`);
      space.set(bytes.subarray(at, at + length));
      this.input.received(length);
      at += length;
      replies.push(...this.run());
      if (this.lack === "places" || this.machine.phase === "broken") break;
    }
    return replies;
  }

  /** Brings bytes that fit the buffer, and acts on them; sends nothing. */
  push(bytes: Uint8Array): Lack {
    this.input.space(this.machine.wanted).set(bytes);
    this.input.received(bytes.length);
    const lack = this.machine.advance(this.input);
    this.machine.commit();
    return lack;
  }

  /** Gathers small replies until there is room for exactly `room` bytes. */
  fillReplies(room: number): void {
    const count = (this.replies.room - room) / 16;
    const each = request({ command: Command.CACHE, handle: 0xcacen });
    this.push(join(...new Array(count).fill(each)));
    assertEquals(this.replies.room, room);
  }

  /** Acts and drains until nothing more happens by itself. */
  run(): ParsedReply[] {
    const replies: ParsedReply[] = [];
    do {
      this.lack = this.machine.advance(this.input);
      this.machine.commit();
      replies.push(...this.drain());
    } while (this.lack === "room");
    return replies;
  }

  drain(): ParsedReply[] {
    if (this.replies.length === 0) return [];
    const replies = this.parser.push(this.replies.take());
    this.replies.sent();
    return replies;
  }

  ask(...requests: RequestFields[]): ParsedReply[] {
    for (const each of requests) this.parser.expect(each);
    return this.feed(join(...requests.map(request)));
  }

  /** The error number that a request is answered with. */
  errorOf(fields: RequestFields): number {
    const replies = this.ask(fields);
    assertEquals(replies.length, 1, "one request, one reply");
    assertEquals(replies[0]?.handle, fields.handle ?? 0n);
    return replies[0]?.error ?? -1;
  }
}

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

Deno.test("every wrong request has the error that the text names", () => {
  const size = 64 * KIB;
  const { EINVAL, ENOSPC, EPERM, EOVERFLOW } = ErrorNumber;
  const far = 2n ** 64n - 1n;
  const one = new Uint8Array(1);
  const cases: [string, RequestFields, number, number][] = [
    // What; the request; the error of a writable export, and of a read-only one.
    ["write past the end", { command: 1, offset: size, payload: one }, ENOSPC, EPERM],
    ["write at 2^64 - 1", { command: 1, offset: far, payload: one }, ENOSPC, EPERM],
    ["write across the end", { command: 1, offset: size - 1, payload: filled(2) }, ENOSPC, EPERM],
    ["zeroes past the end", { command: 6, offset: size - 1, length: 2 }, ENOSPC, EPERM],
    ["read past the end", { command: 0, offset: size - 1, length: 2 }, EINVAL, EINVAL],
    ["read at 2^64 - 1", { command: 0, offset: far, length: 1 }, EINVAL, EINVAL],
    ["read of 2^32 - 1", { command: 0, offset: 0, length: 2 ** 32 - 1 }, EINVAL, EINVAL],
    ["trim past the end", { command: 4, offset: size, length: 1 }, EINVAL, EPERM],
    ["cache past the end", { command: 5, offset: size, length: 1 }, EINVAL, EINVAL],
    ["status past the end", { command: 7, offset: size, length: 1 }, EINVAL, EINVAL],
    ["status of nothing", { command: 7, offset: 0, length: 0 }, EINVAL, EINVAL],
    ["flush with an offset", { command: 3, offset: 1 }, EINVAL, EINVAL],
    ["flush with a length", { command: 3, length: 1 }, EINVAL, EINVAL],
    ["unknown command", { command: 8 }, EINVAL, EINVAL],
    ["unknown command 65535", { command: 65535, length: 5 }, EINVAL, EINVAL],
    ["unknown flag", { command: 0, flags: 1 << 5, length: 1 }, EINVAL, EINVAL],
    ["unknown flag, highest", { command: 0, flags: 1 << 15, length: 1 }, EINVAL, EINVAL],
    ["NO_HOLE on a write", { command: 1, flags: 2, payload: one }, EINVAL, EINVAL],
    ["NO_HOLE on a trim", { command: 4, flags: 2, length: 1 }, EINVAL, EINVAL],
    ["DF on a write", { command: 1, flags: 4, payload: one }, EINVAL, EINVAL],
    ["REQ_ONE on a read", { command: 0, flags: 8, length: 1 }, EINVAL, EINVAL],
    ["FAST_ZERO on a trim", { command: 4, flags: 16, length: 1 }, EINVAL, EINVAL],
    ["write", { command: 1, payload: one }, 0, EPERM],
    ["trim", { command: 4, length: 1 }, 0, EPERM],
    ["zeroes", { command: 6, length: 1 }, 0, EPERM],
    ["fast zeroes without a hole", { command: 6, flags: 2 | 16, length: 1 }, 0, EPERM],
    ["write of nothing at the end", { command: 1, offset: size }, 0, EPERM],
    ["zeroes of nothing", { command: 6, offset: size, length: 0 }, 0, EPERM],
    ["trim of nothing", { command: 4, length: 0 }, 0, EPERM],
    ["read of nothing", { command: 0, offset: size, length: 0 }, 0, 0],
    ["cache", { command: 5, length: size }, 0, 0],
    ["flush", { command: 3 }, 0, 0],
  ];
  for (const structured of [false, true]) {
    const options = { structured, blockStatus: structured };
    const writable = new Bench(new MemoryBackend(size), options);
    const readOnly = new Bench(new MemoryBackend(size, { readOnly: true }), options);
    for (const [what, fields, error, errorReadOnly] of cases) {
      const ask = { handle: 5n, ...fields };
      assertEquals(writable.errorOf(ask), error, what);
      assertEquals(readOnly.errorOf(ask), errorReadOnly, `${what}, read-only`);
      // FUA goes with every command.
      const flags = (fields.flags ?? 0) | CommandFlag.FUA;
      assertEquals(writable.errorOf({ ...ask, flags }), error, `${what}, FUA`);
    }
    const big = new Bench(new MemoryBackend(PAYLOAD_BYTES_MAX + 1), options);
    const over = { command: Command.READ, length: PAYLOAD_BYTES_MAX + 1 };
    assertEquals(big.errorOf(over), structured ? EOVERFLOW : EINVAL);
    const df = { command: Command.READ, flags: CommandFlag.DF, length: 1 };
    assertEquals(writable.errorOf(df), structured ? 0 : EINVAL);
    assertEquals(
      big.errorOf({ command: Command.WRITE, payload: new Uint8Array(over.length) }),
      EINVAL,
    );
  }
});

Deno.test("BLOCK_STATUS without a selected context is invalid", () => {
  for (const structured of [false, true]) {
    const bench = new Bench(new MemoryBackend(4096), { structured });
    assertEquals(bench.errorOf({ command: 7, length: 4096 }), ErrorNumber.EINVAL);
  }
});

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
