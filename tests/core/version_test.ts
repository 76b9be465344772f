import { assertEquals } from "@std/assert";
import { build, buildText, readStamp, VERSION, versionText } from "../../core/version.ts";

Deno.test("a program that runs from its sources is a development one", () => {
  assertEquals(build(), { commit: null, date: null });
  assertEquals(buildText(), null);
  assertEquals(versionText(), `${VERSION} (development)`);
});

Deno.test("a stamp tells commit and time, and anything else tells nothing", () => {
  const whole = { commit: "1a2b3c4d5e-dirty", date: "2026-01-31T12:00:00Z" };
  assertEquals(readStamp(`${whole.commit} ${whole.date}`), whole);
  assertEquals(versionText(whole), `${VERSION} (1a2b3c4d5e-dirty, 2026-01-31T12:00:00Z)`);
  assertEquals(readStamp("unknown 1970-01-01T00:00:00Z").commit, "unknown");
  for (const stamp of ["", "1a2b3c4d5e", "1a2b3c4 yesterday", "zz 2026-01-31T12:00:00Z"]) {
    assertEquals(readStamp(stamp), { commit: null, date: null }, stamp);
  }
});
