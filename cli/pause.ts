/**
 * `cascade pause` and `cascade resume`: stop a link on purpose, and let it go on.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import type { TopologyNode } from "../core/topology/topology.ts";
import type { changeLink } from "../io/admin_client.ts";
import { examples, topologyOption } from "./options.ts";
import { printLine } from "./output.ts";

/** How long a node may take: it flushes its state file. */
const CHANGE_TIMEOUT_MS = 10_000;

type Change = Parameters<typeof changeLink>[2];

/** `cascade pause`. */
export function pauseCommand() {
  return new Command("pause")
    .summary("stop a link on purpose")
    .description(
      "Stop a link until `cascade resume`, also across restarts. Its upstream keeps the log that the " +
        "link needs as long as its budget allows, and clients do not wait for a paused sync link.",
    )
    .addOption(topologyOption())
    .requiredOption("--link <name>", "the link")
    .option("--reason <text>", "why: the status shows it")
    .option("--at <node>", "at which of its ends (default: the upstream one)")
    .addHelpText(
      "after",
      examples(
        [
          "Before work on the line between the sites",
          'cascade pause --link hq-metro --reason "new router, Tuesday"',
        ],
        [
          "While the upstream end cannot be reached (it then sees a peer that is away)",
          "cascade pause --link hq-metro --at metro",
        ],
      ),
    )
    .action(async ({ topology, link, reason, at }) => {
      const end = await endNamed(topology, link, at ?? null);
      await changeAt(end, link, { pause: { reason: reason ?? null } });
      printLine(`link ${link} is paused at ${end.name}`);
    });
}

/** `cascade resume`. */
export function resumeCommand() {
  return new Command("resume")
    .summary("let a paused link go on")
    .description("Let a link go on that `cascade pause` stopped, at whichever of its ends.")
    .addOption(topologyOption())
    .requiredOption("--link <name>", "the link")
    .addHelpText("after", examples(["Afterwards", "cascade resume --link hq-metro"]))
    .action(async ({ topology, link }) => {
      const nodes = await resumeAtBothEnds(topology, link);
      printLine(`link ${link} goes on (asked ${nodes.join(" and ")})`);
    });
}

/** It may have been paused at either end: all that can be reached are asked, one at the least. */
async function resumeAtBothEnds(file: string, name: string): Promise<string[]> {
  const asked: string[] = [];
  let unreachable: unknown = null;
  const ends = (await bothEnds(file, name)).filter(({ admin }) => admin !== null);
  if (ends.length === 0) await endNamed(file, name, null);
  for (const end of ends) {
    try {
      await changeAt(end, name, "resume");
      asked.push(end.name);
    } catch (error) {
      if (!isCascadeError(error, "unreachable")) throw error;
      unreachable ??= error;
    }
  }
  if (asked.length === 0) throw unreachable;
  return asked;
}

/** The upstream end, then the downstream one. */
async function bothEnds(file: string, name: string): Promise<[TopologyNode, TopologyNode]> {
  const { linkNamed, nodeNamed } = await import("../core/topology/node_config.ts");
  const { loadTopology } = await import("../io/topology_file.ts");
  const topology = loadTopology(file);
  const link = linkNamed(topology, name);
  return [nodeNamed(topology, link.from), nodeNamed(topology, link.to)];
}

async function endNamed(file: string, link: string, at: string | null): Promise<TopologyNode> {
  const ends = await bothEnds(file, link);
  const end = at === null ? ends[0] : ends.find(({ name }) => name === at);
  if (end === undefined) {
    throw new CascadeError("usage", `link ${link} does not end at "${at}"`, {
      hint: `Its ends are ${ends[0].name} and ${ends[1].name}.`,
    });
  }
  if (end.admin !== null) return end;
  throw new CascadeError("topology", `node ${end.name} has no admin address to ask`, {
    where: { file },
    hint: `Give ${end.name} an \`admin:\` address.`,
  });
}

async function changeAt(node: TopologyNode, link: string, change: Change): Promise<void> {
  const { changeLink } = await import("../io/admin_client.ts");
  const { readToken } = await import("../io/secret_source.ts");
  const token = node.adminToken === null ? null : readToken(node.adminToken);
  const target = {
    node: node.name,
    address: node.admin ?? "",
    token,
    timeoutMs: CHANGE_TIMEOUT_MS,
  };
  await changeLink(target, link, change);
}
