import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { BlockPool, ReceiveBuffer } from "../../../core/nbd/buffers.ts";
import { Command, CommandFlag, ErrorNumber } from "../../../core/nbd/constants.ts";
import { Handshake } from "../../../core/nbd/handshake.ts";
import { RECEIVE_BYTES, REPLY_BYTES } from "../../../core/nbd/nbd_limits.ts";
import { ReplyBuffer } from "../../../core/nbd/reply_buffer.ts";
import { NbdServer } from "../../../core/nbd/server.ts";
import { Transmission } from "../../../core/nbd/transmission.ts";
import { ManualClock, settle } from "../../support/manual_clock.ts";
import { MemoryBackend, type MemoryFront } from "./memory_backend.ts";
import { ListJournal, PipeNetwork } from "./pipe.ts";
import { TestClient } from "./test_client.ts";
import { filled, join, option, request, type RequestFields, text, u16, u32 } from "./wire.ts";

const SIZE = 300_000;

/** Bytes that get past the first checks more often than chance would. */
const nearlyBytes = fc.array(
  fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc.constantFrom(text("IHAVEOPT"), text("base:allocation"), text("data"), u32(0x25609513)),
    fc.nat({ max: 20 }).map(u32),
    fc.nat({ max: 20 }).map(u16),
    fc.tuple(fc.nat({ max: 12 }), fc.uint8Array({ maxLength: 40 }))
      .map(([number, data]) => option(number, data)),
    fc.record({
      command: fc.nat({ max: 9 }),
      flags: fc.nat({ max: 31 }),
      offset: fc.nat({ max: 2 * SIZE }),
      length: fc.nat({ max: 2 * SIZE }),
    }).map(request),
  ),
  { maxLength: 40 },
).map((parts) => join(...parts));

Deno.test("no bytes make the handshake fail or say more than it should", () => {
  const exports = [new MemoryBackend(SIZE), new MemoryBackend(SIZE, { name: "b" })];
  fc.assert(
    fc.property(nearlyBytes, fc.boolean(), (bytes, begun) => {
      const machine = new Handshake(exports);
      const all = begun ? join(u32(3), bytes) : bytes;
      let said = 0;
      let start = 0;
      for (;;) {
        const next = machine.consume(all, start, all.length);
        said += machine.takeReplies().length;
        if (next === start) break;
        assert(next > start && next <= all.length);
        start = next;
      }
      // A LIST of 16 bytes has the longest answer for its length.
      assert(said <= 200 + all.length * 10, `${said} bytes for ${all.length}`);
      assertEquals(machine.session !== null, machine.phase === "ready");
    }),
    { numRuns: 500 },
  );
});

Deno.test("no bytes make the transmission fail, or hold more than its buffers", () => {
  fc.assert(
    fc.property(
      fc.array(nearlyBytes, { maxLength: 8 }),
      fc.boolean(),
      fc.nat({ max: 2 }),
      (batches, structured, largeBlocks) => {
        const pool = new BlockPool(largeBlocks);
        const input = new ReceiveBuffer(pool);
        const replies = new ReplyBuffer(pool);
        const backend = new MemoryBackend(SIZE);
        const machine = new Transmission({ backend, structured, blockStatus: structured }, replies);
        for (const batch of batches) {
          for (let at = 0; at < batch.length && machine.phase !== "ended";) {
            const space = input.space(machine.wanted);
            const count = Math.min(space.length, batch.length - at);
            space.set(batch.subarray(at, at + count));
            input.received(count);
            at += count;
            while (machine.advance(input) === "room") {
              machine.commit();
              replies.take();
              replies.sent();
            }
            machine.commit();
            assert(input.bytes.length <= RECEIVE_BYTES || pool.lent > 0);
            assert(replies.length <= REPLY_BYTES || pool.lent > 0);
            assert(input.available <= input.bytes.length);
          }
        }
        assert(machine.phase !== "broken");
      },
    ),
    { numRuns: 500 },
  );
});

/** What a client may ask, right or wrong. */
const anyRequest: fc.Arbitrary<RequestFields> = fc.record({
  command: fc.constantFrom(
    Command.WRITE,
    Command.WRITE,
    Command.READ,
    Command.READ,
    Command.TRIM,
    Command.WRITE_ZEROES,
    Command.FLUSH,
    Command.CACHE,
    Command.BLOCK_STATUS,
    77,
  ),
  isFua: fc.boolean(),
  offset: fc.nat({ max: SIZE + 1000 }),
  length: fc.oneof(
    { weight: 8, arbitrary: fc.nat({ max: 5000 }) },
    { weight: 1, arbitrary: fc.nat({ max: SIZE }) },
  ),
  seed: fc.nat({ max: 255 }),
}).map(({ command, isFua, offset, length, seed }) => {
  const flags = isFua ? CommandFlag.FUA : 0;
  if (command === Command.FLUSH) return { command, flags };
  if (command === Command.WRITE) return { command, flags, offset, payload: filled(length, seed) };
  return { command, flags, offset, length };
});

