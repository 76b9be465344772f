/**
 * What the format has and this version of Cascade does not do yet. Each is an error with its place:
 * nothing that a topology asks for is silently left undone.
 *
 * @module
 */
import { endpointOf } from "./hosts.ts";
import type { DocumentPath } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import type { Topology, TopologyNode } from "./topology.ts";

/** Reports what `check` must refuse since no node of this version could honour it. */
export function lintAvailable(topology: Topology, reporter: Reporter): void {
  for (const node of topology.nodes) lintNode(node, reporter);
}

function missing(reporter: Reporter, path: DocumentPath, what: string, instead: string): void {
  reporter.report(path, "value", {
    message: `${what} is not available in this version; ${instead}`,
    found: what,
    expected: instead,
  });
}

function lintNode(node: TopologyNode, reporter: Reporter): void {
  for (const [index, text] of node.nbd.entries()) {
    const { scheme } = endpointOf(text);
    if (scheme === "tcp" || scheme === "unix") continue;
    missing(reporter, ["nodes", node.name, "nbd", index], `${scheme}://`, "use tcp:// or unix:");
  }
  if (node.admin !== null && endpointOf(node.admin).scheme === "https") {
    missing(reporter, ["nodes", node.name, "admin"], "https://", "use http://");
  }
}
