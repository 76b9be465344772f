/**
 * Lists of parents, from a seed.
 *
 * @module
 */
import type { NodeConfig } from "../../core/config.ts";
import type { ClusterTree } from "../../core/tree/tree.ts";
import type { Prng } from "./prng.ts";

/** Most nodes have a list: it begins with the node above, and holds any others that can be dialled. */
export function madeUpChoice(
  prng: Prng,
  tree: ClusterTree,
  name: string,
): Pick<NodeConfig, "parents" | "reparentAfterMs"> {
  const home = tree.links.find(({ to }) => to === name)?.from;
  const others = tree.nodes.filter(({ addresses }) => addresses.length > 0)
    .map((node) => node.name).filter((other) => other !== name && other !== home);
  if (prng.chance(0.2)) return {};
  // The primary has no node above: its list counts once another one reigns.
  const parents = home === undefined ? [] : [home];
  for (let left = prng.between(1, 4); left > 0 && others.length > 0; left--) {
    const [other] = others.splice(prng.below(others.length), 1);
    if (other !== undefined) parents.push(other);
  }
  return { parents, reparentAfterMs: prng.between(1_000, 3_000) };
}
