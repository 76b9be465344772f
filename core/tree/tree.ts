/**
 * The tree of a cascade as every node knows it from the topology file, and what it is under a view: roles, and
 * the links of one node. Pure: the same file and the same view make the same tree everywhere.
 *
 * @module
 */
import type { LinkConfig, Role } from "../config.ts";
import type { View } from "./view.ts";

/** A node, as the file tells of it. */
export interface TreeNode {
  readonly name: string;
  readonly role: Role;
  /** Where it can be dialled, in the file's order; none: it has to dial. */
  readonly addresses: readonly string[];
  readonly hasVolumes: boolean;
}

/** See the module's text. */
export interface ClusterTree {
  readonly nodes: readonly TreeNode[];
  /** As declared. */
  readonly links: readonly LinkConfig[];
}

/** What a view makes of one node. */
export interface Place {
  readonly role: Role;
  readonly upstream: LinkConfig | null;
  readonly downstream: readonly LinkConfig[];
}

/** The primary of the file. */
export function declaredPrimary(tree: ClusterTree): string {
  return tree.nodes.find(({ role }) => role === "primary")?.name ?? "";
}

/** Who is fed by whom: each node but the primary, to its parent. Never a circle. */
export function parentsIn(tree: ClusterTree, view: View): ReadonlyMap<string, string> {
  const parents = new Map<string, string>();
  const names = new Set(tree.nodes.map((node) => node.name));
  for (const { name } of tree.nodes) {
    if (name === view.primary) continue;
    const said = view.parents[name]?.to;
    const declared = tree.links.find((link) => link.to === name)?.from;
    const parent = said !== undefined && names.has(said) && said !== name ? said : declared;
    parents.set(name, parent ?? view.primary);
  }
  // Two nodes that were given new parents at once may have ended below each other.
  for (const name of parents.keys()) {
    if (!reachesTop(parents, name, view.primary)) parents.set(name, view.primary);
  }
  for (const name of parents.keys()) parents.set(name, nearestMet(tree, parents, name));
  return parents;
}

/**
 * Of two nodes that both have to dial none finds the other: the node is fed by one further up then, or else by the first
 * of the file that it can meet and that is not below it.
 */
function nearestMet(
  tree: ClusterTree,
  parents: ReadonlyMap<string, string>,
  name: string,
): string {
  const above = pathTo(parents, name).reverse().slice(1);
  const others = tree.nodes.map((node) => node.name)
    .filter((other) => !pathTo(parents, other).includes(name));
  return [...above, ...others].find((to) => canMeet(tree, to, name)) ?? parents.get(name) ?? name;
}

/** Whether either of two nodes can dial the other. */
export function canMeet(tree: ClusterTree, one: string, other: string): boolean {
  const isLinked = tree.links.some(({ from, to }) =>
    (from === one && to === other) || (from === other && to === one)
  );
  return isLinked ||
    tree.nodes.some(({ name, addresses }) =>
      (name === one || name === other) && addresses.length > 0
    );
}

function reachesTop(parents: ReadonlyMap<string, string>, name: string, top: string): boolean {
  let at: string | undefined = name;
  for (let turns = 0; at !== undefined && turns <= parents.size; turns++) {
    if (at === top) return true;
    at = parents.get(at);
  }
  return false;
}

/** From the primary down to `name`, both included. */
export function pathTo(parents: ReadonlyMap<string, string>, name: string): string[] {
  const path = [name];
  for (let at = parents.get(name); at !== undefined; at = parents.get(at)) path.unshift(at);
  return path;
}

/** All links of the tree under a view. */
export function linksIn(tree: ClusterTree, view: View): LinkConfig[] {
  return [...parentsIn(tree, view)].map(([to, from]) => linkBetween(tree, from, to));
}

/** Role and links of one node under a view. */
export function placeIn(tree: ClusterTree, view: View, name: string): Place {
  const links = linksIn(tree, view);
  const downstream = links.filter((link) => link.from === name);
  const upstream = links.find((link) => link.to === name) ?? null;
  const declared = tree.nodes.find((node) => node.name === name)?.role ?? "secondary";
  const below = downstream.length > 0 ? "intermediate" : "secondary";
  const role = name === view.primary ? "primary" : declared === "primary" ? below : declared;
  return { role: role === "secondary" ? below : role, upstream, downstream };
}

/** The declared link whose settings hold for the link between two nodes. */
export function modelOf(tree: ClusterTree, from: string, to: string): LinkConfig | undefined {
  return tree.links.find((link) => link.from === from && link.to === to) ??
    tree.links.find((link) => link.from === to && link.to === from) ??
    tree.links.find((link) => link.to === to) ?? tree.links[0];
}

/**
 * The link between two nodes: the declared one; or that one turned round, over the same addresses, dialled by
 * the same end, since that is what their networks let through; or one of the kind by which `to` is fed.
 */
function linkBetween(tree: ClusterTree, from: string, to: string): LinkConfig {
  const declared = tree.links.find((link) => link.from === from && link.to === to);
  if (declared !== undefined) return declared;
  const reversed = tree.links.find((link) => link.from === to && link.to === from);
  if (reversed !== undefined) {
    return {
      ...reversed,
      name: `${from}-${to}`,
      from,
      to,
      dial: reversed.dial === "to" ? "from" : "to",
      // Whoever was promoted serves, also while the other end is away.
      onDisconnect: "degrade",
    };
  }
  const model = modelOf(tree, from, to);
  if (model === undefined) throw new TypeError("a tree of more than one node has links");
  const addressesOf = (name: string) =>
    tree.nodes.find((node) => node.name === name)?.addresses ?? [];
  const dial = addressesOf(from).length > 0 ? "to" : "from";
  return {
    ...model,
    name: `${from}-${to}`,
    from,
    to,
    dial,
    addresses: addressesOf(dial === "to" ? from : to),
    onDisconnect: "degrade",
    paused: false,
  };
}
