/**
 * What is to be told of the tree when it is not as the topology file says.
 *
 * @module
 */
import type { Report } from "../report.ts";

/** One line for each thing that whoever knows the file alone would not expect. */
export function treeRemarks({ tree, nodes, declared }: Report): string[] {
  const lines: string[] = [];
  if (tree !== null && !tree.isDeclared) {
    const fed = Object.entries(tree.parents).filter(([to, from]) => declared.get(to) !== from)
      .map(([to, from]) => `${to} by ${from}`);
    const since = tree.reign === 0 ? "" : ` since epoch ${tree.reign}`;
    const primary = declared.has(tree.primary) ? `${tree.primary} is the primary${since}` : "";
    const list = fed.length === 0 ? "" : `fed otherwise: ${fed.join(", ")}`;
    const parts = [primary, list].filter((part) => part !== "");
    lines.push(`the tree is not as the topology says: ${parts.join("; ")}`);
  }
  for (const { status } of nodes) {
    if (status === null || status.tree === null) continue;
    if (status.tree.isRejoining) {
      lines.push(`${status.name}: takes what leads from an abandoned epoch to this one`);
    }
    if (tree !== null && status.tree.reign < tree.reign) {
      lines.push(`${status.name}: has not heard yet that ${tree.primary} is the primary`);
    }
  }
  return lines;
}
