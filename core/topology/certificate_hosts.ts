/**
 * Under which names and addresses the clients of a node come: those that its certificate has to bear beside the
 * names by which nodes know each other.
 *
 * @module
 */
import { isLoopback, isWildcard } from "./address.ts";
import { endpointOf } from "./hosts.ts";
import type { TopologyNode } from "./topology.ts";

/** Names and addresses, each once, sorted. */
export interface CertificateHosts {
  readonly dns: readonly string[];
  readonly ips: readonly string[];
}

/** All that names this machine for itself: what a program on it may have typed. */
const SELF = ["localhost", "127.0.0.1", "::1"];

/** The hosts of a node, as far as its addresses tell; `more` are added. */
export function certificateHosts(
  node: Pick<TopologyNode, "listen" | "advertise" | "nbd">,
  more: readonly string[] = [],
): CertificateHosts {
  const hosts = [...node.listen, ...node.advertise ?? [], ...node.nbd].flatMap((text) => {
    const endpoint = endpointOf(text);
    if (endpoint.scheme === "unix") return [];
    const { host } = endpoint;
    return isWildcard(host) || isLoopback(host) ? SELF : [host];
  });
  return hostsOf([...hosts, ...more]);
}

/** Tells names from addresses. */
export function hostsOf(hosts: readonly string[]): CertificateHosts {
  const all = [...new Set(hosts.map((host) => host.toLowerCase()))].sort();
  return { dns: all.filter((host) => !isIp(host)), ips: all.filter(isIp) };
}

/** Whether it is an address in numbers; brackets are no part of one. */
export function isIp(host: string): boolean {
  return host.includes(":") || /^\d{1,3}(\.\d{1,3}){3}$/.test(host);
}
