/**
 * Whether the cascade has come to rest: every node at the primary's end, every link in its best
 * state. Asked once faults have stopped; see oracle.ts for what is checked all the time.
 *
 * @module
 */
import type { NodeStatus } from "../../core/status.ts";
import type { SimHost } from "./sim_host.ts";

/** Hosts that cannot come to rest: nobody above them has what they lack any more. */
export function overflowedHosts(hosts: readonly SimHost[]): Set<SimHost> {
  const lost = new Set<SimHost>();
  // Parents come before their children.
  for (const host of hosts) {
    const { upstream } = host.planned.config;
    if (upstream === null) continue;
    const parent = hosts.find((other) => other.name === upstream.from);
    if (parent !== undefined && (lost.has(parent) || isBehindLog(host, parent))) lost.add(host);
  }
  return lost;
}

/** The parent has neither the log nor a delta for where the child stands, and no volume to read from. */
function isBehindLog(host: SimHost, parent: SimHost): boolean {
  const [below, above] = [host.node, parent.node];
  if (below === null || above === null || above.pipeline.volumes.length > 0) return false;
  const { stableLsn } = below.pipeline;
  const { log, shelf } = above.pipeline;
  const streams = stableLsn >= log.startLsn && log.gapAt(stableLsn) === null;
  return !streams && shelf.covering(stableLsn) === null;
}

/**
 * Hosts that cannot acknowledge for their sync peers, since one of those is lost: the sync link
 * above them cannot come to rest, although the data flows.
 */
function hostsOfLostPeers(hosts: readonly SimHost[], lost: ReadonlySet<SimHost>): Set<string> {
  const names = new Set([...lost].map((host) => host.name));
  // Children come before their parents.
  for (const host of [...hosts].reverse()) {
    const { downstream } = host.planned.config;
    if (downstream.some(({ mode, to }) => mode === "sync" && names.has(to))) names.add(host.name);
  }
  return names;
}

/** What keeps the cascade from rest; empty when it is there. */
export function unrest(hosts: readonly SimHost[]): string[] {
  const primary = hosts.find((host) => host.planned.config.upstream === null)?.node;
  if (primary === undefined || primary === null) return ["the primary does not run"];
  const endLsn = primary.pipeline.appendedLsn;
  const lost = overflowedHosts(hosts);
  const silent = hostsOfLostPeers(hosts, lost);
  const reasons = unheard(hosts, primary.status(), silent);
  for (const host of hosts) {
    if (lost.has(host)) continue;
    if (host.node === null) reasons.push(`${host.name} does not run`);
    else reasons.push(...unrestOf(host.node.status(), endLsn, silent));
  }
  return reasons;
}

function unrestOf(status: NodeStatus, endLsn: number, silent: ReadonlySet<string>): string[] {
  const { name, lsn, links } = status;
  const reasons: string[] = [];
  if (!status.consistent) {
    reasons.push(`${name} is inconsistent: ${status.inconsistentUntil?.reason}`);
  }
  if (status.state !== "running") reasons.push(`${name} is ${status.state}: ${status.reason}`);
  if (Object.values({ ...lsn, checkpointed: endLsn }).some((position) => position !== endLsn)) {
    reasons.push(`${name} is at ${JSON.stringify(lsn)}, the end is ${endLsn}`);
  }
  if (status.lagBytes !== 0 || status.lagSeconds !== 0) {
    reasons.push(`${name} tells of a lag of ${status.lagBytes} bytes, ${status.lagSeconds} s`);
  }
  for (const link of links) {
    if (link.from !== name || silent.has(link.to)) continue;
    const isAtRest = link.state === "streaming" || link.state === "waiting";
    if (!isAtRest) reasons.push(`${link.name} is ${link.state}: ${link.reason}`);
    if (link.durable !== endLsn) reasons.push(`${link.name} tells of ${link.durable} as durable`);
    if (link.lagSeconds !== 0) reasons.push(`${link.name} lags by ${link.lagSeconds} s`);
  }
  return reasons;
}

/** Links of the whole cascade that the primary does not tell of, or not as they are. */
function unheard(
  hosts: readonly SimHost[],
  status: NodeStatus,
  silent: ReadonlySet<string>,
): string[] {
  const told = new Map(status.links.map((link) => [link.name, link]));
  const links = hosts.flatMap((host) => host.planned.config.downstream)
    .filter(({ from, to }) => !silent.has(from) && !silent.has(to));
  return links.filter(({ name }) => told.get(name)?.durable !== status.lsn.appended)
    .map(({ name }) => `the primary tells of ${name} as ${JSON.stringify(told.get(name))}`);
}
