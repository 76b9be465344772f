/**
 * A node's status, drawn from its parts. Nothing is kept for it: every figure is computed.
 *
 * @module
 */
import { eachOnce } from "./link/subtree.ts";
import type { OnOverflow } from "./config.ts";
import { keptFor } from "./link/kept.ts";
import { HEARTBEAT_INTERVAL_MS } from "./link/link_limits.ts";
import type { Log, RecoveryReport } from "./log/log.ts";
import type { CascadeNode } from "./node.ts";
import type { Journal } from "./ports.ts";
import type { NodeStatus } from "./status.ts";
import { isDeclaredIn } from "./tree/settled.ts";
import { type ClusterTree, parentsIn } from "./tree/tree.ts";
import { type View, viewAtHome } from "./tree/view.ts";
import { buildText, VERSION } from "./version.ts";

/** Of the history, the last epochs. */
const EPOCHS_TOLD = 32;

/** See core/status.ts. */
export function reportNode(node: CascadeNode, log: Log): NodeStatus {
  const { pipeline, config, hub, front } = node;
  const lag = lagOf(node);
  return {
    cluster: config.cluster,
    name: config.name,
    role: config.role,
    state: node.phase,
    reason: waitingOf(node) ?? node.reason ?? pipeline.blocked ?? logReason(node, log) ??
      spendingOf(node),
    epoch: pipeline.history.last,
    consistent: !node.deltas.isInPlace,
    inconsistentUntil: inconsistencyOf(node),
    lsn: {
      appended: pipeline.appendedLsn,
      durable: Math.min(pipeline.durableLsn, pipeline.appendedLsn),
      stable: pipeline.stableLsn,
      applied: pipeline.appliedLsn,
      checkpointed: pipeline.checkpointedLsn,
    },
    lagBytes: lag.bytes,
    lagSeconds: lag.seconds,
    log: {
      start: log.startLsn,
      bytes: log.bytesOnDisk,
      budget: config.log.budgetBytes,
      segments: log.segmentCount,
    },
    volumes: config.volumes.map(({ name, sizeBytes, path }) => ({ name, size: sizeBytes, path })),
    tree: treeStatusOf(node),
    history: pipeline.history.epochs.slice(-EPOCHS_TOLD)
      .map(({ number, firstLsn, node: reigning }) => ({ number, firstLsn, node: reigning })),
    scan: node.scans?.capture.status() ?? null,
    apply: node.marks.status(),
    certificates: [],
    exports: node.nbd.listening,
    kept: keptFor(node),
    links: eachOnce(hub.upstream === null ? [] : [hub.upstream.status(lag)], node.subtree()),
    counters: { ...front.counters, logFlushes: log.flushCount },
    pid: null,
    version: VERSION,
    build: buildText(),
    startedAt: node.startedAtMs,
    nowMs: node.ports.clock.nowMs(),
  };
}

/** Statuses of the links at and below a node. */
export function subtreeOf({ hub, verify }: CascadeNode): NodeStatus["links"] {
  const { downstream } = hub;
  const own = downstream.map((link) => ({ ...link.status(), verify: verify.status(link) }));
  return eachOnce(own, downstream.flatMap(({ subtree }) => subtree));
}

function waitingOf({ config, tree: { seat } }: CascadeNode): string | null {
  if (!seat.isWaiting) return null;
  const hint = config.startAlone === "ask"
    ? `; if none was, \`cascade promote ${config.name}\` lets it serve`
    : "";
  return `waiting for any other node, since one may have been promoted meanwhile${hint}`;
}

