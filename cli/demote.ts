/**
 * `cascade demote`: the primary hands over, to whichever node is furthest.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { CascadeError, describeError, isCascadeError } from "../core/errors.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import type { Topology } from "../core/topology/topology.ts";
import type { TreePlan } from "../core/tree/tree_report.ts";
import { loadTopology } from "../io/topology_file.ts";
import { examples, topologyOption } from "./options.ts";
import { printLine } from "./output.ts";
import { dryRunOption, handOverTimeoutOption, jsonOption, writeOption } from "./tree.ts";
import { give, runOrder } from "./tree_run.ts";

/** The command. */
export function demoteCommand() {
  return new Command("demote")
    .summary("hand the primary's role to whichever node is furthest")
    .description(
      "Have the primary hand its role over, with nothing lost, as `cascade migrate` does, when it matters less to whom: " +
        "to the node with volumes that has most of what the primary has, and among equals to one that it feeds " +
        "itself.",
    )
    .argument("<node>", "the primary; of any other node there is nothing to be done")
    .addOption(topologyOption())
    .option("--to <node>", "hand over to this one")
    .addOption(dryRunOption())
    .addOption(handOverTimeoutOption())
    .addOption(writeOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        ["Before hq's host is shut down", "cascade demote hq"],
        ["Who would take over?", "cascade demote hq --dry-run"],
      ),
    )
    .action(async (node, { topology: path, to, dryRun = false, timeout, write = false, json }) => {
      const topology = loadTopology(path);
      nodeNamed(topology, node);
      const plans = await askHeirs(topology, node, to);
      const reigning = [...plans.values()].find((plan) => typeof plan === "object")?.primary;
      if (reigning !== undefined && reigning !== node) {
        return printLine(`${node} is not the primary: ${reigning} is.`);
      }
      const heir = heirOf(plans, node);
      const order = { order: "migrate", dryRun, timeoutMs: timeout } as const;
      await runOrder({ topology: path, node: heir, order, yes: true, write, json: json ?? false });
    });
}

/** What a hand-over to each node would be, or why it is not known. */
export type HeirPlans = ReadonlyMap<string, TreePlan | string>;

async function askHeirs(
  topology: Topology,
  node: string,
  to: string | undefined,
): Promise<HeirPlans> {
  if (to !== undefined) nodeNamed(topology, to);
  const names = topology.nodes
    .filter(({ name, volumes }) =>
      name !== node && (to === undefined || name === to) && volumes !== null
    )
    .map(({ name }) => name);
  const order = { order: "migrate", dryRun: true, timeoutMs: 0 } as const;
  const plans = new Map<string, TreePlan | string>();
  for (const name of names) {
    try {
      plans.set(name, (await give(topology, name, order)).report.plan ?? "it is the primary");
    } catch (error) {
      if (!isCascadeError(error)) throw error;
      plans.set(name, describeError(error));
    }
  }
  return plans;
}

/** Who takes over from `node`. Throws `refused` with what is in the way at each. */
export function heirOf(plans: HeirPlans, node: string): string {
  const fit = [...plans].flatMap(([name, plan]) => {
    if (typeof plan === "string" || plan.blocked !== null) return [];
    const own = plan.nodes.find((other) => other.name === name);
    return [{ name, behind: own?.behindBytes ?? Infinity, isNear: own?.from === node }];
  });
  // Sorting is stable: what is equal stays in the topology's order.
  fit.sort((a, b) => a.behind - b.behind || Number(b.isNear) - Number(a.isNear));
  const best = fit[0];
  if (best !== undefined) return best.name;
  const reasons = [...plans].map(([name, plan]) =>
    `${name}: ${typeof plan === "string" ? plan : plan.blocked}`
  );
  throw new CascadeError(
    "refused",
    reasons.length === 0
      ? "no other node has volumes to take over with"
      : `no node can take over. ${reasons.join("; ")}`,
    { hint: "See `cascade status`" },
  );
}
