import { assertEquals } from "@std/assert";
import { FlushForesight } from "../../core/flush_foresight.ts";

function foresee(moves: string): string {
  const foresight = new FlushForesight();
  let seen = "";
  for (const move of moves) {
    if (move === "w") seen += foresight.wrote() ? "!" : ".";
    else foresight.flushed(move === "F");
  }
  return seen;
}

Deno.test("a flush is foreseen after some writes were each followed by one", () => {
  assertEquals(foresee("wfwfwfwfwfwf"), "....!!");
});

Deno.test("writes that no flush follows end it, at the latest after four", () => {
  assertEquals(foresee("wf".repeat(30) + "wwwwww").slice(-6), "!!!!..");
  assertEquals(foresee("wwwwwwww"), "........");
});

Deno.test("a flush that comes together with its write needs no foresight", () => {
  // The front is told of such a flush before the batch is written.
  assertEquals(foresee("Fw".repeat(20)), ".".repeat(20));
});

Deno.test("many writes to a flush are no pattern to rely on", () => {
  assertEquals(foresee("wwwf".repeat(20)), ".".repeat(60));
});
