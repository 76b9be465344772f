import { assertEquals } from "@std/assert";
import type { Schedule } from "../../../core/config.ts";
import { calendarOf } from "../../../core/systemd/calendar.ts";

const NONE: Schedule = { everyMs: null, cron: null, window: null, jitterMs: 0, timezone: null };

Deno.test("a time of cron is said as a calendar event that means the same", () => {
  const cases: readonly (readonly [cron: string, events: readonly string[] | null])[] = [
    ["0 2 * * *", ["*-*-* 02:00:00"]],
    ["*/15 * * * *", ["*-*-* *:00,15,30,45:00"]],
    ["* * * * *", ["*-*-* *:*:00"]],
    ["5/20 8-10 * * *", ["*-*-* 08,09,10:05,25,45:00"]],
    ["30 6 * * 1-5", ["Mon,Tue,Wed,Thu,Fri *-*-* 06:30:00"]],
    ["0 0 * * 0", ["Sun *-*-* 00:00:00"]],
    ["0 0 * * 7", ["Sun *-*-* 00:00:00"]],
    ["0 0 * * sun,Sat", ["Sun,Sat *-*-* 00:00:00"]],
    ["0 0 * * 0-7", ["*-*-* 00:00:00"]],
    ["0 0 1 JAN-mar *", ["*-01,02,03-01 00:00:00"]],
    // Either of two days will do, also where one of them means all.
    ["0 0 1,15 * MON", ["*-*-01,15 00:00:00", "Mon *-*-* 00:00:00"]],
    ["0 0 1-31 * MON", ["*-*-* 00:00:00", "Mon *-*-* 00:00:00"]],
    ["0 0 L * *", null],
    ["0 0 * * 5#2", null],
    ["0 0 15W * *", null],
    ["60 0 * * *", null],
    ["9-3 0 * * *", null],
    ["*/0 0 * * *", null],
    ["0 0 * *", null],
  ];
  for (const [cron, events] of cases) {
    assertEquals(calendarOf({ ...NONE, cron }), events === null ? null : [...events], cron);
  }
});

Deno.test("an interval is said where it goes up in the clock", () => {
  const SECOND = 1000;
  const [minute, hour] = [60 * SECOND, 3600 * SECOND];
  const cases: readonly (readonly [everyMs: number, events: readonly string[] | null])[] = [
    [10 * SECOND, ["*-*-* *:*:0/10"]],
    [7 * SECOND, null],
    [minute, ["*-*-* *:0/1:00"]],
    [15 * minute, ["*-*-* *:0/15:00"]],
    [90 * SECOND, null],
    [45 * minute, null],
    [hour, ["*-*-* 0/1:00:00"]],
    [6 * hour, ["*-*-* 0/6:00:00"]],
    [5 * hour, null],
    [24 * hour, ["*-*-* 00:00:00"]],
    [7 * 24 * hour, ["Mon *-*-* 00:00:00"]],
    [48 * hour, null],
    [500, null],
  ];
  for (const [everyMs, events] of cases) {
    assertEquals(
      calendarOf({ ...NONE, everyMs }),
      events === null ? null : [...events],
      `${everyMs}`,
    );
  }
});

Deno.test("the zone of a schedule goes along, and one with a window cannot be said", () => {
  const nightly = { ...NONE, cron: "0 2 * * *", timezone: "Europe/Berlin" };
  assertEquals(calendarOf(nightly), ["*-*-* 02:00:00 Europe/Berlin"]);
  const window = { fromMinute: 0, toMinute: 60 } as unknown as NonNullable<Schedule["window"]>;
  assertEquals(calendarOf({ ...nightly, window }), null);
});
