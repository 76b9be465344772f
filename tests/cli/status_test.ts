import { assert, assertEquals } from "@std/assert";
import type { NodeStatus } from "../../core/status.ts";
import { jsonOf, type Report, verdictOf } from "../../cli/report.ts";
import { paint } from "../../cli/output.ts";
import { LivePicture } from "../../cli/ui/live.ts";
import { statusView } from "../../cli/ui/status_view.ts";
import { busyLinkStatus, linkStatus, nodeStatus } from "../io/fixtures.ts";
import { allWell, report, type Statuses } from "./made_up.ts";

function view(report: Report, width = 200, previous: Report | null = null): string[] {
  return statusView(report, { width, paint: paint(false), previous });
}

/** The cells of the row that begins with this name. */
function cells(lines: readonly string[], name: string): string[] {
  const line = lines.find((line) => line.replace(/^[ │├└─]*/, "").startsWith(`${name} `));
  return (line ?? "").replace(/^[ │├└─]*/, "").split(/ {2,}/);
}

Deno.test("a cascade that is well is drawn as a tree of nodes and a table of links", () => {
  assertEquals(view(report(allWell()), 120), [
    "payroll: all well  4 of 4 nodes answer, epoch 3, 22:14:50Z",
    "",
    "NODE       ROLE          STATE            LAG     AGE  DURABLE  APPLIED              LOG  CLIENTS",
    "hq         primary       running            -       -     1MiB     1MiB     64MiB/256MiB        1",
    "└─ metro   intermediate  running           0B      0s     1MiB     1MiB     64MiB/256MiB        -",
    "   ├─ dr1  secondary     running           0B      0s     1MiB     1MiB     64MiB/256MiB        -",
    "   └─ dr2  secondary     running           0B      0s     1MiB     1MiB     64MiB/256MiB        -",
    "",
    "LINK       MODE   STATE             LAG     AGE  RECEIVED  DURABLE  APPLIED   SINCE",
    "hq-metro   sync   streaming          0B      0s      1MiB     1MiB     1MiB   1m30s",
    "metro-dr1  async  streaming          0B      0s      1MiB     1MiB     1MiB   1m30s",
    "metro-dr2  async  streaming          0B      0s      1MiB     1MiB     1MiB   1m30s",
  ]);
});

Deno.test("rates come from two reports, by the clock of each node", () => {
  const before = allWell();
  const { hq, metro, ...rest } = allWell();
  const at = 3 * 1024 * 1024;
  const lsn = { ...hq.lsn, appended: at, durable: at };
  const link = linkStatus({ durable: at });
  const counters = { ...hq.counters, writes: hq.counters.writes + 25_000 };
  const now: Statuses = {
    ...rest,
    hq: { ...hq, lsn, counters, nowMs: hq.nowMs + 2000, links: [link] },
    // Started again in between, and its clock was set back: nothing can be said of its rate.
    metro: { ...metro, nowMs: metro.nowMs - 5000, startedAt: metro.nowMs - 6000 },
  };
  const lines = view(report(now), 200, report(before));
  assertEquals(cells(lines, "hq").slice(-2), ["1MiB/s", "12.5k/s"]);
  assertEquals(cells(lines, "metro").slice(-2), ["?", "-"]);
  assertEquals(cells(lines, "hq-metro").at(-1), "1MiB/s");
  assertEquals(cells(lines, "metro-dr1").at(-1), "?");
});

Deno.test("an unreachable node is shown with what those above know of it", () => {
  const { hq, dr1 } = allWell();
  const behind = linkStatus({
    name: "metro-dr2",
    from: "metro",
    to: "dr2",
    mode: "async",
    lagBytes: 4096,
    lagSeconds: 1.5,
    durable: 2048,
    applied: 1024,
  });
  const lines = view(
    report({ hq: { ...hq, links: [linkStatus({ state: "degraded" }), behind] }, dr1 }),
  );
  assertEquals(cells(lines, "dr2").slice(1, 7), [
    "secondary",
    "unreachable",
    "4KiB",
    "2s",
    "2KiB",
    "1KiB",
  ]);
  assertEquals(lines[0]!.split("  ")[0], "payroll: 3 to look at");
  assert(lines.includes("dr2: unreachable: nobody answers"), lines.join("\n"));
});

