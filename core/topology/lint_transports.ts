/**
 * Lints of what carries the links: whoever dials must have something to dial, and TLS needs certificates.
 *
 * @module
 */
import { SOCKET_PATH_BYTES_MAX } from "./address.ts";
import { dialAddresses, endpointOf, listenAddresses } from "./hosts.ts";
import { quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";

/** Reports links that cannot come about. */
export function lintTransports(topology: Topology, reporter: Reporter): void {
  for (const node of topology.nodes) lintNode(topology, node, reporter);
  for (const link of topology.links) {
    lintExec(link, reporter);
    lintDial(topology, link, reporter);
  }
}

const needsCertificate = (address: string) => /^(tls|quic):/.test(address);

function lintNode(topology: Topology, node: TopologyNode, reporter: Reporter): void {
  lintNbdTls(node, reporter);
  const listen = node.listen.findIndex(needsCertificate);
  if (listen >= 0 && node.tls === null) {
    const text = node.listen[listen] ?? "";
    reporter.report(["nodes", node.name, "listen", listen], "value", {
      message: `${text} needs a certificate, and ${quote(node.name)} has none; ` +
        'set "certs" to the folder that `cascade certs` made, or "tls" on the node',
      found: text,
      expected: "certs: FOLDER",
    });
  }
  for (const address of listenAddresses(topology, node).slice(node.listen.length)) {
    const bytes = new TextEncoder().encode(address.slice("unix:".length)).length;
    if (bytes <= SOCKET_PATH_BYTES_MAX) continue;
    reporter.report(["nodes", node.name, "dir"], "value", {
      message:
        `a link by "exec" needs the socket ${quote(address)}, whose path has ${bytes} bytes; the ` +
        `system takes at most ${SOCKET_PATH_BYTES_MAX}: add a shorter unix: address to "listen"`,
      found: node.dir,
    });
  }
}

/** What is asked for must be possible, and must mean something. */
function lintNbdTls(node: TopologyNode, reporter: Reporter): void {
  const path = ["nodes", node.name];
  const isOff = node.nbdTls === "off";
  if (!isOff && node.nbdCerts === null) {
    reporter.report([...path, "nbdTls"], "value", {
      message:
        `nbdTls: ${node.nbdTls} needs a certificate, and ${quote(node.name)} has none; set ` +
        '"certs" to the folder that `cascade certs` made, or "nbdCerts" on the node',
      found: node.nbdTls,
      expected: "certs: FOLDER",
    });
  }
  if (!isOff && !node.nbd.some((address) => address.startsWith("tcp:"))) {
    reporter.report([...path, "nbdTls"], "value", {
      severity: "warning",
      message: `nbdTls is for clients over TCP, and "nbd" of ${
        quote(node.name)
      } has no tcp:// address`,
      found: node.nbdTls,
      expected: "nbd: tcp://HOST:PORT",
    });
  }
  if (isOff && node.nbdClients !== null) {
    // Not a warning: somebody relies on it.
    reporter.report([...path, "nbdClients"], "key", {
      message: `nbdClients keeps nobody out while nbdTls is off; set "nbdTls: required"`,
      expected: "nbdTls: required",
    });
  } else if (node.nbdTls === "allowed" && node.nbdClients !== null) {
    reporter.report([...path, "nbdClients"], "key", {
      message:
        "nbdClients keeps nobody out while nbdTls is allowed: whoever does not ask for TLS goes on in " +
        'plain; set "nbdTls: required"',
      expected: "nbdTls: required",
    });
  }
}

/** A command, and word that it is to be used, come together. */
function lintExec(link: TopologyLink, reporter: Reporter): void {
  const isWanted = (link.transport ?? []).includes("exec");
  if (isWanted === (link.exec !== null)) return;
  if (isWanted) {
    reporter.report(["links", link.index, "transport"], "value", {
      message: 'transport: exec needs a command; add "exec: [ssh, HOST, cascade, attach, --node, ' +
        `${link.dial === "to" ? link.from : link.to}]"`,
      found: "exec",
      expected: "exec: COMMAND",
    });
  } else {
    reporter.report(["links", link.index, "exec"], "key", {
      message:
        'exec is not among the transports of this link; add it to "transport", or leave one of ' +
        "the two out",
      expected: "transport: exec",
    });
  }
}

/** Whoever dials must have something to dial, and a certificate where that asks for one. */
function lintDial(topology: Topology, link: TopologyLink, reporter: Reporter): void {
  const [dialledName, diallerName] = link.dial === "to"
    ? [link.from, link.to]
    : [link.to, link.from];
  const dialled = topology.nodes.find((node) => node.name === dialledName);
  const dialler = topology.nodes.find((node) => node.name === diallerName);
  if (dialled === undefined) return;
  const addresses = dialAddresses(dialled, link);
  const missing = (link.transport ?? []).find((kind) => kind !== "exec" && !has(dialled, kind));
  const isExecMissing = (link.transport ?? []).includes("exec") && link.exec === null;
  if (missing !== undefined || addresses.length === 0 && !isExecMissing) {
    reportNothingToDial(dialled, link, missing, reporter);
  }
  if (dialler !== undefined && dialler.tls === null && addresses.some(needsCertificate)) {
    const key = link.dial === "to" ? "to" : "from";
    reporter.report(["links", link.index, key], "value", {
      message:
        `${quote(diallerName)} dials ${quote(dialledName)} over TLS on this link, and has no ` +
        'certificate; set "certs" to the folder that `cascade certs` made, or "tls" on the node',
      found: diallerName,
      expected: "certs: FOLDER",
    });
  }
}

function has(node: TopologyNode, kind: string): boolean {
  return (node.advertise ?? node.listen).some((text) => endpointOf(text).scheme === kind);
}

function reportNothingToDial(
  dialled: TopologyNode,
  link: TopologyLink,
  missing: string | undefined,
  reporter: Reporter,
): void {
  const diallerName = link.dial === "to" ? link.to : link.from;
  const all = dialled.advertise ?? dialled.listen;
  const why = all.length === 0
    ? `has no "listen" address`
    : missing !== undefined
    ? `has no ${missing} address`
    : `has only addresses that cannot be dialled (${
      all.join(", ")
    }) and does not "advertise" others`;
  const instead = link.dial === "to" ? "from" : "to";
  reporter.report(["links", link.index, link.dial === "to" ? "from" : "to"], "value", {
    message: `${quote(diallerName)} dials ${quote(dialled.name)} on this link, but ` +
      `${quote(dialled.name)} ${why}; add one to it, or set "dial: ${instead}" here`,
    found: dialled.name,
    expected: `a node with an address to dial`,
  });
}
