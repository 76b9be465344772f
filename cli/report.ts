/**
 * What the nodes of a topology say of themselves, gathered; and whether all is well.
 *
 * @module
 */
import { describeError, isCascadeError } from "../core/errors.ts";
import type { LinkState, LinkStatus, NodeStatus, TreeStatus } from "../core/status.ts";
import type { Topology, TopologyLink, TopologyNode } from "../core/topology/topology.ts";
import { approximateDuration, approximateSize } from "../core/topology/units.ts";
import { ailmentOf } from "../io/admin.ts";
import { fetchStatus } from "../io/admin_client.ts";
import { readToken } from "../io/secret_source.ts";
import { type EndState, endState, endText } from "./certificate_ends.ts";
import { EXIT } from "./exit.ts";
import { scanTrouble } from "./ui/scan_view.ts";

/** How long a node may take to answer. */
const ASK_TIMEOUT_MS = 2_000;

/** One node: what it says, or why it says nothing. */
export interface NodeReport {
  readonly node: TopologyNode;
  readonly status: NodeStatus | null;
  /** Null when there is a status. */
  readonly error: string | null;
}

/** A link as the node that knows most of it tells. */
export interface LinkReport {
  readonly link: TopologyLink;
  /** Null when no node that answers has it. */
  readonly status: LinkStatus | null;
  /** Who tells it. */
  readonly teller: NodeStatus | null;
}

/** The cascade at one moment. */
export interface Report {
  readonly name: string;
  readonly atMs: number;
  /** In the order of the topology. */
  readonly nodes: readonly NodeReport[];
  readonly links: readonly LinkReport[];
  /** As the node with the latest word knows it; null: as the topology says, for all that is known. */
  readonly tree: TreeStatus | null;
  /** Each node but the primary of the file, and which one feeds it there. */
  readonly declared: ReadonlyMap<string, string>;
}

/**
 * Asks `nodes` of the topology, all at once. Never rejects for a node that does not answer: that is
 * part of the report.
 */
export async function gather(
  topology: Topology,
  nodes: readonly TopologyNode[] = topology.nodes,
): Promise<Report> {
  return reportOf(topology, await Promise.all(nodes.map(askOne)));
}

/** A report from what nodes of the topology said. */
export function reportOf(topology: Topology, reports: readonly NodeReport[]): Report {
  const nodes = reports.map(({ node }) => node);
  const named = new Set(nodes.map((node) => node.name));
  const tree = latestTree(reports);
  const links = linksNow(topology, tree).filter(({ from, to }) => named.has(from) || named.has(to));
  return {
    name: topology.name,
    atMs: Date.now(),
    nodes: reports,
    links: links.map((link) => linkReport(link, reports)),
    tree,
    declared: new Map(topology.links.map(({ from, to }) => [to, from])),
  };
}

function latestTree(reports: readonly NodeReport[]): TreeStatus | null {
  const trees = reports.flatMap(({ status }) => status?.tree ? [status.tree] : []);
  return trees.reduce<TreeStatus | null>(
    (best, tree) => best === null || tree.reign > best.reign ? tree : best,
    null,
  );
}

/** The links as they are now: where a node was given another parent, with what is declared of the nearest one. */
function linksNow(topology: Topology, tree: TreeStatus | null): TopologyLink[] {
  if (tree === null || isAsDeclared(topology.links, tree)) return [...topology.links];
  return Object.entries(tree.parents).flatMap(([to, from]): TopologyLink[] => {
    const declared = topology.links.find((link) => link.from === from && link.to === to);
    if (declared !== undefined) return [declared];
    const model = topology.links.find((link) => link.from === to && link.to === from) ??
      topology.links.find((link) => link.to === to) ?? topology.links[0];
    return model === undefined ? [] : [{ ...model, name: `${from}-${to}`, from, to }];
  });
}

/** Whether these links are those of the tree. */
function isAsDeclared(links: readonly TopologyLink[], { parents }: TreeStatus): boolean {
  return Object.keys(parents).length === links.length &&
    links.every(({ from, to }) => parents[to] === from);
}

async function askOne(node: TopologyNode): Promise<NodeReport> {
  if (node.admin === null) {
    return { node, status: null, error: "the topology gives it no admin address" };
  }
  try {
    const token = node.adminToken === null ? null : readToken(node.adminToken);
    const target = { address: node.admin, token, timeoutMs: ASK_TIMEOUT_MS };
    const status = await fetchStatus(target);
    if (status.name === node.name) return { node, status, error: null };
    return { node, status: null, error: `node ${status.name} answers in its place` };
  } catch (error) {
    // Where it is asked is plain from the topology: the reason alone is short enough for a line.
    const reason = isCascadeError(error) ? error.message : describeError(error);
    return { node, status: null, error: reason };
  }
}

