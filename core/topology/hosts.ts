/**
 * Which nodes run on one machine, as far as a topology tells. `127.0.0.1:7421` or
 * `/var/lib/cascade` on two nodes is a clash on one machine and quite right on two.
 *
 * @module
 */
import {
  type Endpoint,
  formatExec,
  isLoopback,
  isWildcard,
  parseAdminUrl,
  parseExec,
  parseStreamAddress,
} from "./address.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";

/** Groups of nodes that share a machine. */
export class Hosts {
  readonly #parent = new Map<string, string>();

  /** Takes it from addresses in common, and from links that run over loopback. */
  constructor(topology: Topology) {
    const byName = new Map(topology.nodes.map((node) => [node.name, node]));
    const owner = new Map<string, string>();
    for (const node of topology.nodes) {
      for (const host of machineHosts(node)) {
        const other = owner.get(host);
        if (other === undefined) owner.set(host, node.name);
        else this.#join(other, node.name);
      }
    }
    for (const link of topology.links) {
      const dialled = byName.get(link.dial === "to" ? link.from : link.to);
      const dialler = byName.get(link.dial === "to" ? link.to : link.from);
      if (dialled === undefined || dialler === undefined) continue;
      if (staysOnMachine(dialled, link) && !mayDiffer(dialled, dialler)) {
        this.#join(dialled.name, dialler.name);
      }
    }
  }

  /** Whether two nodes are known to run on one machine. */
  same(a: string, b: string): boolean {
    return this.#root(a) === this.#root(b);
  }

  #root(name: string): string {
    let root = name;
    for (let up = this.#parent.get(root); up !== undefined; up = this.#parent.get(root)) root = up;
    return root;
  }

  #join(a: string, b: string): void {
    const [rootA, rootB] = [this.#root(a), this.#root(b)];
    if (rootA !== rootB) this.#parent.set(rootB, rootA);
  }
}

/** The hosts of a node's addresses that name one machine in the whole network. */
function machineHosts(node: TopologyNode): Set<string> {
  const hosts = endpointsOf(node).flatMap((endpoint) => "host" in endpoint ? [endpoint.host] : []);
  return new Set(hosts.filter((host) => !isLoopback(host) && !isWildcard(host)));
}

function mayDiffer(a: TopologyNode, b: TopologyNode): boolean {
  return machineHosts(a).size > 0 && machineHosts(b).size > 0;
}

/** Whether a link to `dialled` can only be dialled from its own machine. */
function staysOnMachine(dialled: TopologyNode, link: TopologyLink): boolean {
  // What is advertised on loopback is the near end of a tunnel.
  if (dialled.advertise !== null) return false;
  const addresses = dialAddresses(dialled, link);
  return addresses.length > 0 && addresses.every((text) => {
    if (parseExec(text) !== null) return false;
    const endpoint = endpointOf(text);
    return endpoint.scheme === "unix" || isLoopback(endpoint.host);
  });
}

/** A checked address, taken apart. */
export function endpointOf(text: string): Endpoint {
  const result = text.startsWith("http") ? parseAdminUrl(text) : parseStreamAddress(text);
  if (!result.ok) throw new TypeError(`${text} is no address`);
  return result.endpoint;
}

function endpointsOf(node: TopologyNode): Endpoint[] {
  const admin = node.admin === null ? [] : [node.admin];
  return [...node.listen, ...node.nbd, ...admin].map(endpointOf);
}

/** Where a node can be dialled at all, in the file's order. */
export function addressesToDial(node: TopologyNode): string[] {
  return (node.advertise ?? node.listen).filter((text) => {
    const endpoint = endpointOf(text);
    return endpoint.scheme === "unix" || (endpoint.port !== 0 && !isWildcard(endpoint.host));
  });
}

/**
 * Where the dialling end of `link` finds `dialled`: what can be dialled, in the order of the link's transports,
 * or else in the file's.
 */
export function dialAddresses(dialled: TopologyNode, link: TopologyLink): string[] {
  const all = (dialled.advertise ?? dialled.listen).filter((text) => {
    const endpoint = endpointOf(text);
    return endpoint.scheme === "unix" || (endpoint.port !== 0 && !isWildcard(endpoint.host));
  });
  return link.transport?.flatMap((kind) =>
    kind !== "exec"
      ? all.filter((text) => endpointOf(text).scheme === kind)
      : link.exec === null
      ? []
      : [formatExec(link.exec)]
  ) ?? all;
}

/** Where `cascade attach` finds a node on its host. */
export function attachAddress(node: TopologyNode): string {
  return node.listen.find((text) => text.startsWith("unix:")) ?? `unix:${node.dir}/attach.sock`;
}

/** All that a node listens on: also for `cascade attach`, where it is dialled by a command. */
export function listenAddresses(topology: Topology, node: TopologyNode): string[] {
  const isAttached = topology.links.some((link) =>
    (link.transport ?? []).includes("exec") &&
    (link.dial === "to" ? link.from : link.to) === node.name
  );
  const address = attachAddress(node);
  return !isAttached || node.listen.includes(address)
    ? [...node.listen]
    : [...node.listen, address];
}
