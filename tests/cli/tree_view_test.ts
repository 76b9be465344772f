import { assertEquals } from "@std/assert";
import { treeRemarks } from "../../cli/ui/tree_view.ts";
import type { NodeReport, Report } from "../../cli/report.ts";
import type { TreeStatus } from "../../core/status.ts";
import { fileLines, planLines, reportLines } from "../../cli/tree_text.ts";
import type { TreePlan } from "../../core/tree/tree_report.ts";

const TREE: TreeStatus = {
  primary: "metro",
  reign: 4096,
  parents: { hq: "metro", dr: "metro" },
  isDeclared: false,
  conflict: null,
  isWaiting: false,
  isRejoining: false,
  declared: {},
  chosen: {},
  choice: null,
  moves: { operator: 0, promotion: 0, itself: 0 },
  upstreamSilenceSeconds: null,
  primarySilenceSeconds: null,
};

function reportOf(...trees: TreeStatus[]): Report {
  const nodes = trees.map((tree, i) =>
    ({ node: {}, error: null, status: { name: `n${i}`, tree } }) as unknown as NodeReport
  );
  const declared = new Map([["metro", "hq"], ["dr", "metro"]]);
  return { name: "t", atMs: 0, nodes, links: [], tree: trees[0] ?? null, declared };
}

Deno.test("what differs from the topology is told, and who has not heard of it", () => {
  assertEquals(treeRemarks(reportOf(TREE, { ...TREE, reign: 0, primary: "hq" })), [
    "the tree is not as the topology says: metro is the primary since epoch 4096; fed otherwise: hq by metro",
    "`cascade migrate metro --write` writes what is so into the files",
    "n1: has not heard yet that metro is the primary",
  ]);
  const declared = {
    ...TREE,
    primary: "hq",
    isDeclared: true,
    parents: { metro: "hq", dr: "metro" },
  };
  assertEquals(treeRemarks(reportOf(declared)), []);
  assertEquals(treeRemarks(reportOf({ ...declared, isRejoining: true })), [
    "n0: takes what leads from an abandoned epoch to this one",
  ]);
});

Deno.test("a node that is away from home by its own choice is told of, and differs from no file", () => {
  const choice = {
    ...{ parents: ["metro", "hq"], afterMs: 60_000, by: "itself" as const, since: 1 },
    ...{ reason: "metro was away for 60 s", awaySince: null, candidates: [] },
  };
  const away: TreeStatus = {
    ...TREE,
    ...{ primary: "hq", reign: 0, isDeclared: true, parents: { metro: "hq", dr: "hq" } },
    ...{ chosen: { dr: "metro" } },
  };
  const report = reportOf(away, { ...away, choice });
  const [, dr] = report.nodes;
  Object.assign(dr?.status ?? {}, { name: "dr" });
  assertEquals(treeRemarks(report), [
    "dr: fed by hq by its own choice, until metro is well again (metro was away for 60 s)",
  ]);
  const candidates = [{ name: "hq", reason: "nobody answers", wellSince: null }];
  const stuck = { ...choice, by: "topology" as const, reason: null, awaySince: 5, candidates };
  assertEquals(
    treeRemarks(
      reportOf({ ...away, chosen: {}, parents: { metro: "hq", dr: "metro" }, choice: stuck }),
    ),
    [
      "n0: no other parent can feed it: hq: nobody answers",
    ],
  );
});

Deno.test("a node whose file says otherwise is named, though the command's own is right", () => {
  const tree = { ...TREE, isDeclared: true };
  const report = {
    ...reportOf(tree, { ...TREE }),
    declared: new Map([["hq", "metro"], ["dr", "metro"]]),
  };
  assertEquals(treeRemarks(report), [
    "the topology file of n1 says otherwise: `cascade migrate metro --write` writes what is so into the files",
  ]);
  assertEquals(treeRemarks(reportOf(tree, { ...TREE })).slice(1), [
    "the topology file of n1 says otherwise: `cascade migrate metro --write` writes what is so into the files",
  ]);
});

const PLAN: TreePlan = {
  node: "metro",
  primary: "hq",
  isPrimaryReachable: false,
  furthest: "dr",
  fetchBytes: 2048,
  lostBytes: 1048576,
  lostSeconds: 2,
  heardSecondsAgo: 65,
  blocked: null,
  nodes: [
    {
      name: "hq",
      isReachable: false,
      reason: "gone",
      endLsn: null,
      behindBytes: null,
      behindSeconds: null,
      from: null,
      to: "metro",
    },
    {
      name: "metro",
      isReachable: true,
      reason: null,
      endLsn: 4096,
      behindBytes: 2048,
      behindSeconds: 3,
      from: "hq",
      to: null,
    },
  ],
};

Deno.test("a plan says what is lost, what is fetched, and who follows whom", () => {
  const order = { order: "promote", dryRun: true, force: false, at: null } as const;
  const report = { plan: PLAN, reparent: null, isDone: false, lsn: null, durationMs: 1 };
  assertEquals(planLines(report, order), [
    "metro would be the primary in place of hq.",
    "Lost: 1MiB (2s) that hq had, and whatever hq wrote since it was heard last, 1m5s ago.",
    "dr is furthest ahead: 2KiB are fetched from it first.",
    "",
    "NODE   LOG END    BEHIND  FED BY",
    "hq           ?         ?  (primary) -> metro, once it is back  gone",
    "metro     4096  2KiB, 3s  hq -> (primary)",
  ]);
  const done = { ...report, isDone: true, lsn: 4096, durationMs: 30 };
  assertEquals(reportLines(done, { order: "migrate", dryRun: false, timeoutMs: 1 }, "metro"), [
    "metro is the primary from LSN 4096 on, in 30ms; nothing was lost. hq follows it now.",
  ]);
});

Deno.test("what became of each topology file is a line", () => {
  const nothing = { file: null, before: null, reason: null };
  assertEquals(
    fileLines([
      { ...nothing, node: "hq", outcome: "unreachable", reason: "nobody answers" },
      {
        ...nothing,
        node: "metro",
        outcome: "written",
        file: "/etc/t.yaml",
        before: "/etc/t.yaml.before",
      },
      {
        ...nothing,
        node: "dr",
        outcome: "failed",
        file: "/etc/t.yaml",
        reason: "the disk is full",
      },
      { ...nothing, node: null, outcome: "unchanged", file: "/root/t.yaml" },
    ]),
    [
      "hq: not reached: nobody answers",
      "metro: written: /etc/t.yaml (as it was: /etc/t.yaml.before)",
      "dr: not written: /etc/t.yaml: the disk is full",
      "here: says so already: /root/t.yaml",
    ],
  );
});
