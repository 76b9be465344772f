import { assertEquals, assertThrows } from "@std/assert";
import { parseSyncReport, SYNC_OUTCOMES } from "../../core/sync_report.ts";

const LINK = {
  link: "hq-dr",
  outcome: "done",
  fromLsn: 0,
  toLsn: 160,
  logBytes: 160,
  deltaBytes: 80,
  sentBytes: 90,
  durationMs: 1.5,
  reason: null,
};

Deno.test("a report is read as it was sent, without what a later version adds", () => {
  assertEquals(parseSyncReport({ links: [] }), { links: [] });
  const links = SYNC_OUTCOMES.map((outcome) => ({
    ...LINK,
    outcome,
    fromLsn: null,
    toLsn: null,
    reason: "why",
  }));
  assertEquals(parseSyncReport({ links }), { links });
  const later = { links: [{ ...LINK, colour: "blue" }], took: 3 };
  assertEquals(parseSyncReport(JSON.parse(JSON.stringify(later))) as unknown, { links: [LINK] });
});

const WRONG: Record<string, unknown> = {
  nothing: null,
  "a word": "links",
  "no list": { links: {} },
  "a link that is none": { links: [null] },
  "a link without a name": { links: [{ ...LINK, link: undefined }] },
  "an unknown outcome": { links: [{ ...LINK, outcome: "lost" }] },
  "an LSN below zero": { links: [{ ...LINK, fromLsn: -1 }] },
  "half a byte": { links: [{ ...LINK, sentBytes: 0.5 }] },
  "a time below zero": { links: [{ ...LINK, durationMs: -1 }] },
  "a reason that is a number": { links: [{ ...LINK, reason: 4 }] },
};

for (const [name, value] of Object.entries(WRONG)) {
  Deno.test(`no report: ${name}`, () => {
    assertThrows(() => parseSyncReport(value), TypeError, "a sync report");
  });
}
