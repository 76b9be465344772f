import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Schedule } from "../../../core/config.ts";
import { isWithin, nextRun } from "../../../core/link/schedule.ts";
import { parseWindow } from "../../../core/topology/cron.ts";

const HOUR_MS = 3_600_000;
const MINUTE_MS = 60_000;

function make(change: Partial<Omit<Schedule, "window">> & { window?: string } = {}): Schedule {
  const { window = null, ...rest } = change;
  const schedule = { everyMs: null, cron: null, jitterMs: 0, timezone: "UTC", ...rest };
  return { ...schedule, window: window === null ? null : parseWindow(window) };
}

/** `2026-03-29 02:30` as ms since 1970, UTC. */
function utc(text: string): number {
  return Date.parse(`${text.replace(" ", "T")}:00Z`);
}

function text(ms: number): string {
  return new Date(ms).toISOString().slice(0, 16).replace("T", " ");
}

/** The next runs, each taken as started when it was due. */
function runs(schedule: Schedule, from: string, count: number): string[] {
  const found: string[] = [];
  let lastMs: number | null = null;
  let nowMs = utc(from);
  for (let index = 0; index < count; index++) {
    lastMs = nowMs = nextRun(schedule, lastMs, nowMs, 0);
    found.push(text(nowMs));
  }
  return found;
}

Deno.test("every counts from the start of the last run, and the first is due at once", () => {
  const schedule = make({ everyMs: 15 * MINUTE_MS });
  assertEquals(runs(schedule, "2026-01-01 00:07", 3), [
    "2026-01-01 00:07",
    "2026-01-01 00:22",
    "2026-01-01 00:37",
  ]);
});

Deno.test("runs that were missed are made up for by one, at once", () => {
  const now = utc("2026-01-01 12:00");
  const last = utc("2026-01-01 00:00");
  assertEquals(nextRun(make({ everyMs: HOUR_MS }), last, now, 0), now);
  assertEquals(nextRun(make({ cron: "0 * * * *" }), last, now, 0), now);
  assertEquals(
    nextRun(make({ cron: "0 * * * *" }), now, now + 1, 0),
    utc("2026-01-01 13:00"),
  );
});

Deno.test("a clock that was put back holds up no run", () => {
  const now = utc("2026-01-01 00:00");
  const last = utc("2036-01-01 00:00");
  assertEquals(nextRun(make({ everyMs: HOUR_MS }), last, now, 0), now + HOUR_MS);
  assertEquals(nextRun(make({ cron: "30 * * * *" }), last, now, 0), now + 30 * MINUTE_MS);
});

Deno.test("a cron time of this very minute is due when nothing ran yet", () => {
  assertEquals(runs(make({ cron: "0 2 * * *" }), "2026-01-01 02:00", 2), [
    "2026-01-01 02:00",
    "2026-01-02 02:00",
  ]);
});

Deno.test("what is due outside of the window waits for it, also over midnight", () => {
  const schedule = make({ everyMs: 4 * HOUR_MS, window: "22:00-06:00" });
  assertEquals(runs(schedule, "2026-01-01 12:00", 4), [
    "2026-01-01 22:00",
    "2026-01-02 02:00",
    "2026-01-02 22:00",
    "2026-01-03 02:00",
  ]);
  const noon = make({ cron: "0 12 * * *", window: "22:00-06:00" });
  assertEquals(runs(noon, "2026-01-01 00:00", 2), ["2026-01-01 22:00", "2026-01-02 22:00"]);
});

Deno.test("jitter is added last, and never leads past the end of the window", () => {
  const now = utc("2026-01-01 05:00");
  const open = make({ everyMs: HOUR_MS, jitterMs: 2 * HOUR_MS });
  assertEquals(nextRun(open, null, now, 0.5), utc("2026-01-01 06:00"));
  const narrow = make({ everyMs: HOUR_MS, jitterMs: 2 * HOUR_MS, window: "22:00-06:00" });
  assertEquals(nextRun(narrow, null, now, 0.25), utc("2026-01-01 05:30"));
  assertEquals(nextRun(narrow, null, now, 1), utc("2026-01-01 06:00") - 1);
});

Deno.test("a time that summer time leaves out comes after the gap, and a double one once", () => {
  const berlin = make({ cron: "30 2 * * *", timezone: "Europe/Berlin" });
  assertEquals(runs(berlin, "2026-03-28 00:00", 3), [
    "2026-03-28 01:30",
    "2026-03-29 01:00",
    "2026-03-30 00:30",
  ]);
  assertEquals(runs(berlin, "2026-10-24 00:00", 3), [
    "2026-10-24 00:30",
    "2026-10-25 00:30",
    "2026-10-26 01:30",
  ]);
  const often = make({ cron: "*/30 * * * *", timezone: "Europe/Berlin" });
  assertEquals(runs(often, "2026-10-25 00:00", 4), [
    "2026-10-25 00:00",
    "2026-10-25 00:30",
    "2026-10-25 01:00",
    "2026-10-25 01:30",
  ]);
});

