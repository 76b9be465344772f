/**
 * The status of a cascade as lines of text: a pure function of two reports (for rates), a width and
 * paint.
 *
 * @module
 */
import type { LinkState, NodeStatus } from "../../core/status.ts";
import { approximateDuration, approximateSize } from "../../core/topology/units.ts";
import { escapeControls } from "../../io/journal.ts";
import type { Paint } from "../output.ts";
import {
  ailments,
  certificateEnds,
  isBadState,
  type LinkReport,
  type NodeReport,
  type Report,
} from "../report.ts";
import { conflictOf } from "./conflict_view.ts";
import { applyRemarks } from "./apply_view.ts";
import { nextRunText, runRemarks, stateText } from "./run_view.ts";
import { lineRemarks } from "./line_view.ts";
import { scanRemarks } from "./scan_view.ts";
import { treeRemarks } from "./tree_view.ts";
import { type Cell, clip, type Column, drawTable } from "./table.ts";

/** How it is drawn. */
export interface ViewOptions {
  /** Columns of the terminal. */
  readonly width: number;
  readonly paint: Paint;
  /** Rates need an earlier report; without one their columns are left out. */
  readonly previous: Report | null;
}

/** Draws a report, each line at most as wide as asked. */
export function statusView(report: Report, { width, paint, previous }: ViewOptions): string[] {
  const troubles = ailments(report);
  const notes = [...troubles, ...remarks(report)];
  return [
    headline(report, troubles.length, paint, width),
    "",
    ...nodeTable(report, previous, paint, width),
    ...(report.links.length === 0 ? [] : ["", ...linkTable(report, previous, paint, width)]),
    ...conflictTable(report, width),
    ...(notes.length === 0 ? [] : [""]),
    ...notes.map((note, index) => {
      const line = clip(escapeControls(note), width);
      return index < troubles.length ? paint.red(line) : paint.dim(line);
    }),
  ];
}

function conflictTable(report: Report, width: number): string[] {
  const lines = conflictOf(report.nodes.flatMap(({ status }) => status === null ? [] : [status]));
  return lines.length === 0 ? [] : ["", ...lines.map((line) => clip(escapeControls(line), width))];
}

function headline(report: Report, troubles: number, paint: Paint, width: number): string {
  const reached = report.nodes.filter(({ status }) => status !== null);
  const epochs = reached.map(({ status }) => status?.epoch?.number ?? 0);
  const time = new Date(report.atMs).toISOString().slice(11, 19);
  const parts = [
    `${reached.length} of ${report.nodes.length} nodes answer`,
    ...(Math.max(0, ...epochs) > 0 ? [`epoch ${Math.max(...epochs)}`] : []),
    `${time}Z`,
  ];
  const verdict = troubles === 0 ? "all well" : `${troubles} to look at`;
  const text = `${report.name}: ${verdict}`;
  const rest = clip(`  ${parts.join(", ")}`, Math.max(0, width - text.length));
  const name = clip(text, width);
  const shown = troubles === 0 ? paint.green(name) : paint.red(name);
  return paint.bold(shown) + paint.dim(rest);
}

/** `9.99MiB`, `99.9MiB`, `999MiB`; `12m30s`; `9.99MiB/s`. */
const SIZE_WIDTH = 7;
const AGE_WIDTH = 6;
const RATE_WIDTH = 9;

const NODE_COLUMNS: readonly Column[] = [
  { title: "NODE", align: "left", rank: 0 },
  { title: "ROLE", align: "left", rank: 6 },
  { title: "STATE", align: "left", rank: 0, min: "unreachable".length },
  { title: "LAG", align: "right", rank: 1, min: SIZE_WIDTH },
  { title: "AGE", align: "right", rank: 2, min: AGE_WIDTH },
  { title: "DURABLE", align: "right", rank: 5, min: SIZE_WIDTH },
  { title: "APPLIED", align: "right", rank: 4, min: SIZE_WIDTH },
  { title: "LOG", align: "right", rank: 7, min: 2 * SIZE_WIDTH + 1 },
  { title: "CLIENTS", align: "right", rank: 8 },
  { title: "RATE", align: "right", rank: 3, min: RATE_WIDTH },
  { title: "WRITES", align: "right", rank: 9, min: "99.9k/s".length },
];

function nodeTable(report: Report, previous: Report | null, paint: Paint, width: number): string[] {
  const rows = inTreeOrder(report).map(({ node, indent }) => [
    { text: indent + node.node.name, paint: paint.bold },
    ...(node.status === null
      ? silentCells(node, report, paint)
      : nodeCells(node.status, statusOf(previous, node.node.name), paint)),
  ]);
  // Without an earlier report there are no rates.
  const count = previous === null ? NODE_COLUMNS.length - 2 : NODE_COLUMNS.length;
  return drawTable(NODE_COLUMNS.slice(0, count), rows, width, paint.dim);
}

