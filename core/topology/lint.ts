/**
 * What a topology means, beyond its shape: that sizes and times can work, that every volume is
 * everywhere. Who feeds whom is looked at in lint_tree.ts, addresses and paths in lint_hosts.ts.
 *
 * @module
 */
import { SECTOR_BYTES, VOLUME_BYTES_MAX } from "../limits.ts";
import { lintDeltas, lintScanLinks, lintSchedules } from "./lint_deltas.ts";
import { lintMarks } from "./lint_marks.ts";
import { lintLine } from "./lint_lines.ts";
import { lintParents } from "./lint_parents.ts";
import { lintHosts } from "./lint_hosts.ts";
import { lintTransports } from "./lint_transports.ts";
import { lintTree, reportUnknown } from "./lint_tree.ts";
import { quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";
import { formatDuration, formatSize } from "./units.ts";

const MIB = 1024 * 1024;

/** Bounds of what a topology may ask for, each with its reason. */
export const SEGMENT_BYTES_MIN = 4 * MIB; // any record of any other node fits: sizes may differ
export const SEGMENT_BYTES_MAX = 1024 * MIB; // what recycling one costs at once
const SEGMENT_BYTES_UNIT = 4096; // pages
const BUDGET_SEGMENTS_MIN = 4; // one written, one being prepared, two that peers still read
const NODES_MAX = 128; // the report of a whole subtree fits one message
const VOLUMES_MAX = 64; // likewise the list of volumes
const ERRORS_ENOUGH = 100; // nobody reads more in one go
const TIMEOUT_MS_MIN = 100; // a node looks at its clock ten times a second
const TIMEOUT_MS_MAX = 24 * 3_600_000;

/** Reports everything about `topology` that cannot work, or that its author may not have meant. */
export function lint(topology: Topology): void {
  const { reporter } = topology;
  if (!lintCounts(topology, reporter)) return;
  lintVolumes(topology, reporter);
  for (const node of topology.nodes) {
    lintNodeVolumes(topology, node, reporter);
    lintLog(node, reporter);
    lintDeltas(node, reporter);
    lintMarks(node, reporter);
  }
  for (const link of topology.links) {
    if (link.mode === "sync") lintTimeout(link, reporter);
    lintSchedules(link, reporter);
    lintLine(link, reporter);
  }
  lintScanLinks(topology, reporter);
  lintTree(topology, reporter);
  for (const node of topology.nodes) lintParents(topology, node, reporter);
  // Every path is compared with every other: not for a file that is wrong throughout.
  if (reporter.errors < ERRORS_ENOUGH) {
    lintHosts(topology, reporter);
    lintTransports(topology, reporter);
  }
}

/** False when there are too many of something to look any further. */
function lintCounts(topology: Topology, reporter: Reporter): boolean {
  const { nodes, volumes } = topology;
  if (nodes.length > NODES_MAX) {
    const message = `there are ${nodes.length} nodes; at most ${NODES_MAX} are possible`;
    reporter.report(["nodes"], "key", { message });
  }
  if (volumes.length > VOLUMES_MAX) {
    const message = `there are ${volumes.length} volumes; at most ${VOLUMES_MAX} are possible`;
    reporter.report(["volumes"], "key", { message });
  }
  if (volumes.length === 0) {
    const message = "there is no volume; expected at least one, such as data: { size: 10GiB }";
    reporter.report(["volumes"], "key", { message });
  }
  if (topology.links.length === 0 && nodes.length > 0) {
    const message = "there are no links, so nothing is replicated";
    reporter.report(["links"], "key", { severity: "warning", message });
  }
  return nodes.length <= NODES_MAX && volumes.length <= VOLUMES_MAX;
}

function lintVolumes(topology: Topology, reporter: Reporter): void {
  for (const { name, sizeBytes } of topology.volumes) {
    const tooLarge = sizeBytes > VOLUME_BYTES_MAX;
    if (!tooLarge && sizeBytes > 0 && sizeBytes % SECTOR_BYTES === 0) continue;
    const near = Math.max(1, Math.ceil(sizeBytes / SECTOR_BYTES)) * SECTOR_BYTES;
    const expected = tooLarge
      ? `at most ${formatSize(VOLUME_BYTES_MAX)}`
      : `a multiple of ${SECTOR_BYTES} above 0, such as ${formatSize(near)}`;
    reporter.report(["volumes", name, "size"], "value", {
      message: `volume ${quote(name)} has ${sizeBytes} bytes; expected ${expected}`,
      found: String(sizeBytes),
      expected,
    });
  }
}

function lintNodeVolumes(topology: Topology, node: TopologyNode, reporter: Reporter): void {
  const names = topology.volumes.map((volume) => volume.name);
  if (node.volumes === null) {
    if (node.role !== "intermediate") {
      reporter.report(["nodes", node.name], "key", {
        message: `the ${node.role} ${quote(node.name)} has no volumes; ` +
          "only an intermediate can keep the log alone",
      });
    } else if (node.nbd.length > 0) {
      reporter.report(["nodes", node.name, "nbd"], "key", {
        message: `${quote(node.name)} keeps only the log: it has no volume to serve over NBD`,
      });
    }
    return;
  }
  const meant = new Set<string | null>();
  for (const name of node.volumes.keys()) {
    if (names.includes(name)) continue;
    const path = ["nodes", node.name, "volumes", name];
    meant.add(reportUnknown(reporter, path, "key", "volume", name, names));
  }
  const missing = names.filter((name) => node.volumes?.has(name) !== true && !meant.has(name));
  if (missing.length === 0) return;
  reporter.report(["nodes", node.name, "volumes"], "key", {
    message: `node ${quote(node.name)} has no path for ${missing.map(quote).join(", ")}; ` +
      "every volume is on every node that has volumes",
    expected: missing.join(", "),
  });
}

function lintLog(node: TopologyNode, reporter: Reporter): void {
  const { budgetBytes, segmentBytes } = node.log;
  const path = ["nodes", node.name, "log"];
  const budgetMin = BUDGET_SEGMENTS_MIN * SEGMENT_BYTES_MIN;
  if (budgetBytes < budgetMin) {
    reporter.report([...path, "budget"], "value", {
      message: `the log budget ${formatSize(budgetBytes)} is too small; ` +
        `expected at least ${formatSize(budgetMin)}`,
      found: formatSize(budgetBytes),
      expected: `at least ${formatSize(budgetMin)}`,
    });
    return;
  }
  if (segmentBytes < SEGMENT_BYTES_MIN || segmentBytes > SEGMENT_BYTES_MAX) {
    const expected = `${formatSize(SEGMENT_BYTES_MIN)} to ${formatSize(SEGMENT_BYTES_MAX)}`;
    reporter.report([...path, "segment"], "value", {
      message: `a segment cannot have ${formatSize(segmentBytes)}; expected ${expected}`,
      found: formatSize(segmentBytes),
      expected,
    });
    return;
  }
  if (segmentBytes % SEGMENT_BYTES_UNIT !== 0) {
    reporter.report([...path, "segment"], "value", {
      message: `a segment of ${segmentBytes} bytes is no multiple of ${SEGMENT_BYTES_UNIT}`,
      found: String(segmentBytes),
      expected: `a multiple of ${SEGMENT_BYTES_UNIT}`,
    });
  }
  if (budgetBytes >= BUDGET_SEGMENTS_MIN * segmentBytes) return;
  const least = formatSize(BUDGET_SEGMENTS_MIN * segmentBytes);
  reporter.report([...path, "budget"], "value", {
    message: `the log budget ${formatSize(budgetBytes)} is less than ${BUDGET_SEGMENTS_MIN} ` +
      `segments of ${formatSize(segmentBytes)}; expected at least ${least}, or smaller segments`,
    found: formatSize(budgetBytes),
    expected: `at least ${least}`,
  });
}

function lintTimeout(link: TopologyLink, reporter: Reporter): void {
  if (link.timeoutMs >= TIMEOUT_MS_MIN && link.timeoutMs <= TIMEOUT_MS_MAX) return;
  const expected = `${formatDuration(TIMEOUT_MS_MIN)} to ${formatDuration(TIMEOUT_MS_MAX)}`;
  reporter.report(["links", link.index, "timeout"], "value", {
    message: `a timeout of ${formatDuration(link.timeoutMs)} cannot work; expected ${expected}`,
    found: formatDuration(link.timeoutMs),
    expected,
  });
}