Deno.test("windows begin and end by the clock on the wall, on the days when it is changed too", () => {
  const berlin = (window: string, from: string) => {
    const schedule = make({ everyMs: 20 * HOUR_MS, window, timezone: "Europe/Berlin" });
    return runs(schedule, from, 3);
  };
  // 22:00 is 21:00 UTC in winter and 20:00 UTC in summer.
  assertEquals(berlin("22:00-23:00", "2026-03-28 12:00"), [
    "2026-03-28 21:00",
    "2026-03-29 20:00",
    "2026-03-30 20:00",
  ]);
  // On the day on which there is no such time, there is no such window.
  assertEquals(berlin("02:10-02:50", "2026-03-28 12:00"), [
    "2026-03-30 00:10",
    "2026-03-31 00:10",
    "2026-04-01 00:10",
  ]);
});

const MOMENTS = fc.integer({ min: utc("2024-01-01 00:00"), max: utc("2030-01-01 00:00") });
const EVEN_ZONES = ["UTC", "Asia/Tokyo", "Asia/Kolkata"];
const ZONES = [
  ...EVEN_ZONES,
  "Europe/Berlin",
  "America/New_York",
  "Australia/Lord_Howe",
  "America/St_Johns",
  "Africa/Casablanca",
  "Pacific/Chatham",
];
const WINDOWS = fc.tuple(fc.nat(1439), fc.nat(1439)).filter(([from, to]) => from !== to)
  .map(([fromMinute, toMinute]) => ({ fromMinute, toMinute }));

const SCHEDULES: fc.Arbitrary<Schedule> = fc.record({
  when: fc.oneof(
    fc.integer({ min: 1000, max: 40 * 24 * HOUR_MS }),
    fc.constantFrom("*/15 * * * *", "0 2 * * *", "30 1,2,3 * * sun", "0 0 1 * *", "59 23 29 2 *"),
  ),
  window: fc.option(WINDOWS),
  jitterMs: fc.oneof(fc.constant(0), fc.nat(6 * HOUR_MS)),
  timezone: fc.constantFrom(...ZONES),
}).map(({ when, ...rest }) => ({
  everyMs: typeof when === "number" ? when : null,
  cron: typeof when === "string" ? when : null,
  ...rest,
}));

Deno.test("a run is never in the past, always in the window, and depends on what is given alone", () => {
  fc.assert(
    fc.property(
      SCHEDULES,
      fc.option(MOMENTS),
      MOMENTS,
      fc.double({ min: 0, max: 1, noNaN: true }),
      (schedule, last, now, random) => {
        const at = nextRun(schedule, last, now, random);
        assert(at >= now && Number.isInteger(at));
        const { window, timezone, jitterMs } = schedule;
        if (window !== null) assert(isWithin(window, timezone, at), "outside of the window");
        assertEquals(nextRun(schedule, last, now, random), at);
        const least = nextRun(schedule, last, now, 0);
        assert(least <= at && at <= least + jitterMs, "jitter");
        // Nobody who asks earlier is told to wait longer.
        if (last !== null && last <= now && window === null) {
          assert(nextRun(schedule, last, last, 0) <= least);
        }
      },
    ),
    { numRuns: 300 },
  );
});

Deno.test("where the clock is never changed, a window is what the clock shows", () => {
  fc.assert(
    fc.property(WINDOWS, MOMENTS, fc.constantFrom(...EVEN_ZONES), (window, at, zone) => {
      const clock = new Intl.DateTimeFormat("en-GB", {
        timeZone: zone,
        hour: "2-digit",
        minute: "2-digit",
      }).format(at);
      const minute = Number(clock.slice(0, 2)) * 60 + Number(clock.slice(3));
      const { fromMinute, toMinute } = window;
      const inside = fromMinute < toMinute
        ? minute >= fromMinute && minute < toMinute
        : minute >= fromMinute || minute < toMinute;
      assertEquals(isWithin(window, zone, at), inside, clock);
    }),
    { numRuns: 300 },
  );
});

Deno.test("without a zone it is that of the host", () => {
  const zone = new Intl.DateTimeFormat().resolvedOptions().timeZone;
  const named = make({ cron: "0 2 * * *", timezone: zone, window: "01:00-03:00" });
  const now = utc("2026-06-01 12:34");
  assertEquals(nextRun({ ...named, timezone: null }, null, now, 0), nextRun(named, null, now, 0));
});