function nodeCells(status: NodeStatus, before: NodeStatus | null, paint: Paint): Cell[] {
  const primary = status.role === "primary";
  const clients = status.exports.reduce((sum, { clients }) => sum + clients, 0);
  return [
    { text: status.role },
    nodeState(status, paint),
    { text: primary ? "-" : size(status.lagBytes) },
    { text: primary ? "-" : age(status.lagSeconds) },
    { text: size(status.lsn.durable) },
    { text: size(status.lsn.applied) },
    { text: `${size(status.log.bytes)}/${size(status.log.budget)}` },
    { text: status.exports.length === 0 ? "-" : String(clients) },
    { text: rate(status.lsn.appended, before?.lsn.appended, spanMs(status, before)) },
    { text: primary ? writeRate(status, before) : "-" },
  ];
}

function nodeState(status: NodeStatus, paint: Paint): Cell {
  if (!status.consistent || status.inconsistentUntil !== null) {
    return { text: "inconsistent", paint: paint.red };
  }
  switch (status.state) {
    case "running":
      return { text: status.state, paint: paint.green };
    case "starting":
    case "draining":
    case "stopped":
      return { text: status.state, paint: paint.yellow };
    case "failed":
    case "abandoned-tail":
      return { text: status.state, paint: paint.red };
  }
}

/** A node that does not answer: what its upstream, or those above, know of it. */
function silentCells(report: NodeReport, whole: Report, paint: Paint): Cell[] {
  const above = whole.links.find(({ link }) => link.to === report.node.name)?.status;
  const unasked = report.node.admin === null;
  const dim = (text: string): Cell => ({ text, paint: paint.dim });
  return [
    { text: report.node.role },
    unasked ? dim("not asked") : { text: "unreachable", paint: paint.red },
    dim(size(above?.lagBytes)),
    dim(age(above?.lagSeconds)),
    dim(size(above?.durable)),
    dim(size(above?.applied)),
    ...["?", "?", "?", "?"].map(dim),
  ];
}

const LINK_COLUMNS: readonly Column[] = [
  { title: "LINK", align: "left", rank: 0 },
  { title: "MODE", align: "left", rank: 3 },
  { title: "STATE", align: "left", rank: 0, min: "disconnected".length },
  { title: "LAG", align: "right", rank: 1, min: SIZE_WIDTH },
  { title: "AGE", align: "right", rank: 2, min: AGE_WIDTH },
  { title: "NEXT", align: "right", rank: 3, min: AGE_WIDTH },
  { title: "RECEIVED", align: "right", rank: 7, min: SIZE_WIDTH },
  { title: "DURABLE", align: "right", rank: 6, min: SIZE_WIDTH },
  { title: "APPLIED", align: "right", rank: 5, min: SIZE_WIDTH },
  { title: "SINCE", align: "right", rank: 8, min: AGE_WIDTH },
  { title: "RATE", align: "right", rank: 4, min: RATE_WIDTH },
];

function linkTable(report: Report, previous: Report | null, paint: Paint, width: number): string[] {
  const rows = report.links.map((link) => {
    const before = previous?.links.find((other) => other.link.name === link.link.name);
    return linkCells(link, before, report.atMs, paint);
  });
  // Most cascades have no link that waits for its time, and rates need an earlier report.
  const absent = [
    ...(report.links.some(hasSchedule) ? [] : ["NEXT"]),
    ...(previous === null ? ["RATE"] : []),
  ];
  const isShown = LINK_COLUMNS.map(({ title }) => !absent.includes(title));
  return drawTable(
    LINK_COLUMNS.filter((_, index) => isShown[index]),
    rows.map((row) => row.filter((_, index) => isShown[index])),
    width,
    paint.dim,
  );
}

function hasSchedule({ status }: LinkReport): boolean {
  return status !== null && status.schedule !== null;
}

function linkCells(
  { link, status, teller }: LinkReport,
  before: LinkReport | undefined,
  atMs: number,
  paint: Paint,
): Cell[] {
  const head = [{ text: link.name, paint: paint.bold }, { text: link.mode }];
  if (status === null) return [...head, { text: "unknown", paint: paint.yellow }];
  // Only the same teller's clock can say how much time has passed.
  const same = before?.teller?.name === teller?.name ? before : undefined;
  const passedMs = teller === null ? null : spanMs(teller, same?.teller ?? null);
  const since = status.connectedSince === null ? null : (atMs - status.connectedSince) / 1000;
  const figures = [
    size(status.lagBytes),
    age(status.lagSeconds),
    nextRunText(status, teller?.nowMs ?? atMs),
    size(status.received),
    size(status.durable),
    size(status.applied),
    since === null ? "-" : age(Math.max(0, since)),
    rate(status.durable, same?.status?.durable, passedMs),
  ];
  // What neither end tells was true when somebody above last heard of it.
  const hearsay = teller?.name !== link.from && teller?.name !== link.to;
  return [
    ...head,
    { text: stateText(status), paint: linkPaint(status.state, paint) },
    ...figures.map((text) => hearsay ? { text, paint: paint.dim } : { text }),
  ];
}

