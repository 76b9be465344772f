/**
 * What a promotion does to the tree: pure, so that it can be shown before it is done.
 *
 * @module
 */
import { type ClusterTree, parentsIn, pathTo } from "./tree.ts";
import type { View } from "./view.ts";

/** The reign that begins. */
export interface NewReign {
  readonly number: number;
  readonly id: string;
}

/**
 * The view in which `node` reigns. The links on its way up to the old primary are turned round; a node
 * whose parent is `away` is fed by the nearest node of that way that is not, which is `node` at last.
 */
export function promotedView(
  tree: ClusterTree,
  view: View,
  node: string,
  reign: NewReign,
  away: ReadonlySet<string>,
): View {
  const before = parentsIn(tree, view);
  const path = pathTo(before, node);
  const parents: View["parents"] = { ...view.parents };
  const feed = (child: string, to: string) => {
    parents[child] = { to, reign: reign.number, serial: 0 };
  };
  /** Who is nearest to `node` on the way, from place `from` on, and not away. */
  const nearest = (from: number) =>
    path.slice(from).find((name) => name === node || !away.has(name)) ?? node;
  for (const { name } of tree.nodes) {
    if (name === node) continue;
    const place = path.indexOf(name);
    if (place >= 0) feed(name, nearest(place + 1));
    else {
      const parent = before.get(name) ?? node;
      if (!away.has(parent)) feed(name, parent);
      else feed(name, nearest(path.includes(parent) ? path.indexOf(parent) + 1 : path.length - 1));
    }
  }
  delete parents[node];
  return { primary: node, reign: reign.number, reignId: reign.id, parents };
}

/** Whether `node` is `above`, or fed by it over any number of links. */
export function isBelow(tree: ClusterTree, view: View, node: string, above: string): boolean {
  return pathTo(parentsIn(tree, view), node).includes(above);
}