Deno.test("the upstream end of a link is believed before the downstream end and hearsay", () => {
  const states = (names: readonly string[]) => {
    const all = allWell();
    const own = (state: "streaming" | "degraded" | "connecting") => [linkStatus({ state })];
    const told = {
      dr1: { ...all.dr1, links: own("connecting") },
      metro: { ...all.metro, links: own("degraded") },
      hq: { ...all.hq, links: own("streaming") },
    };
    const statuses = Object.fromEntries(
      Object.entries(told).filter(([name]) => names.includes(name)),
    );
    return report(statuses).links[0]?.status?.state ?? null;
  };
  assertEquals(states(["hq", "metro", "dr1"]), "streaming");
  assertEquals(states(["metro", "dr1"]), "degraded");
  assertEquals(states(["dr1"]), "connecting");
  assertEquals(states([]), null);
});

Deno.test("no line is wider than the terminal, and the names and states stay", () => {
  const troubled = report({
    ...allWell(),
    dr1: null,
    dr2: nodeStatus({ name: "dr2", state: "failed", reason: "the disk broke ".repeat(20) }),
  });
  for (let width = 1; width <= 160; width++) {
    const lines = view(troubled, width, troubled);
    for (const line of lines) assert(line.length <= width, `${width}: ${line}`);
    if (width < 40) continue;
    assert(cells(lines, "hq").includes("running"), lines.join("\n"));
    assert(cells(lines, "metro-dr1").includes("streaming"), lines.join("\n"));
  }
});

