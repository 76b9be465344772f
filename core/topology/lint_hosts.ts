/**
 * Lints of addresses and paths: what is open to the network, what two nodes
 * would fight over on one machine.
 *
 * @module
 */
import { isLoopback, isWildcard, SOCKET_PATH_BYTES_MAX } from "./address.ts";
import { endpointOf, Hosts } from "./hosts.ts";
import { isInside } from "./paths.ts";
import { type DocumentPath, formatPath, quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { Topology, TopologyNode } from "./topology.ts";

/** An address and its place in the file. */
interface PlacedAddress {
  readonly node: TopologyNode;
  readonly key: "listen" | "nbd" | "admin" | "advertise";
  readonly text: string;
  readonly path: DocumentPath;
}

/** Reports what is wrong with addresses and paths. */
export function lintHosts(topology: Topology, reporter: Reporter): void {
  const hosts = new Hosts(topology);
  for (const node of topology.nodes) {
    for (const address of addressesOf(node)) lintAddress(address, reporter);
  }
  lintPorts(topology, hosts, reporter);
  lintPaths(topology, hosts, reporter);
}

function addressesOf(node: TopologyNode): PlacedAddress[] {
  const placed = (key: PlacedAddress["key"], texts: readonly string[]) =>
    texts.map((text, index) => ({ node, key, text, path: ["nodes", node.name, key, index] }));
  return [
    ...placed("listen", node.listen),
    ...placed("advertise", node.advertise ?? []),
    ...placed("nbd", node.nbd),
    ...(node.admin === null
      ? []
      : [{ node, key: "admin" as const, text: node.admin, path: ["nodes", node.name, "admin"] }]),
  ];
}

function lintAddress({ node, key, text, path }: PlacedAddress, reporter: Reporter): void {
  const endpoint = endpointOf(text);
  if (endpoint.scheme === "unix") {
    const bytes = new TextEncoder().encode(endpoint.path).length;
    if (bytes <= SOCKET_PATH_BYTES_MAX) return;
    reporter.report(path, "value", {
      message: `the socket's path ${quote(endpoint.path)} has ${bytes} bytes; ` +
        `the system takes at most ${SOCKET_PATH_BYTES_MAX}`,
      found: text,
      expected: `at most ${SOCKET_PATH_BYTES_MAX} bytes`,
    });
    return;
  }
  if (isLoopback(endpoint.host) || key === "advertise") return;
  if (key === "listen" && endpoint.scheme === "tcp" && !node.insecure) {
    reporter.report(path, "value", {
      message: `${text} is open to the network and not encrypted; use tls:// or quic://, or set ` +
        `"insecure: true" on ${quote(node.name)} if the network itself is trusted`,
      found: text,
      expected: "tls://, quic://, a loopback address or insecure: true",
    });
  }
  if (key === "admin" && node.adminToken === null) {
    reporter.report(path, "value", {
      message: `${text} is open to the network; expected a loopback address, or an "adminToken"`,
      found: text,
      expected: "a loopback address or adminToken",
    });
  }
  if (key === "nbd" && endpoint.scheme === "tcp" && !node.insecure && node.nbdTls !== "required") {
    reporter.report(path, "value", {
      severity: "warning",
      message:
        `whoever reaches ${text} can read${node.role === "primary" ? " and write" : ""} the ` +
        `volumes: nothing is asked of a client here; set "nbdTls: required", or accept that with ` +
        `"insecure: true"`,
      found: text,
      expected: "nbdTls: required, a loopback address, a Unix socket or insecure: true",
    });
  }
}

/** One address for two listeners of one machine; port 0 stands for any free one. */
function lintPorts(topology: Topology, hosts: Hosts, reporter: Reporter): void {
  const claims = topology.nodes.flatMap(addressesOf).filter(({ key }) => key !== "advertise");
  for (const [index, claim] of claims.entries()) {
    const other = claims.slice(0, index).find((earlier) =>
      hosts.same(earlier.node.name, claim.node.name) && clashes(earlier.text, claim.text)
    );
    if (other === undefined) continue;
    reporter.report(claim.path, "value", {
      message: `${claim.text} is used twice: ${formatPath(other.path.slice(0, 3))} has ` +
        `${other.text === claim.text ? "it" : other.text} already`,
      found: claim.text,
      expected: "another port",
    });
  }
}

function clashes(a: string, b: string): boolean {
  const [first, second] = [endpointOf(a), endpointOf(b)];
  if (first.scheme === "unix" || second.scheme === "unix") {
    return first.scheme === "unix" && second.scheme === "unix" && first.path === second.path;
  }
  // QUIC is UDP, whose ports are others.
  if ((first.scheme === "quic") !== (second.scheme === "quic")) return false;
  if (first.port !== second.port || first.port === 0) return false;
  const [hostA, hostB] = [plainHost(first.host), plainHost(second.host)];
  return hostA === hostB || isWildcard(hostA) || isWildcard(hostB);
}

function plainHost(host: string): string {
  return host === "localhost" ? "127.0.0.1" : host;
}

/** A file or folder that two nodes or volumes of one machine would both write to. */
function lintPaths(topology: Topology, hosts: Hosts, reporter: Reporter): void {
  const claims = topology.nodes.flatMap((node) => [
    { node, isDir: true, text: node.dir, path: ["nodes", node.name, "dir"] },
    ...[...node.volumes ?? []].map(([volume, text]) => ({
      node,
      isDir: false,
      text,
      path: ["nodes", node.name, "volumes", volume],
    })),
  ]);
  for (const [index, claim] of claims.entries()) {
    for (const earlier of claims.slice(0, index)) {
      if (!hosts.same(earlier.node.name, claim.node.name)) continue;
      const nested = earlier.isDir && claim.isDir &&
        (isInside(claim.text, earlier.text) || isInside(earlier.text, claim.text));
      if (earlier.text !== claim.text && !nested) continue;
      reporter.report(claim.path, "value", {
        message: nested
          ? `${quote(claim.text)} and ${formatPath(earlier.path)}, ${
            quote(earlier.text)
          }, lie one ` +
            "in the other; expected a folder of its own for each node"
          : `${quote(claim.text)} is used twice: ${formatPath(earlier.path)} has it already`,
        found: claim.text,
      });
      break;
    }
  }
}
