/**
 * Lints of `parents` and `reparentAfter`: whom a node may choose to be fed by.
 *
 * The first of the list is the node that the links put it below: that is where it is at home. The primary of the file has
 * no such node: its list counts once another one reigns.
 *
 * @module
 */
import { addressesToDial } from "./hosts.ts";
import { reportUnknown } from "./lint_tree.ts";
import { type DocumentPath, quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";
import { formatDuration } from "./units.ts";

/** A node looks ten times a second; a connection that is cut is dialled again within two seconds. */
const REPARENT_MS_MIN = 1_000;
/** Whoever waits for longer wants to be asked. */
const REPARENT_MS_MAX = 7 * 86_400_000;

/** What one node's list is looked at with. */
interface Ground {
  readonly topology: Topology;
  readonly node: TopologyNode;
  readonly list: readonly string[];
  /** The link that leads to it; undefined: none does, which is the primary's case. */
  readonly upstream: TopologyLink | undefined;
  readonly reporter: Reporter;
}

/** Reports lists of parents that cannot work, or that their author may not have meant. */
export function lintParents(topology: Topology, node: TopologyNode, reporter: Reporter): void {
  lintTime(node, reporter);
  if (node.parents === null) return;
  const path: DocumentPath = ["nodes", node.name, "parents"];
  if (node.parents.length === 0) {
    const message = `${quote(node.name)} has an empty list of parents; expected names, such as ` +
      "[metro, hq], or no such key";
    reporter.report(path, "key", { message });
    return;
  }
  const upstream = topology.links.find(({ to }) => to === node.name);
  const ground = { topology, node, list: node.parents, upstream, reporter };
  const names = node.parents.map((name, index) => lintName(ground, name, [...path, index]));
  if (names.some((name) => name === null)) return;
  lintFirst(ground, path);
}

function lintTime({ name, parents, reparentAfterMs: ms }: TopologyNode, reporter: Reporter): void {
  if (ms === null) return;
  const path = ["nodes", name, "reparentAfter"];
  if (parents === null) {
    reporter.report(path, "key", {
      message: "reparentAfter counts for nothing without parents, such as parents: [metro, hq]",
      expected: "parents",
    });
  } else if (ms < REPARENT_MS_MIN || ms > REPARENT_MS_MAX) {
    const expected = `${formatDuration(REPARENT_MS_MIN)} to ${formatDuration(REPARENT_MS_MAX)}`;
    reporter.report(path, "value", {
      message: `reparentAfter ${formatDuration(ms)} cannot work; expected ${expected}`,
      found: formatDuration(ms),
      expected,
    });
  }
}

/** One name of the list, as it was meant; null: something is wrong with it, and was reported. */
function lintName(ground: Ground, name: string, path: DocumentPath): string | null {
  const { topology, node, list, reporter } = ground;
  const others = topology.nodes.filter((other) => other.name !== node.name);
  const wrong = (message: string, expected: string | null = null) => {
    reporter.report(path, "value", { message, found: name, expected });
    return null;
  };
  if (name === node.name) return wrong(`${quote(name)} cannot be fed by itself`);
  const parent = others.find((other) => other.name === name);
  if (parent === undefined) {
    reportUnknown(reporter, path, "value", "node", name, others.map((other) => other.name));
    return null;
  }
  if (list.indexOf(name) < Number(path.at(-1))) {
    return wrong(`${quote(name)} is among the parents of ${quote(node.name)} twice`);
  }
  if (name === ground.upstream?.from) return name;
  const why = whyNotDialled(node, parent) ?? whyNotScanned(ground, parent);
  if (why !== null) return wrong(why);
  if (ground.upstream !== undefined && isBelow(topology, name, node.name)) {
    reporter.report(path, "value", {
      severity: "warning",
      message: `${quote(name)} is fed by ${quote(node.name)} itself, as the links are: it is ` +
        "passed over for as long as that is so",
      found: name,
    });
  }
  return name;
}

/** Why a node cannot dial one of its list, as it has to; null: it can. */
function whyNotDialled(node: TopologyNode, parent: TopologyNode): string | null {
  const addresses = addressesToDial(parent);
  const who = `${quote(node.name)} has to dial ${quote(parent.name)} to be fed by it`;
  if (addresses.length === 0) {
    return `${who}, and ${quote(parent.name)} has no address to dial; give it a "listen" address`;
  }
  if (node.tls !== null || addresses.some((address) => !/^(tls|quic):/.test(address))) return null;
  return `${who}, which is over TLS alone, and ${
    quote(node.name)
  } has no certificate; set "certs" ` +
    'to the folder that `cascade certs` made, or "tls" on the node';
}

/** Its link comes along, with all that is set for it; null: that can be. */
function whyNotScanned({ node, upstream }: Ground, parent: TopologyNode): string | null {
  if (parent.capture !== "scan" || upstream === undefined) return null;
  const odd = upstream.mode === "sync"
    ? "mode: sync"
    : upstream.onOverflow !== "map"
    ? `onOverflow: ${upstream.onOverflow}`
    : upstream.verify !== null
    ? "verify"
    : null;
  if (odd === null) return null;
  return `${quote(parent.name)} has capture: scan, and cannot feed ${quote(node.name)} as its ` +
    `link ${quote(upstream.name)} asks for, with ${odd}`;
}

/** The links and the list say one thing. */
function lintFirst({ node, list, upstream, reporter, topology }: Ground, path: DocumentPath): void {
  if (upstream === undefined || !topology.nodes.some(({ name }) => name === upstream.from)) return;
  const expected = `parents: [${
    [upstream.from, ...list.filter((n) => n !== upstream.from)].join(", ")
  }]`;
  if (list[0] !== upstream.from) {
    const found = list.includes(upstream.from)
      ? `begins with ${quote(list[0] ?? "")}`
      : "does not name it";
    reporter.report([...path, 0], "value", {
      message: `the links put ${quote(node.name)} below ${quote(upstream.from)}, and its list of ` +
        `parents ${found}; expected ${expected}, or another link`,
      found: list[0] ?? null,
      expected,
    });
  } else if (list.length === 1) {
    reporter.report(path, "key", {
      severity: "warning",
      message:
        `${quote(node.name)} has no other parent than ${quote(upstream.from)}, where it is ` +
        "anyhow; expected another one behind it",
    });
  }
}

/** Whether the links lead from `above` to `name`. */
function isBelow(topology: Topology, name: string, above: string): boolean {
  let at: string | undefined = name;
  for (let turns = 0; at !== undefined && turns <= topology.links.length; turns++) {
    if (at === above) return true;
    at = topology.links.find(({ to }) => to === at)?.from;
  }
  return false;
}
