/**
 * What is to be told of the tree when it is not as the topology file says.
 *
 * @module
 */
import type { Report } from "../report.ts";

/** One line for each thing that whoever knows the file alone would not expect. */
export function treeRemarks({ tree, nodes, declared }: Report): string[] {
  const lines: string[] = [];
  const fed = Object.entries(tree?.parents ?? {}).filter(([to, from]) => declared.get(to) !== from)
    .map(([to, from]) => `${to} by ${from}`);
  const isHere = tree === null || (fed.length === 0 && !declared.has(tree.primary));
  const others = nodes.flatMap(({ status }) =>
    status?.tree?.isDeclared === false ? [status.name] : []
  );
  if (tree !== null && !isHere) {
    const since = tree.reign === 0 ? "" : ` since epoch ${tree.reign}`;
    const primary = declared.has(tree.primary) ? `${tree.primary} is the primary${since}` : "";
    const list = fed.length === 0 ? "" : `fed otherwise: ${fed.join(", ")}`;
    const parts = [primary, list].filter((part) => part !== "");
    lines.push(`the tree is not as the topology says: ${parts.join("; ")}`);
  }
  if (tree !== null && (!isHere || others.length > 0) && tree.conflict === null) {
    // Where all files say the same, nothing has to be told of each.
    const isEverywhere = !isHere && nodes.every(({ status }) => status?.tree?.isDeclared !== true);
    const which = isEverywhere || others.length === 0
      ? ""
      : `the topology file of ${others.join(", ")} says otherwise: `;
    lines.push(
      `${which}\`cascade migrate ${tree.primary} --write\` writes what is so into the files`,
    );
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
