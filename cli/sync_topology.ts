/**
 * The topology of a sync, read and checked, with what the command line asks of it.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { nearest } from "../core/topology/nearest.ts";
import { linkNamed, nodeNamed } from "../core/topology/node_config.ts";
import { topologyOrThrow } from "../core/topology/parse.ts";
import type { Topology, TopologyNode } from "../core/topology/topology.ts";
import { readTopology } from "../io/topology_file.ts";
import type { SyncRunOptions } from "./sync_run.ts";

/** Throws `topology`, and `usage` for a node or a link that does not go with it. */
export function topologyToSync(
  { topology: path, node: name, links }: SyncRunOptions,
): { readonly topology: Topology; readonly text: string; readonly node: TopologyNode } {
  const result = readTopology(path);
  const topology = topologyOrThrow(result);
  const node = nodeNamed(topology, name);
  checkLinks(topology, node, links);
  return { topology, text: result.text, node };
}

/** Refuses links that the node does not feed, and a node that feeds nobody. Throws `usage`. */
function checkLinks(
  topology: Topology,
  node: TopologyNode,
  links: readonly string[] | null,
): void {
  const fed = topology.links.filter(({ from }) => from === node.name).map(({ name }) => name);
  for (const name of links ?? []) {
    if (fed.includes(name)) continue;
    const { from } = linkNamed(topology, name);
    const meant = nearest(name, fed);
    throw new CascadeError("usage", `${node.name} does not feed the link ${name}`, {
      hint: `It is fed by ${from}: --node ${from}` +
        (meant === null ? "." : `. Did you mean ${meant}?`),
    });
  }
  if (fed.length > 0) return;
  const up = topology.links.find(({ to }) => to === node.name);
  throw new CascadeError("usage", `${node.name} feeds no link, so there is nothing to sync`, {
    hint: up === undefined
      ? "Name the upstream node of a link."
      : `It is fed by ${up.from}: --node ${up.from} --link ${up.name}.`,
  });
}
