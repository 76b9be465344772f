/**
 * `cascade limit`: how fast a link may send, changed while it runs.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";
import type { LimitOverride } from "../core/link/line.ts";
import type { LineStatus } from "../core/status.ts";
import { parseLimit } from "../core/topology/line_scalars.ts";
import { formatRate } from "../core/topology/units.ts";
import type { AdminTarget } from "../io/admin_client.ts";
import { examples, topologyOption } from "./options.ts";
import { printLine } from "./output.ts";

const ANSWER_TIMEOUT_MS = 10_000;

/** `cascade limit`. */
export function limitCommand() {
  return new Command("limit")
    .summary("limit how fast a link sends, while it runs")
    .description(
      "Limit how fast a link sends, at once and until `--reset`, also across restarts and whatever becomes of " +
        "`bandwidth` in the topology; without an option, show what holds.",
    )
    .addOption(topologyOption())
    .requiredOption("--link <name>", "the link")
    .option("--bandwidth <rate>", "at most this much, such as 5MiB/s, or none for no limit")
    .option("--reset", "let what the topology says hold again")
    .addHelpText(
      "after",
      examples(
        ["What holds now?", "cascade limit --link hq-dr"],
        [
          "Leave room on the line for something else",
          "cascade limit --link hq-dr --bandwidth 5MiB/s",
        ],
        [
          "As fast as it goes, whatever the topology says",
          "cascade limit --link hq-dr --bandwidth none",
        ],
        ["Back to the topology", "cascade limit --link hq-dr --reset"],
      ),
    )
    .action(async ({ topology, link, bandwidth, reset }) => {
      const change = changeOf(bandwidth, reset ?? false);
      const target = await upstreamOf(topology, link);
      printLine(describe(link, await ask(target, link, change)));
    });
}

/** What is to hold from now on; undefined: as it is. Throws `usage`. */
function changeOf(text: string | undefined, reset: boolean): LimitOverride | null | undefined {
  if (text !== undefined && reset) {
    throw new CascadeError("usage", "--bandwidth and --reset exclude each other", {
      hint: "Leave one of them out.",
    });
  }
  if (text === undefined) return reset ? null : undefined;
  const limit = parseLimit(text);
  if (limit !== null) return limit;
  throw new CascadeError("usage", `--bandwidth is "${text}"`, {
    hint: "Give a rate such as 5MiB/s or 500kB/s, or none.",
  });
}

async function upstreamOf(file: string, name: string): Promise<AdminTarget> {
  const { linkNamed, nodeNamed } = await import("../core/topology/node_config.ts");
  const { loadTopology } = await import("../io/topology_file.ts");
  const { readToken } = await import("../io/secret_source.ts");
  const topology = loadTopology(file);
  const node = nodeNamed(topology, linkNamed(topology, name).from);
  if (node.admin === null) {
    throw new CascadeError("topology", `node ${node.name} has no admin address to ask`, {
      where: { file },
      hint: `Give ${node.name} an \`admin:\` address.`,
    });
  }
  return {
    node: node.name,
    address: node.admin,
    token: node.adminToken === null ? null : readToken(node.adminToken),
    timeoutMs: ANSWER_TIMEOUT_MS,
  };
}

async function ask(
  target: AdminTarget,
  link: string,
  change: LimitOverride | null | undefined,
): Promise<LineStatus> {
  const { fetchStatus, limitLink } = await import("../io/admin_client.ts");
  if (change !== undefined) return await limitLink(target, link, change);
  const { links } = await fetchStatus(target);
  const line = links.find(({ name }) => name === link)?.line ?? null;
  if (line !== null) return line;
  throw new CascadeError("not-found", `the node does not know link "${link}"`, {
    where: { address: target.address },
    hint: "Was it started before the link was in the topology? Start it again.",
  });
}

function describe(link: string, { limit, limitedBy }: LineStatus): string {
  const by = limitedBy === "operator" ? "until `--reset`" : "by the topology";
  if (limit !== null) return `link ${link} sends at most ${formatRate(limit)}, ${by}`;
  return `link ${link} has no limit${limitedBy === "operator" ? `, ${by}` : ""}`;
}
