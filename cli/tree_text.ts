/**
 * What the commands that change the tree print: pure.
 *
 * @module
 */
import { approximateDuration, approximateSize } from "../core/topology/units.ts";
import type { Order } from "../core/tree/asks.ts";
import type { FileReport } from "../core/tree/file_report.ts";
import type { PlanNode, ReparentReport, TreePlan, TreeReport } from "../core/tree/tree_report.ts";
import { conflictLines } from "./ui/conflict_view.ts";
import { type Cell, type Column, drawTable } from "./ui/table.ts";

const WIDTH = 120;

/** What would follow. */
export function planLines(
  { plan, reparent, conflict }: TreeReport,
  order: Order,
  dirs: ReadonlyMap<string, string> = new Map(),
): string[] {
  if (reparent !== null) return [reparentLine(reparent)];
  if (conflict !== undefined) {
    const blocked = plan?.blocked ?? null;
    return [
      ...conflictLines(conflict, dirs, false),
      ...(blocked === null ? [] : ["", `It would not be done: ${blocked}.`]),
    ];
  }
  if (plan === null) return ["Nothing would change."];
  const lines = [...headLines(plan, order), "", ...nodeLines(plan)];
  if (plan.blocked !== null) lines.push("", `It would not be done: ${plan.blocked}.`);
  return lines;
}

/** What was done. */
export function reportLines(
  report: TreeReport,
  order: Order,
  node: string,
  dirs: ReadonlyMap<string, string> = new Map(),
): string[] {
  const { plan, reparent, lsn, durationMs } = report;
  if (reparent !== null) return [reparentLine(reparent)];
  const took = `in ${approximateDuration(durationMs)}`;
  const where = lsn === null ? "" : ` from LSN ${lsn} on`;
  if (order.order === "migrate") {
    return plan === null ? [`${node} is the primary already.`] : [
      `${node} is the primary${where}, ${took}; nothing was lost. ${plan.primary} follows it now.`,
    ];
  }
  if (order.order === "resolve" && plan === null) {
    return [`${node} is the primary already, and knows of no conflict.`];
  }
  const { conflict } = report;
  if (conflict !== undefined) {
    return [
      ...[`${node} is the primary${where}, ${took}; all follow it.`, ""],
      ...conflictLines(conflict, dirs, true),
    ];
  }
  const lost = plan === null ? [] : [...lossLines(plan), ...pastLines(plan)];
  return [`${node} is the primary${where}, ${took}.`, ...(plan?.primary === node ? [] : lost)];
}

/** What became of the topology files, a line for each. */
export function fileLines(files: readonly FileReport[]): string[] {
  return files.map(({ node, outcome, file, before, reason }) => {
    const path = file === null ? "" : ` ${file}`;
    const whose = `${node ?? "here"}:`;
    if (outcome === "written") {
      return `${whose} written:${path}${before === null ? "" : ` (as it was: ${before})`}`;
    }
    if (outcome === "unchanged") return `${whose} says so already:${path}`;
    const what = outcome === "unreachable" ? "not reached" : "not written";
    return `${whose} ${what}:${path === "" ? "" : `${path}:`} ${reason ?? "it is not known why"}`;
  });
}

function headLines(plan: TreePlan, order: Order): string[] {
  if (order.order === "migrate") {
    return [`${plan.node} would take over from ${plan.primary}, with nothing lost.`];
  }
  const fetched = plan.fetchBytes === 0 ? [] : [
    `${plan.furthest} is furthest ahead: ${
      approximateSize(plan.fetchBytes)
    } are fetched from it first.`,
  ];
  return [
    `${plan.node} would be the primary in place of ${plan.primary}.`,
    ...lossLines(plan),
    ...pastLines(plan),
    ...fetched,
  ];
}

function lossLines({ lostBytes, lostSeconds, heardSecondsAgo, primary }: TreePlan): string[] {
  if (lostBytes === null || heardSecondsAgo === null) {
    return [`How much is lost is not known: nobody has heard of ${primary} since it started.`];
  }
  const ago = approximateDuration(heardSecondsAgo * 1000);
  const since = heardSecondsAgo < 1
    ? ""
    : `, and whatever ${primary} wrote since it was heard last, ${ago} ago`;
  if (lostBytes === 0) {
    return [`Lost: nothing that is known of${since}.`];
  }
  const seconds = lostSeconds === null ? "" : ` (${approximateDuration(lostSeconds * 1000)})`;
  return [`Lost: ${approximateSize(lostBytes)}${seconds} that ${primary} had${since}.`];
}

/** What a promotion as of an earlier moment leaves behind is not gone. */
function pastLines({ node, asOfLsn, keptBytes = 0 }: TreePlan): string[] {
  if (asOfLsn === undefined || keptBytes === 0) return [];
  const size = approximateSize(keptBytes);
  return [`All beyond LSN ${asOfLsn} is left behind, as ordered: ${node} keeps ${size} of it.`];
}

const COLUMNS: readonly Column[] = [
  { title: "NODE", align: "left", rank: 0 },
  { title: "LOG END", align: "right", rank: 0 },
  { title: "BEHIND", align: "right", rank: 0 },
  { title: "FED BY", align: "left", rank: 0 },
  { title: "", align: "left", rank: 0 },
];

function nodeLines({ nodes }: TreePlan): string[] {
  const rows = nodes.map((node): Cell[] => [
    { text: node.name },
    { text: node.endLsn === null ? "?" : String(node.endLsn) },
    { text: behindText(node) },
    { text: fedText(node) },
    { text: node.reason ?? "" },
  ]);
  return drawTable(COLUMNS, rows, WIDTH, (text) => text);
}

function behindText({ behindBytes, behindSeconds }: PlanNode): string {
  if (behindBytes === null) return "?";
  if (behindBytes === 0) return "-";
  const seconds = behindSeconds === null ? "" : `, ${approximateDuration(behindSeconds * 1000)}`;
  return `${approximateSize(behindBytes)}${seconds}`;
}

function fedText({ from, to, isReachable }: PlanNode): string {
  const now = from ?? "(primary)";
  const then = to ?? "(primary)";
  if (now === then) return now;
  return `${now} -> ${then}${isReachable ? "" : ", once it is back"}`;
}

const MEANS: Readonly<Record<ReparentReport["by"], string>> = {
  nothing: "it has all",
  log: "from the log, record by record",
  delta: "by a delta that is kept there",
  map: "by the blocks that were touched since",
  all:
    "by all blocks that differ, compared by their hashes: what was touched since is not known any more",
};

function reparentLine({ node, from, to, by, bytes, isDone }: ReparentReport): string {
  if (from === to) return `${node} is fed by ${to} already.`;
  const least = by === "all" ? "at most" : "about";
  const size = by === "nothing" ? "" : `, ${least} ${approximateSize(bytes)}`;
  return `${node} ${isDone ? "is" : "would be"} fed by ${to} instead of ${from ?? "nobody"}: ${
    MEANS[by]
  }${size}.`;
}
