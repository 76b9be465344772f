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