Deno.test("colour changes nothing but colour", () => {
  const mixed = report({ ...allWell(), dr1: null });
  const options = { width: 100, previous: mixed };
  const painted = statusView(mixed, { ...options, paint: paint(true) });
  assert(painted.some((line) => line.includes("\x1b[31m")));
  // deno-lint-ignore no-control-regex -- that is what is taken out
  const plain = painted.map((line) => line.replace(/\x1b\[\d+m/g, "").trimEnd());
  assertEquals(plain, statusView(mixed, { ...options, paint: paint(false) }));
});

Deno.test("what a peer sent as a reason cannot act on the terminal", () => {
  const evil = nodeStatus({ state: "failed", reason: "x\x1b[2J\r\nall well" });
  const text = view(report({ ...allWell(), hq: evil })).join("");
  // deno-lint-ignore no-control-regex -- those are what must not be there
  assert(!/[\x00-\x1f]/.test(text), text);
});

Deno.test("the exit code tells all well, something to look at, and nobody there", () => {
  const well = allWell();
  const link = (state: "degraded" | "disconnected" | "overflowed" | "refused" | "paused") => ({
    ...well,
    hq: { ...well.hq, links: [linkStatus({ state })] },
  });
  const runs = (failures: number, reason: string | null) => ({
    ...well,
    metro: { ...well.metro, links: [failing(failures, reason)] },
  });
  const dueFor = (ms: number) => {
    const schedule = { nextRunAtMs: well.metro.nowMs - ms, lastRun: null, failures: 0 };
    const link = busyLinkStatus({ state: "streaming", delta: null, schedule });
    return { ...well, metro: { ...well.metro, links: [link] } };
  };
  const cases: [Statuses, number][] = [
    [well, 0],
    [{ ...well, dr1: null }, 1],
    [{}, 4],
    [{ ...well, dr1: nodeStatus({ name: "dr1", consistent: false }) }, 1],
    [{ ...well, dr1: nodeStatus({ name: "dr1", state: "failed" }) }, 1],
    [{ ...well, dr1: nodeStatus({ name: "dr1", state: "abandoned-tail" }) }, 1],
    [{ ...well, dr1: nodeStatus({ name: "dr1", reason: "no room" }) }, 1],
    [{ ...well, dr1: nodeStatus({ name: "dr1", state: "starting" }) }, 0],
    [{ ...well, dr1: nodeStatus({ name: "dr1", state: "draining" }) }, 0],
    [link("degraded"), 1],
    [link("disconnected"), 1],
    [link("overflowed"), 1],
    [link("refused"), 1],
    [link("paused"), 0],
    [runs(0, null), 0],
    [runs(2, "the peer has no room"), 1],
    [dueFor(59_000), 0],
    [dueFor(61_000), 1],
    [{ ...well, dr1: inconsistent(null) }, 1],
  ];
  for (const [statuses, code] of cases) assertEquals(verdictOf(report(statuses)), code);
});

function failing(failures: number, reason: string | null) {
  const { schedule } = busyLinkStatus();
  const lastRun = schedule?.lastRun ?? null;
  if (lastRun === null) throw new Error("the fixture has a last run");
  const outcome = failures === 0 ? "done" : "failed";
  const run = { ...lastRun, outcome, reason } as const;
  return busyLinkStatus({ schedule: { nextRunAtMs: null, lastRun: run, failures } });
}

function inconsistent(lsn: number | null) {
  const reason = "a delta is applied in place";
  return nodeStatus({ name: "dr1", consistent: false, inconsistentUntil: { lsn, reason } });
}

Deno.test("runs, deltas and maps of periodic links are shown, and troubles with them said", () => {
  const well = allWell();
  const lines = view(
    report({ ...well, metro: { ...well.metro, links: [busyLinkStatus()] }, dr1: inconsistent(9) }),
    120,
  );
  assertEquals(lines.slice(7), [
    "",
    "LINK       MODE   STATE             LAG     AGE    NEXT  RECEIVED  DURABLE  APPLIED   SINCE",
    "hq-metro   sync   streaming          0B      0s       -      1MiB     1MiB     1MiB   1m30s",
    "metro-dr1  async  streaming          0B      0s       -      1MiB     1MiB     1MiB   1m30s",
    "metro-dr2  async  delta 42%          0B      0s     now      1MiB     1MiB     1MiB   1m30s",
    "",
    "dr1: inconsistent until LSN 9: a delta is applied in place",
    "metro-dr2: delta of 0.98GiB: shipping, 42%, for 30s now",
    "metro-dr2: last run 1m ago: sent 12MiB of 80MiB written, in 3s",
    "metro-dr2: 7MiB changed since it overflowed",
    "metro-dr2: at most 20MiB/s, zstd 1 at 4.00 to 1 (300MiB spared), held up for 7s, round trip 99ms",
  ]);
  const failed = report({ ...well, metro: { ...well.metro, links: [failing(2, "no room")] } });
  assert(view(failed).includes("metro-dr2: the last 2 runs failed: no room"));
  const waiting = busyLinkStatus({ delta: null, mapBytes: null, state: "streaming" });
  const between = report({ ...well, metro: { ...well.metro, links: [waiting] } });
  assertEquals(cells(view(between), "metro-dr2")[5], "15m");
});

Deno.test("scans are shown while they run and after, and one that failed is a trouble", () => {
  const well = allWell();
  const { nowMs } = well.hq;
  const last = {
    ...{ startedAtMs: nowMs - 65_000, endedAtMs: nowMs - 60_000, lsn: 4096 },
    ...{ readBytes: 1024 ** 3, changedBytes: 10 * 1024 ** 2 },
  };
  const idle = {
    ...{ state: "idle" as const, startedAtMs: null, bytesTotal: 4 * 1024 ** 3, bytesDone: 0 },
    ...{ last, reason: null },
  };
  const show = (scan: NodeStatus["scan"]) => report({ ...well, hq: { ...well.hq, scan } });
  const lastText = "hq: last scan 1m ago: 10MiB changed of 1GiB read, in 5s";
  assertEquals(view(show(idle)).at(-1), lastText);
  const running = { ...idle, state: "scanning" as const, startedAtMs: nowMs - 2_000 };
  assertEquals(
    view(show({ ...running, bytesDone: 1024 ** 3 })).at(-1),
    "hq: scans 4GiB: 25%, for 2s now",
  );
  assertEquals(
    view(show({ ...idle, last: null })).at(-1),
    "hq: not scanned yet: `cascade sync` does",
  );
  const failed = show({ ...idle, reason: "beforeScan ended with 1" });
  assertEquals(view(failed).slice(-2), [
    "hq: the last scan failed: beforeScan ended with 1",
    lastText,
  ]);
  assertEquals(verdictOf(failed), 1);
});

Deno.test("the JSON document has the statuses as they came, and who did not answer", () => {
  const { hq } = allWell();
  const document = jsonOf(report({ hq }));
  assertEquals(document.nodes, [hq]);
  assertEquals(document.unreachable[0], {
    name: "metro",
    admin: "http://127.0.0.1:7432",
    reason: "nobody answers",
  });
  assertEquals(document.unreachable.length, 3);
});

Deno.test("a live picture is drawn over the one before, and fits the screen", () => {
  let written = "";
  let rows = 10;
  const picture = new LivePicture({
    write: (text) => written += text,
    size: () => ({ columns: 80, rows }),
  });
  const drawn = (lines: readonly string[]) => {
    written = "";
    picture.draw(lines);
    return written;
  };
  assert(!drawn(["a", "b", "c"]).includes("\x1b[3A"));
  assert(drawn(["a"]).includes("\x1b[3A\r"));
  assert(drawn(["a", "b"]).includes("\x1b[1A\r"));
  rows = 3;
  assertEquals(drawn(["a", "b", "c", "d"]).split("\r\n").length - 1, 2);
  written = "";
  picture.end();
  picture.end();
  assertEquals(written, "\x1b[?25h");
});
