import { assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { WaitingRing } from "../../../core/nbd/waiting.ts";

Deno.test("a ring is a queue, however it grows and turns", () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ push: fc.nat({ max: 90 }), shift: fc.nat({ max: 90 }) })),
      (rounds) => {
        const ring = new WaitingRing(256);
        const model: number[] = [];
        let next = 0;
        for (const { push, shift } of rounds) {
          for (let i = 0; i < push && !ring.full; i++) {
            next++;
            ring.push(next, next * 3, next * 5);
            model.push(next);
          }
          for (let i = 0; i < shift && ring.count > 0; i++) {
            const ticket = model.shift() ?? 0;
            assertEquals(
              [ring.firstTicket, ring.firstHandleHigh, ring.firstHandleLow],
              [ticket, ticket * 3, ticket * 5],
            );
            ring.shift();
          }
          assertEquals(ring.count, model.length);
          assertEquals(ring.full, model.length === 256);
        }
      },
    ),
  );
});

Deno.test("an empty ring waits for a position that never comes", () => {
  assertEquals(new WaitingRing(64).firstTicket, Infinity);
});

Deno.test("a ring keeps 64 bits of a handle and all bits of a position", () => {
  const ring = new WaitingRing(64);
  ring.push(2 ** 53 - 1, 0xffffffff, 0x80000001);
  assertEquals(
    [ring.firstTicket, ring.firstHandleHigh, ring.firstHandleLow],
    [2 ** 53 - 1, 0xffffffff, 0x80000001],
  );
});

Deno.test("a ring takes no ticket out of order and none past its bound", () => {
  const ring = new WaitingRing(64);
  ring.push(5, 0, 0);
  assertThrows(() => ring.push(4, 0, 0), Error, "tickets come in order");
  ring.forgetOrder();
  ring.push(4, 0, 0);
  while (!ring.full) ring.push(6, 0, 0);
  assertThrows(() => ring.push(7, 0, 0), Error, "a full ring");
});
