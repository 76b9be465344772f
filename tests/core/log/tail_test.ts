import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { LogTail } from "../../../core/log/tail.ts";

Deno.test("the tail holds what the log ends with, or says that it does not", () => {
  const pieces = fc.array(fc.integer({ min: 1, max: 150 }), { minLength: 1, maxLength: 30 });
  const reads = fc.array(fc.tuple(fc.nat(2000), fc.integer({ min: 1, max: 120 })));
  const cut = fc.option(fc.nat(60));
  fc.assert(fc.property(pieces, reads, cut, fc.nat(500), (lengths, wanted, cutBytes, base) => {
    const log = Array.from({ length: base }, () => 0);
    const tail = new LogTail(100, base);
    for (const [index, length] of lengths.entries()) {
      if (index === 10 && cutBytes !== null) {
        log.length = Math.max(base, log.length - cutBytes);
        tail.cutBack(log.length);
      }
      const piece = Uint8Array.from({ length }, (_, i) => log.length + i * 3 + index);
      log.push(...piece);
      tail.append(piece);
    }
    const last = Math.min(lengths.at(-1) ?? 0, 100);
    assertEquals(tail.read(log.length - last, new Uint8Array(last)), true, "the last piece");
    for (const [at, length] of wanted) {
      const into = new Uint8Array(length);
      if (!tail.read(at, into)) continue;
      assertEquals([...into], log.slice(at, at + length));
    }
    assertEquals(tail.read(log.length, new Uint8Array(1)), false, "past the end");
  }));
});

Deno.test("what is built in the tail itself is read back, and costs the oldest bytes alone", () => {
  const steps = fc.array(
    fc.record({ reserve: fc.integer({ min: 1, max: 60 }), used: fc.integer({ min: 1, max: 60 }) }),
    { minLength: 1, maxLength: 40 },
  );
  fc.assert(fc.property(steps, fc.nat(300), (steps, base) => {
    const log: number[] = Array.from({ length: base }, () => 0);
    const tail = new LogTail(100, base);
    for (const [index, { reserve, used }] of steps.entries()) {
      const piece = Uint8Array.from({ length: Math.min(used, reserve) }, (_, i) => index * 5 + i);
      const space = tail.space(reserve);
      if (space === null) tail.append(piece);
      else {
        space.fill(0xaa);
        space.set(piece);
        tail.append(space.subarray(0, piece.length));
      }
      log.push(...piece);
      const oldest = Math.max(base, log.length - 30);
      for (let lsn = oldest; lsn < log.length; lsn++) {
        const view = tail.view(lsn, 1000);
        if (view === null) continue;
        assertEquals([...view], log.slice(lsn, lsn + view.length));
        const into = new Uint8Array(log.length - lsn);
        if (tail.read(lsn, into)) assertEquals([...into], log.slice(lsn));
      }
      assertEquals([...tail.view(log.length - piece.length, 1)!], [piece[0]]);
    }
  }));
});
