/**
 * The tree as it is now, told as if it had been declared so; and how it differs from what a topology file says. What a
 * node has chosen by itself for the time being is no matter of a file: it counts as at home.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { type ClusterTree, declaredPrimary, linksIn, modelOf, parentsIn } from "./tree.ts";
import { firstView, type View, viewAtHome } from "./view.ts";

/** A link of the file, and which link takes its place. */
export interface SettledLink {
  readonly link: LinkConfig;
  /** The link of the file with the settings that hold for it, by its place there. */
  readonly model: number;
}

/**
 * Which link takes the place of each of the file's, in their order: the same one, that one turned round, or one that
 * came by another parent. Links of the file that are not wanted any more are not among them, and new ones come last.
 */
export function settledLinks(tree: ClusterTree, view: View): SettledLink[] {
  const wanted = linksIn(tree, viewAtHome(view));
  const places: (SettledLink | undefined)[] = new Array(tree.links.length);
  const place = (find: (link: LinkConfig) => number | undefined) => {
    for (const link of [...wanted]) {
      const index = find(link);
      if (index === undefined || index < 0 || places[index] !== undefined) continue;
      places[index] = { link, model: indexOfModel(tree, link) };
      wanted.splice(wanted.indexOf(link), 1);
    }
  };
  place(({ from, to }) => tree.links.findIndex((one) => one.from === from && one.to === to));
  place(({ from, to }) => tree.links.findIndex((one) => one.from === to && one.to === from));
  place((link) => indexOfModel(tree, link));
  place(() => tree.links.findIndex((_, index) => places[index] === undefined));
  const rest = wanted.map((link) => ({ link, model: indexOfModel(tree, link) }));
  return [...places.filter((one) => one !== undefined), ...rest];
}

function indexOfModel(tree: ClusterTree, { from, to }: LinkConfig): number {
  const model = modelOf(tree, from, to);
  return model === undefined ? -1 : tree.links.indexOf(model);
}

/** The tree under a view, with its roles and links as if the file had said so. */
export function settledTree(tree: ClusterTree, view: View): ClusterTree {
  const links = settledLinks(tree, view).map(({ link }) => link);
  const feeding = new Set(links.map(({ from }) => from));
  return {
    nodes: tree.nodes.map((node) => ({
      ...node,
      role: node.name === view.primary
        ? "primary"
        : feeding.has(node.name) || !node.hasVolumes
        ? "intermediate"
        : "secondary",
    })),
    links,
  };
}

/** The list of parents of a node that is at home below `upstream`: that one comes first; null: it has no list. */
export function settledParents<T extends readonly string[] | null | undefined>(
  list: T,
  upstream: string | undefined,
): T | string[] {
  if (!list || list.length === 0 || upstream === undefined || list[0] === upstream) return list;
  return [upstream, ...list.filter((name) => name !== upstream)];
}

/**
 * Whether a file says what is so: who reigns, and which node feeds which. Nodes that have chosen another parent for the
 * time being count as at home.
 */
export function isDeclaredIn(tree: ClusterTree, view: View): boolean {
  return disagreement(tree, view) === null;
}

/** How a file and the tree differ, in words. */
export interface Disagreement {
  /** What the file says. */
  readonly says: string;
  /** What is so in its place. */
  readonly so: string;
  /** What to do. */
  readonly hint: string;
}

/** How what a file says (`tree`) differs from what is so; null: it does not. */
export function disagreement(tree: ClusterTree, view: View): Disagreement | null {
  const declared = declaredPrimary(tree);
  const now = parentsIn(tree, viewAtHome(view));
  const said = parentsIn(tree, firstView(declared));
  const moved = tree.nodes.map(({ name }) => name).filter((name) =>
    now.get(name) !== said.get(name)
  );
  if (declared === view.primary && moved.length === 0) return null;
  const text = (primary: string, parents: ReadonlyMap<string, string>, epoch: string) =>
    [
      ...(declared === view.primary ? [] : [`${primary} is the primary${epoch}`]),
      ...moved.flatMap((name) => {
        const parent = parents.get(name);
        return parent === undefined ? [] : [`${name} is fed by ${parent}`];
      }),
    ].join(", ");
  const [first = ""] = moved;
  const change = declared === view.primary
    ? `\`cascade reparent ${first} --to ${said.get(first)}\``
    : `\`cascade migrate ${declared}\`, or \`cascade promote ${declared}\` if ${view.primary} is gone`;
  return {
    says: text(declared, said, ""),
    so: text(view.primary, now, view.reign === 0 ? "" : ` since epoch ${view.reign}`),
    hint: `\`cascade migrate ${view.primary} --write\` writes what is so into the files. ` +
      `To have it as the file says: ${change}`,
  };
}