function linkPaint(state: LinkState, paint: Paint): (text: string) => string {
  if (isBadState(state)) return paint.red;
  return state === "streaming" || state === "waiting" ? paint.green : paint.yellow;
}

/** Things worth a line that are no trouble: why a link waits, why a node is still starting. */
function remarks(report: Report): string[] {
  const ofNodes = report.nodes.flatMap(({ status }) =>
    status !== null && (status.state === "starting" || status.state === "draining") &&
      status.reason !== null
      ? [`${status.name}: ${status.state}: ${status.reason}`]
      : []
  );
  const ofLinks = report.links.flatMap(({ link, status }) =>
    status !== null && status.reason !== null && !isBadState(status.state)
      ? [`${link.name}: ${status.state}: ${status.reason}`]
      : []
  );
  const ofRuns = report.links.flatMap(({ link, status, teller }) =>
    status === null
      ? []
      : runRemarks(status, teller?.nowMs ?? report.atMs).map((text) => `${link.name}: ${text}`)
  );
  const ofFallbacks = report.links.flatMap(({ link, status }) =>
    status?.fallback ? [`${link.name}: over ${status.transport}: ${status.fallback}`] : []
  );
  const ofLines = report.links.flatMap(({ link, status }) =>
    status === null ? [] : lineRemarks(status).map((text) => `${link.name}: ${text}`)
  );
  const ofApplying = report.nodes.flatMap(({ status }) =>
    status === null ? [] : applyRemarks(status).map((text) => `${status.name}: ${text}`)
  );
  const ofScans = report.nodes.flatMap(({ status }) =>
    status === null ? [] : scanRemarks(status).map((text) => `${status.name}: ${text}`)
  );
  const ofCertificates = report.nodes.flatMap(({ status }) =>
    status === null ? [] : certificateEnds(status, (end) => end === "soon")
  );
  return [
    ...treeRemarks(report),
    ...ofNodes,
    ...ofApplying,
    ...ofScans,
    ...ofCertificates,
    ...ofLinks,
    ...ofFallbacks,
    ...ofRuns,
    ...ofLines,
  ];
}

interface TreeRow {
  readonly node: NodeReport;
  readonly indent: string;
}

/** Every node below its upstream, as far as the report's links tell. */
function inTreeOrder(report: Report): TreeRow[] {
  const rows: TreeRow[] = [];
  const parentOf = new Map(report.links.map(({ link }) => [link.to, link.from]));
  const known = new Set(report.nodes.map(({ node }) => node.name));
  const visit = (node: NodeReport, indent: string, below: string) => {
    rows.push({ node, indent });
    const children = report.nodes.filter((child) =>
      parentOf.get(child.node.name) === node.node.name
    );
    children.forEach((child, index) => {
      const last = index === children.length - 1;
      visit(child, below + (last ? "└─ " : "├─ "), below + (last ? "   " : "│  "));
    });
  };
  for (const node of report.nodes) {
    const parent = parentOf.get(node.node.name);
    if (parent === undefined || !known.has(parent)) visit(node, "", "");
  }
  return rows;
}

function statusOf(report: Report | null, name: string): NodeStatus | null {
  return report?.nodes.find(({ node }) => node.name === name)?.status ?? null;
}

/** Time between two statuses of one node by its own clock; null when that cannot be told. */
function spanMs(now: NodeStatus, before: NodeStatus | null): number | null {
  if (before === null || now.nowMs <= before.nowMs) return null;
  return now.nowMs - before.nowMs;
}

function writeRate(now: NodeStatus, before: NodeStatus | null): string {
  const passedMs = spanMs(now, before);
  // Counters begin anew when a node is started again.
  if (passedMs === null || before === null || before.startedAt !== now.startedAt) return "?";
  const perSecond = (now.counters.writes - before.counters.writes) / (passedMs / 1000);
  if (perSecond >= 99_950) return `${Math.round(perSecond / 1000)}k/s`;
  if (perSecond >= 9_995) return `${(perSecond / 1000).toFixed(1)}k/s`;
  return `${Math.round(perSecond)}/s`;
}

function rate(
  now: number | null | undefined,
  before: number | null | undefined,
  passedMs: number | null,
): string {
  if (typeof now !== "number" || typeof before !== "number" || passedMs === null) return "?";
  return `${approximateSize(Math.round(Math.max(0, now - before) / (passedMs / 1000)))}/s`;
}

function size(bytes: number | null | undefined): string {
  return typeof bytes === "number" ? approximateSize(bytes) : "?";
}

function age(seconds: number | null | undefined): string {
  if (typeof seconds !== "number") return "?";
  return seconds < 0.0005 ? "0s" : approximateDuration(seconds * 1000);
}
