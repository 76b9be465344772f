import { assertEquals } from "@std/assert";
import { FlushPace, flushPaceOf } from "../../io/flush_pace.ts";

function paceAfter(flushesMs: readonly number[], waited = false): FlushPace {
  const pace = new FlushPace();
  for (const ms of flushesMs) pace.took(4096, ms, waited);
  return pace;
}

Deno.test("the event loop waits for no flush before many were quick", () => {
  assertEquals(paceAfter([]).shouldWait(4096), false);
  assertEquals(paceAfter(Array(10).fill(0.1)).shouldWait(4096), false);
  assertEquals(paceAfter(Array(200).fill(0.1)).shouldWait(4096), true);
});

Deno.test("it never waits for a slow disk, nor for a large flush", () => {
  assertEquals(paceAfter(Array(1000).fill(4)).shouldWait(4096), false);
  assertEquals(paceAfter(Array(200).fill(0.1)).shouldWait(1024 * 1024), false);
});

Deno.test("one wait that was long ends the waiting for many flushes", () => {
  const pace = paceAfter(Array(200).fill(0.1));
  pace.took(4096, 20, true);
  assertEquals(pace.shouldWait(4096), false);
  for (let i = 0; i < 30; i++) pace.took(4096, 0.1, false);
  assertEquals(pace.shouldWait(4096), false);
});

Deno.test("all files of a disk learn together", () => {
  assertEquals(flushPaceOf(987_654) === flushPaceOf(987_654), true);
  assertEquals(flushPaceOf(987_654) === flushPaceOf(987_655), false);
});
