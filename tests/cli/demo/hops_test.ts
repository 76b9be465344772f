import { assert } from "../../../core/assert.ts";
import { assertEquals } from "@std/assert";
import { type Hop, Hops } from "../../../cli/demo/hops.ts";
import { summaryLines } from "../../../cli/demo/summary.ts";
import { paint } from "../../../cli/output.ts";
import { busyLinkStatus, linkStatus, nodeStatus } from "../../io/fixtures.ts";
import { allWell, report } from "../made_up.ts";

const MIB = 1024 * 1024;

/** What metro says of its link to dr2 in a life that began at `startedAt`. */
function metro(startedAt: number, sentBytes: number, runAtMs: number, durable: number) {
  const { schedule, ...busy } = busyLinkStatus();
  assert(schedule !== null && schedule.lastRun !== null, "made up so");
  const lastRun = { ...schedule.lastRun, startedAtMs: runAtMs };
  const link = { ...busy, sentBytes, durable, schedule: { ...schedule, lastRun } };
  return nodeStatus({ name: "metro", role: "intermediate", exports: [], startedAt, links: [link] });
}

function hopTo(hops: Hops, to: string): Hop {
  const hop = hops.all.find((hop) => hop.to === to);
  assert(hop !== undefined, `a hop to ${to}`);
  return hop;
}

Deno.test("what a hop carried is added up over the lives of the node that sent it", () => {
  const hops = new Hops();
  hops.look(report({ ...allWell(), metro: metro(1000, 20 * MIB, 1, 60 * MIB) }));
  hops.look(report({ ...allWell(), metro: metro(1000, 30 * MIB, 2, 90 * MIB) }));
  // It was killed: nobody tells of the link but dr2, which counts what it sends itself.
  const dr2 = nodeStatus({
    name: "dr2",
    role: "secondary",
    lagSeconds: 4,
    links: [linkStatus({ name: "metro-dr2", from: "metro", to: "dr2", sentBytes: 77 })],
  });
  hops.look(report({ ...allWell(), metro: null, dr2 }));
  hops.look(report({ ...allWell(), metro: metro(2000, 10 * MIB, 3, 100 * MIB) }));
  const hop = hopTo(hops, "dr2");
  assertEquals(hop.sentBytes, 40 * MIB);
  assertEquals(hop.logBytes, 100 * MIB);
  assertEquals(hop.deltas, 3);
  assertEquals(hop.savedBytes, 60 * MIB);
  assertEquals(hop.lagSecondsMax, 4);
});

Deno.test("the summary has a line for each link, in 80 columns", () => {
  const hop = { link: "hq-metro", to: "metro", mode: "sync" as const, logBytes: 90 * MIB };
  const result = {
    load: { writes: 7000, bytes: 90 * MIB, flushes: 900, done: true },
    hops: [
      { ...hop, sentBytes: 91 * MIB, deltas: 0, savedBytes: 0, lagSecondsMax: 1.75 },
      {
        ...hop,
        link: "metro-dr2",
        to: "dr2",
        mode: "periodic" as const,
        sentBytes: 36 * MIB,
        deltas: 4,
        savedBytes: 54 * MIB,
        lagSecondsMax: 3.4,
      },
    ],
    killed: "metro" as const,
    reconnects: 0,
    differences: new Map([["metro", null], ["dr2", 4096]] as const),
    seconds: 12.3,
  };
  const lines = summaryLines(result, paint(false), 80);
  for (const line of lines) assert(line.length <= 80, line);
  const text = lines.join("\n");
  assert(text.includes("metro      equal to hq, byte for byte"), text);
  assert(text.includes("dr2        DIFFERS from hq at byte 4096"), text);
  assert(
    text.includes("hq-metro   sync        90MiB    91MiB      -     1.8s  write by write"),
    text,
  );
  assert(text.includes("metro-dr2  periodic    90MiB    36MiB  54MiB     3.4s  in 4 deltas"), text);
  assert(text.includes("dr2 was spared 60% of what was written"), text);
});
