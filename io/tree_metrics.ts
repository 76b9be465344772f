/**
 * What a node knows of the tree, and of its own place in it, as metrics.
 *
 * @module
 */
import { type NodeStatus, nodeStatusSchema } from "../core/status.ts";
import { flag, gauge, many, type Metric, type Sample } from "./metric.ts";

/** None where there is no other node. */
export function treeMetrics({ name, tree, role }: NodeStatus): Metric[] {
  if (tree === null) return [];
  const { parents, declared, chosen, choice, moves } = tree;
  return [
    many(
      "cascade_tree_role",
      "1 for the role that the node has.",
      nodeStatusSchema.shape.role.options.map((one) => [{ role: one }, flag(one === role)]),
    ),
    gauge("cascade_tree_reign", "The epoch by whose promotion the primary reigns.", tree.reign),
    gauge("cascade_tree_nodes", "Nodes in the tree.", Object.keys(parents).length + 1),
    many(
      "cascade_tree_parent_info",
      "Always 1; which node feeds which, and which one the topology file says.",
      Object.entries(parents).map(([of, parent]): Sample => [
        { of, parent, declared: declared[of] ?? "" },
        1,
      ]),
    ),
    {
      ...many(
        "cascade_tree_moves_total",
        "How often another node came to feed this one, by who had said so.",
        Object.entries(moves).map(([by, count]): Sample => [{ by }, count]),
      ),
      type: "counter",
    },
    gauge(
      "cascade_tree_away_from_home",
      "1 while the node is fed by one that it has chosen for the time being.",
      flag(name in chosen),
    ),
    many(
      "cascade_tree_parent_fit",
      "1 if nothing is in the way of one of the list; of those that were asked last.",
      (choice?.candidates ?? []).map((
        one,
      ): Sample => [{ parent: one.name }, flag(one.reason === null)]),
    ),
    gauge(
      "cascade_tree_declared",
      "1 if the tree is as the topology file says.",
      flag(tree.isDeclared),
    ),
    gauge(
      "cascade_tree_conflict",
      "1 if two nodes were promoted at once.",
      flag(tree.conflict !== null),
    ),
    gauge(
      "cascade_upstream_silence_seconds",
      "Since the node above was heard.",
      tree.upstreamSilenceSeconds,
    ),
    gauge(
      "cascade_primary_silence_seconds",
      "Since the primary was heard, through all nodes between.",
      tree.primarySilenceSeconds,
    ),
  ];
}