/** The tree as this node knows it. */
function treeStatusOf(node: CascadeNode): NodeStatus["tree"] {
  const { config, tree: { seat, parents, moves }, deltas, pipeline, hub, tide } = node;
  const { tree } = config;
  if (tree === null || tree.nodes.length < 2) return null;
  const { view } = seat;
  const now = parentsIn(tree, view);
  return {
    primary: view.primary,
    reign: view.reign,
    parents: Object.fromEntries(now),
    isDeclared: isDeclaredIn(config.fileTree ?? tree, view),
    conflict: seat.conflict,
    isWaiting: seat.isWaiting,
    isRejoining: deltas.isRejoining,
    declared: Object.fromEntries(
      (config.fileTree ?? tree).links.map((link) => [link.to, link.from]),
    ),
    chosen: chosenIn(tree, view),
    choice: parents.status(),
    moves: { ...moves },
    upstreamSilenceSeconds: hub.upstream === null ? null : hub.upstream.silenceMs() / 1000,
    primarySilenceSeconds: pipeline.reigns ? 0 : tide.known ? tide.silenceMs() / 1000 : null,
  };
}

/** Nodes that are away from home by their own choice. */
function chosenIn(tree: ClusterTree, view: View): Record<string, string> {
  const home = parentsIn(tree, viewAtHome(view));
  const away = [...parentsIn(tree, view)].filter(([name, parent]) => home.get(name) !== parent);
  return Object.fromEntries(away.map(([name]) => [name, home.get(name) ?? ""]));
}

/** Blocks are written to the volumes in place: they are no image that existed until all of them are there. */
function inconsistencyOf({ deltas }: CascadeNode): NodeStatus["inconsistentUntil"] {
  const { inPlace } = deltas;
  if (inPlace === null) return null;
  const { header, trailer } = inPlace;
  const what = header.full ? "its first copy" : `a delta from LSN ${header.fromLsn} on`;
  return {
    lsn: trailer?.toLsn ?? header.toLsn,
    reason: `${what} is being taken in place, and ends behind LSN ${header.sinceLsn}`,
  };
}

/** A log that cannot grow keeps nobody waiting while there is a segment to go on in. */
function logReason(node: CascadeNode, log: Log): string | null {
  const isShort = log.room() < node.config.log.segmentBytes / 2;
  if (node.logFull === null || !isShort) return null;
  return `the log cannot grow, and no older segment can be used again yet: ${node.logFull}`;
}

/** How far this node is behind the primary. A silent upstream counts as lag from the first miss. */
function lagOf(node: CascadeNode): { bytes: number | null; seconds: number | null } {
  const { pipeline, tide, times } = node;
  if (pipeline.reigns) return { bytes: 0, seconds: 0 };
  if (!tide.known) return { bytes: null, seconds: null };
  const durableLsn = Math.min(pipeline.durableLsn, pipeline.appendedLsn);
  const bytes = Math.max(0, tide.endLsn() - durableLsn);
  const silenceMs = tide.silenceMs();
  const silent = silenceMs > 2 * HEARTBEAT_INTERVAL_MS ? silenceMs / 1000 : 0;
  const age = bytes === 0
    ? 0
    : times.ageSeconds(durableLsn, tide.timeMs(), tide.caughtUpTimeMs) ?? silent;
  return { bytes, seconds: Math.max(age, silent) };
}

/** What recovery did to the log, for the journal. */
export function tellRecovery(journal: Journal, report: RecoveryReport, endLsn: number): void {
  if (report.tornBytes > 0) {
    const fields = { lsn: endLsn, bytes: report.tornBytes };
    journal.write("warn", "cut the torn end of the log", fields);
  }
  for (const { file, offset, found } of report.damage) {
    const fields = { file, offset, found };
    journal.write("warn", "the log was damaged where nothing was lost by it", fields);
  }
}

/** What clients feel of a log budget that is, or soon will be, spent on a link that must not overflow. */
function spendingOf({ pipeline, hub }: CascadeNode): string | null {
  const names = (onOverflow: OnOverflow) =>
    hub.downstream.filter(({ config }) => config.onOverflow === onOverflow)
      .map(({ config }) => config.name).join(", ");
  if (pipeline.isSpent) return `writes are refused: the log budget is spent on ${names("fail")}`;
  if (pipeline.stalling) {
    return `writers are slowed down: more than half of the log budget waits for ${names("stall")}`;
  }
  return null;
}