/** The model: acts on an image, and returns the error that the request must meet. */
function act(image: Uint8Array, fields: RequestFields, blockStatus: boolean): number {
  const { command, payload } = fields;
  const offset = Number(fields.offset ?? 0);
  const length = payload?.length ?? fields.length ?? 0;
  const isInside = offset + length <= image.length;
  switch (command) {
    case Command.WRITE:
      if (!isInside) return ErrorNumber.ENOSPC;
      image.set(payload ?? [], offset);
      return 0;
    case Command.WRITE_ZEROES:
    case Command.TRIM:
      if (!isInside) return command === Command.TRIM ? ErrorNumber.EINVAL : ErrorNumber.ENOSPC;
      image.fill(0, offset, offset + length);
      return 0;
    case Command.BLOCK_STATUS:
      return isInside && length > 0 && blockStatus ? 0 : ErrorNumber.EINVAL;
    case 77:
      return ErrorNumber.EINVAL;
    default:
      return isInside ? 0 : ErrorNumber.EINVAL;
  }
}

/** Extents must follow each other, not be empty, and only call zero what is. */
function checkExtents(extents: [number, number][], fields: RequestFields, image: Uint8Array): void {
  let at = Number(fields.offset ?? 0);
  const end = at + (fields.length ?? 0);
  for (const [length, flags] of extents) {
    assert(length > 0);
    if (flags !== 0) {
      assertEquals(flags, 3);
      assert(image.subarray(at, at + length).every((byte) => byte === 0));
    }
    at += length;
  }
  assertEquals(at, end);
}

/** What the model says of a request: its error, what it reads, and the image when it was asked. */
interface Expected {
  readonly fields: RequestFields;
  readonly error: number;
  readonly data: Uint8Array | null;
  readonly image: Uint8Array | null;
}

/** Requests are acted on in their order, so the model may run ahead of the replies. */
function expectAll(requests: RequestFields[], image: Uint8Array, structured: boolean): Expected[] {
  return requests.map((fields) => {
    const error = act(image, fields, structured);
    const offset = Number(fields.offset ?? 0);
    const length = fields.length ?? 0;
    const isRead = fields.command === Command.READ && error === 0 && length > 0;
    const isStatus = fields.command === Command.BLOCK_STATUS && error === 0;
    return {
      fields,
      error,
      data: isRead ? image.slice(offset, offset + length) : null,
      image: isStatus ? image.slice() : null,
    };
  });
}

/** Takes one reply for each request, in any order. */
async function takeAll(client: TestClient, expected: Expected[]): Promise<void> {
  const left = new Map(expected.map((each, index) => [BigInt(index), each]));
  while (left.size > 0) {
    const reply = await client.reply();
    const want = reply === null ? undefined : left.get(reply.handle);
    if (reply === null || want === undefined) throw new Error("an answer that nobody waits for");
    left.delete(reply.handle);
    assertEquals(reply.error, want.error);
    if (want.data !== null) assertEquals(reply.data, want.data);
    if (want.image !== null) checkExtents(reply.extents, want.fields, want.image);
  }
}

/** Moves the front's positions up bit by bit, until it is told to end. */
async function raise(front: MemoryFront, isDone: () => boolean): Promise<void> {
  while (!isDone()) {
    await settle(1);
    front.progress(Math.floor((front.acknowledgedLsn + front.committedLsn + 1) / 2));
  }
}

Deno.test("any sequence of requests gives what a plain array gives, over any connection", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyRequest, { maxLength: 60 }),
      fc.boolean(),
      fc.boolean(),
      fc.integer({ min: 100, max: 200_000 }),
      async (asked, structured, isSlow, capacity) => {
        const network = new PipeNetwork();
        network.capacity = capacity;
        const backend = new MemoryBackend(SIZE);
        const { front } = backend;
        front.autoAcknowledge = front.autoFlush = !isSlow;
        const clock = new ManualClock();
        const journal = new ListJournal();
        const server = new NbdServer({ network, clock, journal, exports: [backend] });
        await server.listen("a");
        const client = await new TestClient(network.connect("a")).enter("data", structured);
        const requests = asked.map((fields, index) => ({ ...fields, handle: BigInt(index) }));
        const image = new Uint8Array(SIZE);
        const expected = expectAll(requests, image, structured);
        let isDone = false;
        const raising = isSlow ? raise(front, () => isDone) : null;
        const sending = client.send(...requests);
        await takeAll(client, expected);
        isDone = true;
        await Promise.all([raising, sending]);
        assertEquals(backend.bytes, image);
        client.end.close();
        await settle();
        assertEquals([front.listenerCount, server.listening[0]?.clients], [0, 0]);
      },
    ),
    { numRuns: 60 },
  );
});
