import { assert, assertEquals } from "@std/assert";
import { DenoClock } from "../../io/clock.ts";
import { DenoRandom } from "../../io/random.ts";

Deno.test("timers fire once, in order of their delays, unless cancelled", async () => {
  const clock = new DenoClock();
  const fired: string[] = [];
  const cancelled = clock.after(1, () => fired.push("cancelled"));
  cancelled.cancel();
  cancelled.cancel();
  await new Promise<void>((resolve) => {
    clock.after(20, () => {
      fired.push("late");
      resolve();
    });
    clock.after(1, () => fired.push("early"));
  });
  assertEquals(fired, ["early", "late"]);
});

Deno.test("a delay of more than 24 days does not fire at once", async () => {
  const clock = new DenoClock();
  let fired = false;
  const timer = clock.after(2 ** 40, () => fired = true);
  await new Promise<void>((resolve) => clock.after(20, resolve));
  assertEquals(fired, false);
  timer.cancel();
});

Deno.test("soon calls after microtasks, and lets I/O go first", async () => {
  const clock = new DenoClock();
  const order: string[] = [];
  const soon = new Promise<void>((resolve) => {
    clock.soon(() => {
      order.push("soon");
      resolve();
    });
  });
  queueMicrotask(() => order.push("microtask"));
  await soon;
  assertEquals(order, ["microtask", "soon"]);
});

Deno.test("monotonic time goes on", () => {
  const clock = new DenoClock();
  const before = clock.monotonicMs();
  assert(clock.monotonicMs() >= before);
  assert(clock.nowMs() > Date.UTC(2026, 0, 1));
});

Deno.test("random bytes come in any count and differ", () => {
  const random = new DenoRandom();
  for (const count of [0, 1, 16, 65_536, 200_000]) assertEquals(random.bytes(count).length, count);
  assert(random.bytes(16).toString() !== random.bytes(16).toString());
  assert(random.bytes(200_000).subarray(-1000).some((byte) => byte !== 0));
  const fraction = random.fraction();
  assert(fraction >= 0 && fraction < 1);
});
