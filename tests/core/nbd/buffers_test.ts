import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { BlockPool, ReceiveBuffer } from "../../../core/nbd/buffers.ts";
import {
  LARGE_BUFFER_BYTES,
  OWN_BYTES_FIRST,
  RECEIVE_BYTES,
  REPLY_BYTES,
} from "../../../core/nbd/nbd_limits.ts";
import { ReplyBuffer } from "../../../core/nbd/reply_buffer.ts";

Deno.test("a pool lends so many blocks and takes them back", () => {
  const pool = new BlockPool(2);
  const first = pool.take();
  const second = pool.take();
  assert(first !== null && second !== null && first !== second);
  assertEquals([pool.take(), pool.lent], [null, 2]);
  if (first !== null) pool.give(first);
  assert(pool.take() === first);
});

Deno.test("what is received is kept in order, however much is taken at a time", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          come: fc.nat({ max: 300 }),
          take: fc.nat({ max: 300 }),
          wanted: fc.integer({ min: 1, max: 2000 }),
        }),
        { maxLength: 100 },
      ),
      fc.nat({ max: 1 }),
      (rounds, blocks) => {
        const pool = new BlockPool(blocks);
        const buffer = new ReceiveBuffer(pool, 256);
        let comes = 0;
        let goes = 0;
        for (const { come, take, wanted } of rounds) {
          const space = buffer.space(wanted);
          assert(space.length > 0 || buffer.full, "room, or nothing to be done");
          const { length } = buffer.bytes;
          const isFit = buffer.start + wanted <= length || wanted > length;
          assert(isFit, "what is wanted can come without moving again");
          const count = Math.min(come, space.length);
          for (let i = 0; i < count; i++) space[i] = comes++ & 0xff;
          buffer.received(count);
          const taken = Math.min(take, buffer.available);
          for (let i = 0; i < taken; i++) assertEquals(buffer.bytes[buffer.start++], goes++ & 0xff);
        }
        assertEquals(buffer.available, comes - goes);
        buffer.release();
        assertEquals(pool.lent, 0);
      },
    ),
  );
});

Deno.test("a receive buffer grows for what is wanted, and for more when it is eager", () => {
  fc.assert(
    fc.property(
      fc.array(
        fc.record({
          come: fc.nat({ max: 6000 }),
          take: fc.nat({ max: 9000 }),
          wanted: fc.integer({ min: 1, max: 40_000 }),
        }),
        { maxLength: 40 },
      ),
      fc.nat({ max: 1 }),
      fc.boolean(),
      (rounds, blocks, isEager) => {
        const ownMax = 32 * 1024;
        const pool = new BlockPool(blocks);
        const buffer = new ReceiveBuffer(pool, ownMax, OWN_BYTES_FIRST);
        buffer.isEager = isEager;
        let comes = 0;
        let goes = 0;
        let wantedMax = 0;
        for (const { come, take, wanted } of rounds) {
          const space = buffer.space(wanted);
          wantedMax = Math.max(wantedMax, wanted);
          const { length } = buffer.bytes;
          assert(space.length > 0 || buffer.full, "room, or nothing to be done");
          assert(buffer.start + Math.min(wanted, ownMax) <= length, "what is wanted can come");
          if (pool.lent === 0 && !isEager && wantedMax <= OWN_BYTES_FIRST) {
            assert(length <= buffer.available + 2 * OWN_BYTES_FIRST, "small as long as it may be");
          }
          const count = Math.min(come, space.length);
          for (let i = 0; i < count; i++) space[i] = comes++ & 0xff;
          buffer.received(count);
          const taken = Math.min(take, buffer.available);
          for (let i = 0; i < taken; i++) {
            if (buffer.bytes[buffer.start++] !== (goes++ & 0xff)) throw new Error("out of order");
          }
        }
        assertEquals(buffer.available, comes - goes);
      },
    ),
  );
  const eager = new ReceiveBuffer(new BlockPool(0), RECEIVE_BYTES, OWN_BYTES_FIRST);
  eager.isEager = true;
  for (let turn = 0; turn < 4; turn++) {
    eager.received(eager.space(28).length);
    eager.start = eager.end;
  }
  assertEquals(eager.space(28).length, RECEIVE_BYTES);
});

Deno.test("replies gather in one buffer while another is being sent", () => {
  const pool = new BlockPool(1);
  const replies = new ReplyBuffer(pool);
  replies.simple(0, 1, 2);
  const first = replies.take();
  replies.simple(5, 3, 4);
  assertEquals(first.length, 16);
  assertEquals(first[15], 2, "what is sent is left alone");
  assert(replies.isSending);
  replies.sent();
  const second = replies.take();
  assertEquals([second[7], second[15]], [5, 4]);
  assert(second.buffer !== first.buffer);
  replies.sent();
});

Deno.test("a large block is borrowed only while nothing is gathered, and given back when sent", () => {
  const pool = new BlockPool(1);
  const replies = new ReplyBuffer(pool);
  replies.simple(0, 0, 0);
  assertEquals(replies.reserve(REPLY_BYTES), REPLY_BYTES - 16);
  replies.take();
  assertEquals(replies.reserve(REPLY_BYTES + 1), LARGE_BUFFER_BYTES);
  assertEquals(pool.lent, 1);
  replies.sent();
  replies.advance(LARGE_BUFFER_BYTES);
  assertEquals(replies.room, 0);
  replies.take();
  assertEquals(replies.reserve(REPLY_BYTES + 1), REPLY_BYTES, "there was only one");
  replies.sent();
  assertEquals(pool.lent, 0);
  replies.reserve(REPLY_BYTES + 1);
  replies.release();
  assertEquals([pool.lent, replies.length, replies.room], [0, 0, REPLY_BYTES]);
});

Deno.test("zero is told from anything else at every place and alignment", () => {
  const replies = new ReplyBuffer(new BlockPool(0));
  for (const skip of [0, 1, 2, 3, 28]) {
    for (const length of [1, 2, 3, 4, 5, 63, 64, 65, 130]) {
      const bytes = replies.ahead(0, 400);
      bytes.fill(0xff);
      const range = replies.ahead(skip, length);
      range.fill(0);
      assert(replies.isZeroAhead(skip, length));
      for (let index = 0; index < length; index++) {
        range[index] = 1;
        assert(!replies.isZeroAhead(skip, length), `a one at ${index} of ${length}`);
        range[index] = 0;
      }
    }
  }
});