/** The upstream end knows a link best, then the downstream end, then those who heard of it. */
function linkReport(link: TopologyLink, nodes: readonly NodeReport[]): LinkReport {
  const told = nodes.flatMap(({ status: teller }) => {
    const status = teller?.links.find(({ name }) => name === link.name);
    return teller === null || status === undefined ? [] : [{ teller, status }];
  });
  const rank = (teller: NodeStatus) => [link.from, link.to].indexOf(teller.name) + 1 || 3;
  const [best] = told.toSorted((a, b) => rank(a.teller) - rank(b.teller));
  if (best === undefined) return { link, status: null, teller: null };
  // The end that dials knows why.
  const fallback = told.find(({ status }) => status.fallback !== null)?.status.fallback ?? null;
  return { link, status: { ...best.status, fallback }, teller: best.teller };
}

/** Link states in which somebody should look: data is at risk, or will be. */
const BAD_STATES: readonly LinkState[] = ["degraded", "disconnected", "overflowed", "refused"];

/** A run begins within a tick of the node's clock; so much later something holds it up. */
const LATE_MS = 60_000;

/** Whether a link needs a look. */
export function isBadState(state: LinkState): boolean {
  return BAD_STATES.includes(state);
}

/** What of a link's own runs went wrong, if the last one did. */
function failedRuns({ schedule }: LinkStatus): string | null {
  if (schedule === null || schedule.failures === 0) return null;
  const runs = schedule.failures === 1 ? "the last run" : `the last ${schedule.failures} runs`;
  const reason = schedule.lastRun?.reason ?? null;
  return `${runs} failed${reason === null ? "" : `: ${reason}`}`;
}

/** A run that should have begun, on a link where nothing else is said to be in its way. */
function lateRun({ state, schedule, delta }: LinkStatus, nowMs: number): string | null {
  const dueMs = schedule?.nextRunAtMs ?? null;
  if (dueMs === null || delta !== null || isBadState(state) || nowMs - dueMs < LATE_MS) return null;
  return `a run is late: it was due ${approximateDuration(nowMs - dueMs)} ago`;
}

/** The ends of the link are not the same, or it could not be told. */
function verifyTrouble({ verify }: LinkStatus): string | null {
  if (verify === null) return null;
  const { last, reason } = verify;
  if (last !== null && last.differentBytes > last.repairedBytes) {
    const bytes = approximateSize(last.differentBytes - last.repairedBytes);
    return `its ends differ in ${bytes}: see \`cascade verify\``;
  }
  return reason === null ? null : `it could not be verified: ${reason}`;
}

/** The last mark was not what its hook was to make of it. */
function markTrouble({ apply }: NodeStatus): string | null {
  const last = apply?.lastHook ?? null;
  if (last === null || last.outcome === "done") return null;
  return `onMark ${
    last.outcome === "missed" ? "was not run" : "failed"
  } for mark ${last.mark}: ${last.reason}`;
}

/** What is not well, one line each; empty when all is. A node that is starting or draining is well. */
export function ailments(report: Report): string[] {
  const lines: string[] = [];
  for (const { node, status, error } of report.nodes) {
    if (status === null) {
      if (node.admin !== null) lines.push(`${node.name}: unreachable: ${error}`);
    } else if (status.state !== "starting" && status.state !== "draining") {
      const ailment = ailmentOf(status);
      if (ailment !== null) lines.push(`${node.name}: ${ailment}`);
      const troubles = [markTrouble(status), scanTrouble(status)];
      for (const trouble of troubles) {
        if (trouble !== null) lines.push(`${node.name}: ${trouble}`);
      }
      lines.push(...certificateEnds(status, (end) => end !== "good" && end !== "soon"));
    }
  }
  for (const { link, status, teller } of report.links) {
    if (status === null) continue;
    if (isBadState(status.state)) {
      lines.push(
        `${link.name}: ${status.state}${status.reason === null ? "" : `: ${status.reason}`}`,
      );
    }
    const trouble = failedRuns(status) ?? lateRun(status, teller?.nowMs ?? report.atMs) ??
      verifyTrouble(status);
    if (trouble !== null) lines.push(`${link.name}: ${trouble}`);
  }
  return lines;
}

/** What is to be said of a node's certificates that are in such a state. */
export function certificateEnds(
  { name, certificates, nowMs }: NodeStatus,
  isMeant: (end: EndState) => boolean,
): string[] {
  return certificates.flatMap((certificate) => {
    const text = isMeant(endState(certificate, nowMs)) ? endText(certificate, nowMs) : null;
    return text === null ? [] : [`${name}: ${text}`];
  });
}

/** 0 all well, 1 something is not, 4 no node answers. */
export function verdictOf(report: Report): 0 | 1 | 4 {
  if (report.nodes.every(({ status }) => status === null)) return EXIT.unreachable;
  return ailments(report).length === 0 ? EXIT.done : EXIT.failed;
}

/** The document of `--json`; docs/status.md describes it. Fields are only ever added. */
export function jsonOf(report: Report) {
  return {
    nodes: report.nodes.flatMap(({ status }) => status === null ? [] : [status]),
    unreachable: report.nodes.flatMap(({ node, error }) =>
      error === null ? [] : [{ name: node.name, admin: node.admin, reason: error }]
    ),
  };
}
