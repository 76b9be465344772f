/**
 * What the format has and this version of Cascade does not do yet. Each is an error with its place:
 * nothing that a topology asks for is silently left undone.
 *
 * @module
 */
import { endpointOf } from "./hosts.ts";
import type { DocumentPath } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { Topology, TopologyLink, TopologyNode } from "./topology.ts";

/** Reports what `check` must refuse since no node of this version could honour it. */
export function lintAvailable(topology: Topology, reporter: Reporter): void {
  for (const node of topology.nodes) lintNode(node, reporter);
  for (const link of topology.links) lintLink(link, reporter);
}

function missing(reporter: Reporter, path: DocumentPath, what: string, instead: string): void {
  reporter.report(path, "value", {
    message: `${what} is not available in this version; ${instead}`,
    found: what,
    expected: instead,
  });
}

function lintNode(node: TopologyNode, reporter: Reporter): void {
  for (const key of ["listen", "advertise", "nbd"] as const) {
    for (const [index, text] of (node[key] ?? []).entries()) {
      const { scheme } = endpointOf(text);
      if (scheme === "tcp" || scheme === "unix") continue;
      missing(reporter, ["nodes", node.name, key, index], `${scheme}://`, "use tcp:// or unix:");
    }
  }
  if (node.admin !== null && endpointOf(node.admin).scheme === "https") {
    missing(reporter, ["nodes", node.name, "admin"], "https://", "use http://");
  }
}

function lintLink(link: TopologyLink, reporter: Reporter): void {
  const path = (key: string): DocumentPath => ["links", link.index, key];
  if (link.transport !== null && link.transport !== "tcp" && link.transport !== "unix") {
    missing(reporter, path("transport"), `transport: ${link.transport}`, "use tcp or unix");
  }
}
