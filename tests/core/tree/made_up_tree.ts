import type { LinkConfig } from "../../../core/config.ts";
import { type ClusterTree, parentsIn } from "../../../core/tree/tree.ts";
import type { View } from "../../../core/tree/view.ts";

/** A promotion. */
export const REIGN = { number: 4096, id: "a".repeat(32) };

/** A tree of nodes by whom they are fed; the primary is `hq`. */
export function treeOf(parents: Readonly<Record<string, string>>): ClusterTree {
  const names = ["hq", ...Object.keys(parents)];
  const links = Object.entries(parents).map(([to, from]): LinkConfig => ({
    ...{ name: `${from}-${to}`, from, to, mode: "async", onDisconnect: "degrade" },
    ...{ timeoutMs: 1000, onOverflow: "map", dial: "to", paused: false, verify: null },
    ...{ bandwidth: null, compress: "none", schedule: null },
    addresses: [`tcp://${from}:7420`],
  }));
  return {
    nodes: names.map((name) => ({
      name,
      role: name === "hq"
        ? "primary"
        : links.some(({ from }) => from === name)
        ? "intermediate"
        : "secondary",
      addresses: [`tcp://${name}:7420`],
      hasVolumes: true,
    })),
    links,
  };
}

/** Each node but the primary, and by whom it is fed. */
export function shapeOf(tree: ClusterTree, view: View): Record<string, string> {
  return Object.fromEntries(parentsIn(tree, view));
}
