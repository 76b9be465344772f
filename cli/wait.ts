/**
 * `cascade wait`: until a link's downstream node has what the upstream had, or a given LSN.
 *
 * @module
 */
import { Command, Option } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";
import { lsnArgument } from "./as_of.ts";
import { durationArgument, examples, topologyOption } from "./options.ts";

interface WaitOptions {
  readonly topology: string;
  readonly link: string;
  readonly caughtUp?: true | undefined;
  readonly lsn?: number | undefined;
  readonly timeout: number;
}

/** The command. */
export function waitCommand() {
  return new Command("wait")
    .summary("wait until a link has caught up")
    .description(
      "Wait until a link's downstream node has made durable, and applied, what it should have.",
    )
    .addOption(topologyOption())
    .requiredOption("--link <name>", "the link")
    .option("--caught-up", "all that is durable upstream at the time of the call")
    .option("--lsn <n>", "everything below this LSN", lsnArgument)
    .addOption(
      new Option("--timeout <duration>", "give up after this time")
        .argParser(durationArgument).default(30_000, "30s"),
    )
    .addHelpText(
      "after",
      examples(
        [
          "Before maintenance at hq: is it all at the other site?",
          "cascade wait --link hq-metro --caught-up",
        ],
        [
          "Until a known position has arrived",
          "cascade wait --link metro-dr1 --lsn 81920 --timeout 5m",
        ],
      ) + "\nExit codes: 0 it is there; 4 not in time, or nobody could be asked.\n",
    )
    .action(runWait);
}

async function runWait(options: WaitOptions): Promise<void> {
  if ((options.caughtUp === true) === (options.lsn !== undefined)) {
    throw new CascadeError("usage", "expected one of --caught-up and --lsn", {
      hint: "See `cascade wait --help`.",
    });
  }
  const { linkNamed, nodeNamed } = await import("../core/topology/node_config.ts");
  const { loadTopology } = await import("../io/topology_file.ts");
  const { gather } = await import("./report.ts");
  const { waitFor } = await import("./wait_for.ts");
  const topology = loadTopology(options.topology);
  const link = linkNamed(topology, options.link);
  const nodes = topology.nodes.filter(({ admin }) => admin !== null);
  if (options.caughtUp === true && nodeNamed(topology, link.from).admin === null) {
    throw new CascadeError(
      "topology",
      `node ${link.from} has no admin address to ask for its end`,
      {
        where: { file: topology.file },
        hint: `Give ${link.from} an \`admin:\` address, or use --lsn.`,
      },
    );
  }
  await waitFor({
    link: link.name,
    goalLsn: options.lsn ?? null,
    timeoutMs: options.timeout,
    look: () => gather(topology, nodes),
  });
}
