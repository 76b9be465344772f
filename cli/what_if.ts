/**
 * `cascade status --what-if`: what a promotion would cost now; of the primary: who would be promoted, were it gone.
 *
 * @module
 */
import { CascadeError, describeError, isCascadeError } from "../core/errors.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import type { Topology } from "../core/topology/topology.ts";
import type { TreeReport } from "../core/tree/tree_report.ts";
import { loadTopology } from "../io/topology_file.ts";
import { printJson, printLine } from "./output.ts";
import { give } from "./tree_run.ts";
import { planLines } from "./tree_text.ts";

const ORDER = { order: "promote", dryRun: true, force: false, at: null } as const;

/** Prints it. Throws `unreachable`, `refused`, and what is wrong with the topology. */
export async function showWhatIf(path: string, node: string, json: boolean): Promise<void> {
  const topology = loadTopology(path);
  nodeNamed(topology, node);
  const { heir, report } = await planFor(topology, node);
  if (json) return printJson(report);
  if (heir !== node) {
    printLine(`If ${node} were gone: \`cascade promote ${heir}\``);
    printLine();
  }
  // That the primary answers is no news here.
  const plan = report.plan === null ? null : { ...report.plan, blocked: null };
  for (const line of planLines({ ...report, plan }, ORDER)) printLine(line);
}

/** The node itself, or, where it is the primary, whoever has most of what it has. */
async function planFor(
  topology: Topology,
  node: string,
): Promise<{ heir: string; report: TreeReport }> {
  let silence: unknown = null;
  try {
    const { report } = await give(topology, node, ORDER);
    if (report.plan?.primary !== node) return { heir: node, report };
  } catch (error) {
    if (!isCascadeError(error, "unreachable") && !isCascadeError(error, "refused")) throw error;
    silence = error;
  }
  const names = topology.nodes.filter(({ name, volumes }) => name !== node && volumes !== null)
    .map(({ name }) => name);
  const reasons: string[] = [];
  const fit: { heir: string; report: TreeReport; lacks: number }[] = [];
  for (const heir of names) {
    try {
      const { report } = await give(topology, heir, ORDER);
      // A node that is silent, and does not reign, is no primary that could be gone.
      if (silence !== null && report.plan?.primary !== node) throw silence;
      const { primary } = report.plan ?? { primary: node };
      if (primary !== node) {
        reasons.push(`${heir}: ${primary} is the primary, as it knows`);
        continue;
      }
      const own = report.plan?.nodes.find(({ name }) => name === heir);
      const flaw = own?.reason ?? null;
      if (flaw === null) fit.push({ heir, report, lacks: report.plan?.fetchBytes ?? 0 });
      else reasons.push(`${heir}: ${flaw}`);
    } catch (error) {
      if (!isCascadeError(error) || error === silence) throw error;
      reasons.push(`${heir}: ${describeError(error)}`);
    }
  }
  const best = fit.toSorted((a, b) => a.lacks - b.lacks)[0];
  if (best !== undefined) return best;
  throw new CascadeError(
    "refused",
    reasons.length === 0
      ? `no node but ${node} has volumes`
      : `no node could be promoted. ${reasons.join("; ")}`,
  );
}
