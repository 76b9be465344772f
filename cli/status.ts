/**
 * `cascade status`: every node and link, at once.
 *
 * @module
 */
import { Command, Option } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";
import type { Topology, TopologyNode } from "../core/topology/topology.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { durationArgument, examples, topologyOption } from "./options.ts";
import { paintFor, printJson, printLine } from "./output.ts";

const EXIT_CODES = `
Exit codes: 0 all is well; 1 a node is unreachable, failed or inconsistent, or a
link is degraded, disconnected, overflowed or refused, or a run of it failed or
is late, or a certificate ends within a week; 4 no node answers.
`;

/** The command. */
export function statusCommand() {
  return new Command("status")
    .summary("show every node and link")
    .description("Show every node and link: states, lag in bytes and seconds, positions, rates.")
    .addOption(topologyOption())
    .option("--node <name>", "ask this node alone")
    .option("--json", "print one JSON document; with --watch one a line")
    .option("-w, --watch", "look again and again, and show rates; Ctrl-C ends it")
    .addOption(
      new Option("--interval <duration>", "for --watch: time between two looks")
        .argParser(durationArgument).default(1000, "1s"),
    )
    .option(
      "--what-if <node>",
      "tell what a promotion of this node would cost now; of the primary: who would be promoted if it were gone",
    )
    .addHelpText(
      "after",
      examples(
        ["How is the cascade?", "cascade status"],
        [
          "Who would take over if hq were gone, and what would be lost?",
          "cascade status --what-if hq",
        ],
        ["Watch it work", "cascade status --watch"],
        ["Is anything wrong? (for cron and probes)", "cascade status >/dev/null || echo look"],
        ["Lag of every link", "cascade status --json | jq '.nodes[].links[] | {name, lagBytes}'"],
      ) + EXIT_CODES,
    )
    .action(async (options) => {
      const json = options.json === true;
      if (options.whatIf !== undefined) {
        const { showWhatIf } = await import("./what_if.ts");
        return await showWhatIf(options.topology, options.whatIf, json);
      }
      await showStatus(options.topology, {
        node: options.node ?? null,
        json,
        watch: options.watch === true,
        intervalMs: options.interval,
      });
    });
}

interface StatusOptions {
  readonly node: string | null;
  readonly json: boolean;
  readonly watch: boolean;
  readonly intervalMs: number;
}

async function showStatus(path: string, options: StatusOptions): Promise<void> {
  const { loadTopology } = await import("../io/topology_file.ts");
  const { gather, jsonOf, verdictOf } = await import("./report.ts");
  const topology = loadTopology(path);
  const nodes = await nodesToAsk(topology, options.node);
  const ask = () => gather(topology, nodes);
  if (options.watch) {
    const { watch } = await import("./ui/watch.ts");
    return await watch(ask, options);
  }
  const report = await ask();
  if (options.json) {
    printJson(jsonOf(report));
  } else {
    const { PLAIN_WIDTH, terminalScreen } = await import("./ui/live.ts");
    const { statusView } = await import("./ui/status_view.ts");
    const width = terminalScreen()?.size().columns ?? PLAIN_WIDTH;
    const view = statusView(report, { width, paint: paintFor(Deno.stdout), previous: null });
    for (const line of view) printLine(line);
  }
  const code = verdictOf(report);
  if (code !== EXIT.done) throw new ExitWith(code);
}

async function nodesToAsk(
  topology: Topology,
  name: string | null,
): Promise<readonly TopologyNode[]> {
  const { nodeNamed } = await import("../core/topology/node_config.ts");
  const nodes = name === null ? topology.nodes : [nodeNamed(topology, name)];
  if (nodes.some(({ admin }) => admin !== null)) return nodes;
  throw new CascadeError(
    "topology",
    `${topology.file}: ${name === null ? "no node has an" : `${name} has no`} admin address`,
    {
      hint: "A node is asked there: add `admin: http://127.0.0.1:7421`, say.",
    },
  );
}
