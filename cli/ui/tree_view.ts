/**
 * What is to be told of the tree when it is not as the topology file says.
 *
 * @module
 */
import type { TreeStatus } from "../../core/status.ts";
import type { Report } from "../report.ts";

/** One line for each thing that whoever knows the file alone would not expect. */
export function treeRemarks({ tree, nodes, declared }: Report): string[] {
  const lines: string[] = [];
  // Whoever has chosen another parent for the time being is told of on a line of its own.
  const homes = Object.entries({ ...tree?.parents, ...tree?.chosen });
  const fed = homes.filter(([to, from]) => declared.get(to) !== from)
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
  lines.push(...choiceRemarks(tree, nodes));
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

/** Who is away from home by its own choice, and who would have another parent and finds none. */
function choiceRemarks(tree: TreeStatus | null, nodes: Report["nodes"]): string[] {
  const away = Object.entries(tree?.chosen ?? {}).map(([name, home]) => {
    const choice = nodes.find(({ status }) => status?.name === name)?.status?.tree?.choice ?? null;
    const why = choice === null || choice.reason === null ? "" : ` (${choice.reason})`;
    return `${name}: fed by ${
      tree?.parents[name]
    } by its own choice, until ${home} is well again${why}`;
  });
  const stuck = nodes.flatMap(({ status }) => {
    const choice = status?.tree?.choice ?? null;
    if (status === null || choice === null || choice.awaySince === null) return [];
    const why = choice.candidates.filter(({ reason }) => reason !== null)
      .map(({ name, reason }) => `${name}: ${reason}`);
    return why.length === 0
      ? []
      : [`${status.name}: no other parent can feed it: ${why.join("; ")}`];
  });
  return [...away, ...stuck];
}
