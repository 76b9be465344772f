/**
 * One node's configuration, taken from the topology.
 *
 * @module
 */
import type { LinkConfig, NodeConfig } from "../config.ts";
import { CascadeError } from "../errors.ts";
import type { ClusterTree } from "../tree/tree.ts";
import { addressesToDial, dialAddresses, listenAddresses } from "./hosts.ts";
import { SEGMENT_BYTES_MIN } from "./lint.ts";
import { nearest, orList } from "./nearest.ts";
import { quote } from "./problem.ts";
import { REPARENT_AFTER_DEFAULT } from "./schema.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";
import { parseDuration } from "./units.ts";

/** The node of that name. Throws `usage`, with the nearest right name. */
export function nodeNamed(topology: Topology, name: string): TopologyNode {
  const node = topology.nodes.find((candidate) => candidate.name === name);
  if (node !== undefined) return node;
  throw unknownName("node", name, topology.nodes.map((candidate) => candidate.name), topology);
}

/** The link of that name. Throws `usage`, with the nearest right name. */
export function linkNamed(topology: Topology, name: string): TopologyLink {
  const link = topology.links.find((candidate) => candidate.name === name);
  if (link !== undefined) return link;
  const other = undeclaredLink(topology, name);
  if (other !== null) return other;
  throw unknownName("link", name, topology.links.map((candidate) => candidate.name), topology);
}

/** A link that a promotion or another parent brings about has the names of its two ends. */
function undeclaredLink(topology: Topology, name: string): TopologyLink | null {
  for (const { name: from } of topology.nodes) {
    const to = topology.nodes.find((node) => node.name !== from && `${from}-${node.name}` === name);
    if (to === undefined) continue;
    const model = topology.links.find((link) => link.from === to.name && link.to === from) ??
      topology.links.find((link) => link.to === to.name) ?? topology.links[0];
    return model === undefined ? null : { ...model, name, from, to: to.name };
  }
  return null;
}

function unknownName(
  what: string,
  name: string,
  names: readonly string[],
  topology: Topology,
): CascadeError {
  const meant = nearest(name, names);
  return new CascadeError("usage", `${topology.file} has no ${what} ${quote(name)}`, {
    hint: meant !== null
      ? `Did you mean ${quote(meant)}?`
      : names.length === 0
      ? `It has no ${what} at all`
      : `It has ${orList(names, "and")}`,
  });
}

/**
 * All that the node `nodeName` runs on. `secret` is the shared secret itself, read by the caller
 * (see {@linkcode cleanSecret}). Throws `usage` when there is no such node.
 */
export function nodeConfig(topology: Topology, nodeName: string, secret: Uint8Array): NodeConfig {
  const node = nodeNamed(topology, nodeName);
  const upstream = topology.links.find((link) => link.to === nodeName);
  return {
    cluster: topology.name,
    name: node.name,
    role: node.role,
    dir: node.dir,
    secret,
    listen: listenAddresses(topology, node),
    tls: node.tls,
    volumes: topology.volumes.map(({ name, sizeBytes }) => ({
      name,
      sizeBytes,
      path: node.volumes?.get(name) ?? null,
    })),
    // A scan makes deltas: the log itself holds next to nothing, and begins a segment behind each.
    log: node.capture === "scan" ? { ...node.log, segmentBytes: SEGMENT_BYTES_MIN } : node.log,
    nbd: node.nbd,
    nbdTls: node.nbdTls === "off" || node.nbdCerts === null
      ? null
      : { mode: node.nbdTls, files: node.nbdCerts, clients: node.nbdClients },
    capture: node.capture,
    beforeScan: node.beforeScan,
    afterScan: node.afterScan,
    allowInconsistent: node.allowInconsistent,
    beforeInconsistent: node.beforeInconsistent,
    applyDelayMs: node.applyDelayMs,
    onMark: node.onMark,
    hookTimeoutMs: node.hookTimeoutMs,
    upstream: upstream === undefined ? null : linkConfig(topology, upstream),
    downstream: topology.links.filter((link) => link.from === nodeName)
      .map((link) => linkConfig(topology, link)),
    tree: treeOf(topology),
    startAlone: node.startAlone,
    parents: node.parents ?? [],
    reparentAfterMs: node.reparentAfterMs ?? reparentAfterDefault(),
    nodeNames: topology.nodes.map(({ name }) => name),
  };
}

function reparentAfterDefault(): number {
  const parsed = parseDuration(REPARENT_AFTER_DEFAULT);
  return parsed.ok ? parsed.value : 0;
}

/** What every node knows of all of them. */
export function treeOf(topology: Topology): ClusterTree {
  return {
    nodes: topology.nodes.map((node) => ({
      name: node.name,
      role: node.role,
      addresses: addressesToDial(node),
      hasVolumes: node.volumes !== null,
    })),
    links: topology.links.map((link) => linkConfig(topology, link)),
  };
}

function linkConfig(topology: Topology, link: TopologyLink): LinkConfig {
  const dialled = nodeNamed(topology, link.dial === "to" ? link.from : link.to);
  return {
    name: link.name,
    from: link.from,
    to: link.to,
    mode: link.mode,
    onDisconnect: link.onDisconnect,
    timeoutMs: link.timeoutMs,
    onOverflow: link.onOverflow,
    dial: link.dial,
    addresses: dialAddresses(dialled, link),
    paused: link.paused,
    bandwidth: link.bandwidth,
    compress: link.compress,
    schedule: link.schedule,
    verify: link.verify,
  };
}
