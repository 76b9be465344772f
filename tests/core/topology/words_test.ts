import { assert, assertEquals } from "@std/assert";
import {
  formatEndpoint,
  isLoopback,
  parseAdminUrl,
  parseStreamAddress,
} from "../../../core/topology/address.ts";
import {
  formatWindow,
  isCron,
  parseWindow,
  timezoneExpected,
} from "../../../core/topology/cron.ts";
import { nearest } from "../../../core/topology/nearest.ts";
import { outageBridgedMs } from "../../../core/topology/outage.ts";
import { isInside, resolvePath } from "../../../core/topology/paths.ts";

Deno.test("the nearest word is found for a slip, and none for another word", () => {
  const words = ["primary", "intermediate", "secondary", "sync", "async", "mode", "to"];
  const cases: [string, string | null][] = [
    ["primry", "primary"],
    ["Secondary", "secondary"],
    ["asnyc", "async"],
    ["mdoe", "mode"],
    ["synk", "sync"],
    ["replica", null],
    ["x", null],
    ["", null],
    ["p".repeat(1000), null],
  ];
  for (const [word, meant] of cases) assertEquals(nearest(word, words), meant, word);
});

Deno.test("addresses are taken apart, put in full, or refused", () => {
  const cases: [string, string | null][] = [
    ["tcp://10.0.0.1:7420", "tcp://10.0.0.1:7420"],
    ["tcp://HQ.example:7420/", "tcp://hq.example:7420"],
    ["tcp://[::1]:7420", "tcp://[::1]:7420"],
    ["tls://a:1", "tls://a:1"],
    ["unix:hq.sock", "unix:/srv/hq.sock"],
    ["unix:/run/hq.sock", "unix:/run/hq.sock"],
    ["unix:///run/hq.sock", "unix:/run/hq.sock"],
    ["unix:", null],
    ["unix:/run/", null],
    ["tcp://::1:7420", null],
    ["tcp://a", null],
    ["tcp://a:70000", null],
    ["tcp://a:1/path", null],
    ["tcp://user@a:1", null],
    ["http://a:1", null],
    ["a:1", null],
    ["", null],
  ];
  for (const [text, full] of cases) {
    const result = parseStreamAddress(text);
    assertEquals(result.ok ? formatEndpoint(result.endpoint, "/srv") : null, full, text);
  }
  assertEquals(parseAdminUrl("http://127.0.0.1:7421/").ok, true);
  assertEquals(parseAdminUrl("http://127.0.0.1:7421/status").ok, false);
  assertEquals(parseAdminUrl("unix:/run/admin").ok, true);
});

Deno.test("loopback is what other machines cannot reach", () => {
  const hosts = ["127.0.0.1", "127.9.9.9", "::1", "localhost"];
  assertEquals(hosts.map(isLoopback), [true, true, true, true]);
  const open = [
    "0.0.0.0",
    "::",
    "10.0.0.1",
    "localhost.example",
    "127.0.0.1.example",
    "1127.0.0.1",
  ];
  assertEquals(open.map(isLoopback), open.map(() => false));
});

Deno.test("cron times and windows are told from typing mistakes", () => {
  const good = [
    "* * * * *",
    "*/15 0-6 1,15 jan-mar sun",
    "0 22 * * 1-5/2",
    "59 23 31 12 7",
    "0 0 29 2 *",
  ];
  const bad = [
    "",
    "* * * *",
    "60 * * * *",
    "* 24 * * *",
    "* * 0 * *",
    "5-1 * * * *",
    "*/0 * * * *",
    "0 0 30 2 *",
    "0 0 0 * * *",
    "@daily",
    "x".repeat(1000),
  ];
  assertEquals(good.filter((text) => !isCron(text)), []);
  assertEquals(bad.filter(isCron), []);
  const windows = ["22:00-06:00", "00:00 - 23:59"].map(parseWindow);
  assertEquals(windows, [{ fromMinute: 1320, toMinute: 360 }, { fromMinute: 0, toMinute: 1439 }]);
  assertEquals(windows.map((window) => window && formatWindow(window)), [
    "22:00-06:00",
    "00:00-23:59",
  ]);
  for (const text of ["22-6", "24:00-01:00", "06:00-06:00", "6:00-7:00"]) {
    assertEquals(parseWindow(text), null, text);
  }
  assertEquals(["UTC", "Europe/Berlin"].map(timezoneExpected), [null, null]);
  for (const text of ["Mars/Base", "", "x".repeat(1000)]) assert(timezoneExpected(text) !== null);
});

Deno.test("paths are resolved from the file's folder, and compared whole", () => {
  assertEquals(resolvePath("/srv", "./a/../b//c/."), "/srv/b/c");
  assertEquals(resolvePath("/srv", "/abs/./x"), "/abs/x");
  assertEquals(resolvePath("/srv", "../../../x"), "/x");
  assertEquals(isInside("/srv/hq/dr", "/srv/hq"), true);
  assertEquals(isInside("/srv/hq2", "/srv/hq"), false);
  assertEquals(isInside("/srv/hq", "/srv/hq"), false);
  assertEquals(isInside("/srv", "/"), true);
});

Deno.test("an outage is bridged in proportion to the budget, and for ever without writes", () => {
  const log = { budgetBytes: 1024 ** 3, segmentBytes: 64 * 1024 ** 2 };
  const atTen = outageBridgedMs(log, 10 * 1024 ** 2);
  assertEquals(outageBridgedMs(log, 20 * 1024 ** 2) * 2, atTen);
  assertEquals(Math.round(atTen / 1000), 88);
  assertEquals(outageBridgedMs(log, 0), Infinity);
});
