/**
 * Lints of who feeds whom: names exist, links make one tree under one primary, roles fit.
 *
 * A link whose end is misspelt counts as the link that was meant, so that one slip is one problem.
 *
 * @module
 */
import { nearest } from "./nearest.ts";
import { type DocumentPath, quote } from "./problem.ts";
import type { Reporter, Target } from "./reporter.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";

/** Reports what is wrong with the tree of links. */
export function lintTree(topology: Topology, reporter: Reporter): void {
  lintLinkNames(topology, reporter);
  const links = topology.links.flatMap((link) => meantLink(topology, link, reporter) ?? []);
  // Without a link that nobody understands, who is left out cannot be told.
  const isWhole = links.length === topology.links.length;
  const upstream = new Map<string, TopologyLink>();
  for (const link of links) {
    const other = upstream.get(link.to);
    if (other === undefined) upstream.set(link.to, link);
    else {
      reporter.report(["links", link.index, "to"], "value", {
        message: `${quote(link.to)} has two upstream nodes, ${quote(other.from)} and ` +
          `${quote(link.from)}; expected one`,
        found: link.to,
      });
    }
  }
  const primary = lintPrimary(topology, upstream, reporter);
  lintCycles(topology, upstream, primary, reporter);
  for (const node of topology.nodes) {
    const hasChildren = links.some((link) => link.from === node.name);
    if (isWhole && primary !== null && node.role !== "primary" && !upstream.has(node.name)) {
      reporter.report(["nodes", node.name], "key", {
        message: `no link leads to ${quote(node.name)}, so nothing ever reaches it`,
        expected: `a link with to: ${node.name}`,
      });
    }
    lintRole(node, hasChildren, isWhole, reporter);
  }
}

/** The link with both ends set right, or null when one is beyond guessing; reports wrong ends. */
function meantLink(
  topology: Topology,
  link: TopologyLink,
  reporter: Reporter,
): TopologyLink | null {
  const names = topology.nodes.map((node) => node.name);
  const end = (key: "from" | "to"): string | null =>
    names.includes(link[key])
      ? link[key]
      : reportUnknown(reporter, ["links", link.index, key], "value", "node", link[key], names);
  const [from, to] = [end("from"), end("to")];
  return from === null || to === null ? null : { ...link, from, to };
}

/** Reports a name that is not there, and returns the nearest one that is. */
export function reportUnknown(
  reporter: Reporter,
  path: DocumentPath,
  target: Target,
  what: "node" | "volume",
  name: string,
  names: readonly string[],
): string | null {
  const meant = nearest(name, names);
  const known = `${names.slice(0, 10).join(", ")}${names.length > 10 ? ", ..." : ""}`;
  reporter.report(path, target, {
    message: `there is no ${what} ${quote(name)}; ` +
      (meant !== null
        ? `did you mean ${quote(meant)}?`
        : names.length === 0
        ? `there is no ${what} at all`
        : `expected ${known}`),
    found: name,
    expected: names.join(", "),
    nearest: meant,
  });
  return meant;
}

function lintLinkNames(topology: Topology, reporter: Reporter): void {
  const first = new Map<string, TopologyLink>();
  for (const link of topology.links) {
    const other = first.get(link.name);
    if (other === undefined) {
      first.set(link.name, link);
      continue;
    }
    const place = reporter.place(["links", other.index, "name"], "value");
    const { line } = reporter.position(place.offset);
    reporter.report(["links", link.index, "name"], "value", {
      message: `the link name ${quote(link.name)} is taken by the link on line ${line}`,
      found: link.name,
    });
  }
}

/** Exactly one primary, at the top. Returns it, the first one if there are several. */
function lintPrimary(
  topology: Topology,
  upstream: ReadonlyMap<string, TopologyLink>,
  reporter: Reporter,
): TopologyNode | null {
  const primaries = topology.nodes.filter((node) => node.role === "primary");
  const [primary] = primaries;
  if (primary === undefined) {
    const tops = topology.nodes.filter((node) => !upstream.has(node.name));
    const top = tops.length === 1 ? tops[0]?.name ?? null : null;
    reporter.report(["nodes"], "key", {
      message: "no node has the role primary; expected exactly one, which takes the writes" +
        (top === null ? "" : `. Is it meant to be ${quote(top)}?`),
      expected: "one primary",
      nearest: top,
    });
    return null;
  }
  for (const extra of primaries.slice(1)) {
    reporter.report(["nodes", extra.name, "role"], "value", {
      message: `${quote(extra.name)} is a second primary beside ${quote(primary.name)}; ` +
        "expected exactly one",
      found: "primary",
      expected: "intermediate or secondary",
    });
  }
  const link = upstream.get(primary.name);
  if (link !== undefined) {
    reporter.report(["links", link.index, "to"], "value", {
      message: `${quote(primary.name)} is the primary and cannot have an upstream node`,
      found: primary.name,
    });
  }
  return primary;
}

function lintRole(
  node: TopologyNode,
  hasChildren: boolean,
  isWhole: boolean,
  reporter: Reporter,
): void {
  if (node.role === "secondary" && hasChildren) {
    reporter.report(["nodes", node.name, "role"], "value", {
      message: `${quote(node.name)} feeds other nodes; expected the role intermediate`,
      found: "secondary",
      expected: "intermediate",
    });
  }
  if (node.role === "intermediate" && !hasChildren && isWhole) {
    reporter.report(["nodes", node.name, "role"], "value", {
      severity: "warning",
      message: `${quote(node.name)} is an intermediate but feeds no node`,
      found: "intermediate",
      expected: "secondary",
    });
  }
}

function lintCycles(
  topology: Topology,
  upstream: ReadonlyMap<string, TopologyLink>,
  primary: TopologyNode | null,
  reporter: Reporter,
): void {
  const cleared = new Set<string>();
  for (const { name } of topology.nodes) {
    const way: string[] = [];
    let at: string | undefined = name;
    while (at !== undefined && !cleared.has(at) && !way.includes(at)) {
      way.push(at);
      at = upstream.get(at)?.from;
    }
    // A circle through the primary was reported as the primary's upstream node.
    if (at !== undefined && way.includes(at) && !way.includes(primary?.name ?? "")) {
      const cycle = [at, ...way.slice(way.indexOf(at)).toReversed()];
      const link = upstream.get(at);
      reporter.report(["links", link?.index ?? 0, "from"], "value", {
        message: cycle.length === 2
          ? `${quote(at)} is linked to itself`
          : `the links run in a circle: ${cycle.join(" -> ")}`,
        found: link?.from ?? null,
      });
    }
    for (const passed of way) cleared.add(passed);
  }
}
