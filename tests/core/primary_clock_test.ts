import { assertEquals } from "@std/assert";
import { PrimaryClock } from "../../core/primary_clock.ts";
import { ManualClock } from "../support/manual_clock.ts";

Deno.test("the primary tells its own time and end", () => {
  const clock = new ManualClock();
  const own = { appendedLsn: 160 };
  const primary = new PrimaryClock(clock, own);
  assertEquals([primary.known, primary.timeMs(), primary.endLsn()], [true, clock.nowMs(), 160]);
  clock.advance(500);
  own.appendedLsn = 320;
  assertEquals([primary.timeMs(), primary.endLsn()], [clock.nowMs(), 320]);
  assertEquals(primary.silenceMs(), 0);
});

Deno.test("a node below knows nothing until a tide came", () => {
  const below = new PrimaryClock(new ManualClock(), null);
  assertEquals([below.known, below.timeMs(), below.endLsn()], [false, 0, 0]);
  below.heard(0, 0);
  assertEquals(below.known, false);
});

Deno.test("the primary's time is carried on since the last word, whatever the own wall clock", () => {
  const clock = new ManualClock();
  const below = new PrimaryClock(clock, null);
  below.heard(5000, 160);
  clock.advance(250);
  clock.wallMs += 1e9;
  assertEquals([below.timeMs(), below.endLsn(), below.silenceMs()], [5250, 160, 250]);
});

Deno.test("a tide of somebody who knows nothing changes nothing", () => {
  const clock = new ManualClock();
  const below = new PrimaryClock(clock, null);
  below.heard(5000, 160);
  clock.advance(100);
  below.heard(0, 0);
  assertEquals([below.timeMs(), below.endLsn(), below.silenceMs()], [5100, 160, 100]);
});

Deno.test("the time of being caught up is that of the last tide", () => {
  const clock = new ManualClock();
  const below = new PrimaryClock(clock, null);
  below.heard(5000, 160);
  clock.advance(100);
  below.caughtUp();
  assertEquals(below.caughtUpTimeMs, 5000);
});
