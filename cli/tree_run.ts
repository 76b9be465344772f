/**
 * Has an order of the tree carried out, through whichever node of the cascade answers.
 *
 * @module
 */
import { CascadeError, describeError, isCascadeError } from "../core/errors.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import type { Topology } from "../core/topology/topology.ts";
import type { Order } from "../core/tree/asks.ts";
import type { FileReport } from "../core/tree/file_report.ts";
import type { TreeReport } from "../core/tree/tree_report.ts";
import { type AdminTarget, fetchProgress, orderTree } from "../io/admin_client.ts";
import { readToken } from "../io/secret_source.ts";
import { loadTopology } from "../io/topology_file.ts";
import { writeTopology } from "../io/topology_write.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { printJson, printLine, tell } from "./output.ts";
import { ProgressView, stderrOut } from "./ui/order_view.ts";
import { fileLines, planLines, reportLines } from "./tree_text.ts";

/** What a node may take to answer, beside the time that the order itself gives it, ms. */
const PATIENCE_MS = 180_000;

/** Time between two looks at how far an order is, and how long an answer to that may take, ms. */
const LOOK_MS = 250;
const ASK_MS = 2_000;

/** What the command line says. */
export interface OrderOptions {
  readonly topology: string;
  readonly node: string;
  readonly order: Order;
  readonly yes: boolean;
  /** Then the topology files are written. */
  readonly write: boolean;
  readonly json: boolean;
}

/** Runs the command: a promotion is asked about first. Throws {@linkcode ExitWith}, or what is wrong. */
export async function runOrder(options: OrderOptions): Promise<void> {
  const { order, json, yes } = options;
  const topology = loadTopology(options.topology);
  nodeNamed(topology, options.node);
  if (order.order === "reparent") nodeNamed(topology, order.to);
  const isAsked = order.order === "promote" || order.order === "resolve";
  if (isAsked && !order.dryRun && !yes) {
    const { report } = await give(topology, options.node, { ...order, dryRun: true });
    for (const line of planLines(report, order, dirsOf(topology))) tell(line);
    const isForced = order.order === "promote" && order.force;
    if (isBlocked(report) && !isForced && order.order === "promote") {
      throw new ExitWith(EXIT.failed);
    }
    confirmOrLeave(order);
  }
  const { report, through } = await give(topology, options.node, order, true);
  if (!json) {
    const lines = order.dryRun
      ? planLines(report, order, dirsOf(topology))
      : reportLines(report, order, options.node, dirsOf(topology));
    for (const line of lines) printLine(line);
    if (through !== options.node) tell(`(asked through ${through})`);
  }
  const files = options.write ? await writeFiles(topology, options.node) : null;
  if (json) printJson(files === null ? report : { ...report, files });
  else for (const line of fileLines(files ?? [])) printLine(line);
  if (files?.some(({ outcome }) => outcome === "unreachable")) {
    tell("Once they answer, the same command writes the files of the others.");
  }
  if (files?.some(({ outcome }) => outcome === "failed")) throw new ExitWith(EXIT.failed);
  if (order.dryRun && isBlocked(report)) throw new ExitWith(EXIT.failed);
}

/** Has the files written: by all nodes, through the one that knows the latest, and here. */
async function writeFiles(topology: Topology, node: string): Promise<FileReport[]> {
  const order = { order: "write", dryRun: false } as const;
  const ask = async () => (await give(topology, node, order)).report;
  const { files = [], view } = await ask();
  if (view === undefined) throw new CascadeError("protocol", `${node} does not write files`);
  const here: FileReport = { node: null, ...await writeTopology(topology.file, view) };
  const isFailed = ({ outcome }: FileReport) => outcome === "failed";
  if (here.outcome !== "written" || !files.some(isFailed)) return [...files, here];
  // It may have been the very file that a node of this host must not write: that finds it done now.
  const again = (await ask()).files ?? files;
  return [...files.map((file) => isFailed(file) ? again.find(isOf(file)) ?? file : file), here];
}

function isOf({ node }: FileReport): (other: FileReport) => boolean {
  return (other) => other.node === node;
}

/** Settles when the order is over, however it ended. */
async function showProgress(
  target: AdminTarget,
  node: string,
  report: Promise<unknown>,
): Promise<void> {
  const view = new ProgressView(stderrOut(), node);
  const over = report.then(() => true, () => true);
  try {
    for (;;) {
      const { promise, resolve } = Promise.withResolvers<false>();
      const timer = setTimeout(() => resolve(false), LOOK_MS);
      const isOver = await Promise.race([over, promise]);
      clearTimeout(timer);
      if (isOver) return;
      // Nobody who can tell: the order itself says what is wrong.
      const asked = fetchProgress({ ...target, timeoutMs: ASK_MS }, node).catch(() => null);
      const progress = await Promise.race([over.then(() => null), asked]);
      if (progress !== null) view.show(progress);
    }
  } finally {
    view.end();
  }
}

function dirsOf({ nodes }: Topology): ReadonlyMap<string, string> {
  return new Map(nodes.map(({ name, dir }) => [name, dir]));
}

function isBlocked({ plan }: TreeReport): boolean {
  return plan !== null && plan.blocked !== null;
}

function confirmOrLeave(order: Order): void {
  if (!Deno.stdin.isTerminal()) {
    throw new CascadeError("usage", "there is nobody to ask", { hint: "Say --yes to go on" });
  }
  if (confirm(order.order === "promote" ? "Promote it?" : "Keep it?")) return;
  throw new ExitWith(EXIT.failed, "nothing was changed");
}

/**
 * The node that is meant is asked first, then the others: the admin side of most listens on its own host alone, and any
 * node passes an order on. `isShown`: how far it is, on stderr, while it is waited for.
 */
export async function give(
  topology: Topology,
  meant: string,
  order: Order,
  isShown = false,
): Promise<{ report: TreeReport; through: string }> {
  const withAdmin = topology.nodes.filter(({ admin }) => admin !== null);
  const nodes = [
    ...withAdmin.filter(({ name }) => name === meant),
    ...withAdmin.filter(({ name }) => name !== meant),
  ];
  const failures: string[] = [];
  const asked = new Set<string>();
  for (const { name, admin, adminToken } of nodes) {
    if (admin === null || asked.has(admin)) continue;
    asked.add(admin);
    const timeoutMs = PATIENCE_MS + (order.order === "migrate" ? order.timeoutMs : 0);
    try {
      const token = adminToken === null ? null : readToken(adminToken);
      const target = { address: admin, token, timeoutMs };
      const report = orderTree(target, meant, order);
      if (isShown && !order.dryRun) await showProgress(target, meant, report);
      return { report: await report, through: name };
    } catch (error) {
      if (!isCascadeError(error, "unreachable")) throw error;
      failures.push(`${name}: ${describeError(error)}`);
    }
  }
  throw new CascadeError(
    "unreachable",
    failures.length === 0
      ? "no node has an admin address to ask"
      : `no node could be asked. ${failures.join("; ")}`,
    { hint: failures.length === 0 ? "Give the nodes an `admin:` address" : "Is it running there?" },
  );
}
