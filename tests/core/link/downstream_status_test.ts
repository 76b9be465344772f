import { assertEquals } from "@std/assert";
import { deltaFields } from "../../../core/link/downstream_status.ts";
import { Runs } from "../../../core/link/runs.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { CountingRandom } from "../../support/small.ts";

Deno.test("a paused link has no next run that could be late", () => {
  const schedule = { everyMs: 60_000, cron: null, window: null, jitterMs: 0, timezone: null };
  const runs = new Runs(schedule, new ManualClock(), new CountingRandom(), null, () => {});
  assertEquals(deltaFields(null, runs, null, false).schedule?.nextRunAtMs, runs.nextAtMs);
  assertEquals(deltaFields(null, runs, null, true).schedule?.nextRunAtMs, null);
});
