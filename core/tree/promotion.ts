/**
 * What a promotion does to the tree: pure, so that it can be shown before it is done.
 *
 * @module
 */
import { type ClusterTree, declaredPrimary, parentsIn, pathTo } from "./tree.ts";
import { firstView, saidBy, type View } from "./view.ts";

/** The reign that begins. */
export interface NewReign {
  readonly number: number;
  readonly id: string;
}

/**
 * The view in which `node` reigns. The links on its way up to the old primary are turned round; a node
 * whose parent is `away` is fed by the nearest node of that way that is not, which is `node` at last. Under the
 * primary of the file the tree is as declared again.
 */
export function promotedView(
  tree: ClusterTree,
  view: View,
  node: string,
  reign: NewReign,
  away: ReadonlySet<string>,
): View {
  if (node === declaredPrimary(tree)) return homeView(tree, node, reign, away);
  const before = parentsIn(tree, view);
  const path = pathTo(before, node);
  const parents: View["parents"] = { ...view.parents };
  const feed = (child: string, to: string) => {
    const said = view.parents[child];
    const isSame = said?.to === to;
    parents[child] = {
      ...{ to, reign: reign.number, serial: 0 },
      // What was typed goes on to count, and who is away from home for the time being is so still.
      ...(isSame && saidBy(view, child) === "operator" ? { typed: true as const } : {}),
      ...(isSame && said.home !== undefined ? { home: said.home } : {}),
    };
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

/** The declared primary reigns again: all is as the file says, but what is away feeds nobody. */
function homeView(
  tree: ClusterTree,
  node: string,
  reign: NewReign,
  away: ReadonlySet<string>,
): View {
  const declared = parentsIn(tree, firstView(node));
  const parents: View["parents"] = {};
  for (const child of declared.keys()) {
    let to = declared.get(child) ?? node;
    while (away.has(to) && to !== node) to = declared.get(to) ?? node;
    parents[child] = { to, reign: reign.number, serial: 0 };
  }
  return { primary: node, reign: reign.number, reignId: reign.id, parents };
}

/** Whether `node` is `above`, or fed by it over any number of links. */
export function isBelow(tree: ClusterTree, view: View, node: string, above: string): boolean {
  return pathTo(parentsIn(tree, view), node).includes(above);
}
