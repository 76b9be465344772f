import { assert, assertEquals } from "@std/assert";
import { StallPace } from "../../core/stall_pace.ts";
import { ManualClock } from "../support/manual_clock.ts";

const MIB = 1024 * 1024;
const BUDGET = 100 * MIB;

/** Writes as fast as it is let, in pieces, while a peer takes `drain` bytes a second. */
function write(seconds: number, drainPerSecond: number, wanted = 400 * MIB) {
  const clock = new ManualClock();
  let woken = 0;
  const pace = new StallPace(clock, BUDGET, 0, () => woken++);
  let end = 0;
  let taken = 0;
  const perSecond: number[] = [];
  for (let second = 0; second < seconds; second++) {
    const before = end;
    for (let ms = 0; ms < 1000; ms++) {
      taken = Math.min(end, taken + drainPerSecond / 1000);
      for (let piece = 0; piece < 4 && end < wanted; piece++) {
        if (pace.holdsBack(end - taken, end)) break;
        end += 128 * 1024;
      }
      clock.advance(1);
    }
    perSecond.push(end - before);
  }
  return { end, held: end - taken, perSecond, woken };
}

Deno.test("up to half of the budget nobody is slowed down", () => {
  const { end } = write(1, 0, BUDGET / 2);
  assertEquals(end, BUDGET / 2);
});

Deno.test("while the peer is away writers get slower and slower, and the budget is never spent", () => {
  const { held, perSecond, woken } = write(120, 0);
  assert(held < BUDGET, `${held} bytes held`);
  assert(held > 0.9 * BUDGET, "most of the budget is used");
  assert(woken > 0, "who waits is woken");
  const spans = [10, 40, 70, 100].map((from) =>
    perSecond.slice(from, from + 20).reduce((sum, bytes) => sum + bytes, 0)
  );
  for (const [i, bytes] of spans.entries()) {
    assert(bytes > 0, "still some");
    if (i > 0) assert(bytes < spans[i - 1]!, "slower and slower");
  }
});

Deno.test("a slow peer sets the rate", () => {
  const drain = 2 * MIB;
  const { held, perSecond } = write(200, drain, Infinity);
  const late = perSecond.slice(-20).reduce((sum, bytes) => sum + bytes, 0) / 20;
  assert(Math.abs(late - drain) < 0.1 * drain, `${late} bytes a second`);
  assert(held < BUDGET);
});

Deno.test("once the peer has caught up, nobody is slowed down any more", () => {
  const clock = new ManualClock();
  const pace = new StallPace(clock, BUDGET, 0, () => {});
  let end = 0;
  while (!pace.holdsBack(end, end)) end += MIB;
  assert(pace.isSlowing);
  assertEquals(pace.holdsBack(0, end), false);
  assertEquals(pace.isSlowing, false);
  for (let i = 0; i < 40; i++) assertEquals(pace.holdsBack(i * MIB, end + i * MIB), false);
});
