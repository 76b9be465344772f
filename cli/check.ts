/**
 * `cascade check`: silent when a topology is good, else one line for each problem, like a compiler.
 *
 * @module
 */
import { Argument, Command, Option } from "@commander-js/extra-typings";
import type { Problem } from "../core/topology/problem.ts";
import type { Topology } from "../core/topology/topology.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { examples, rateArgument, topologyOption } from "./options.ts";
import { paintFor, printJson, printLine, tell } from "./output.ts";

/** What an outage is reckoned with when nothing else is said: a busy small database. */
const WRITE_RATE_DEFAULT = "10MiB/s";

/** The command. */
export function checkCommand() {
  return new Command("check")
    .summary("validate and lint a topology")
    .description(
      "Validate and lint a topology. Silent, with exit code 0, when it is good; else one line " +
        "FILE:LINE:COL: error: MESSAGE for each problem, and exit code 2. Warnings alone exit with 0.",
    )
    .addArgument(new Argument("[file]", "the topology file, instead of --topology"))
    .addOption(topologyOption())
    .option("--json", "print the problems as one JSON document")
    .option("-v, --verbose", "print what was found, also when it is good")
    .addOption(
      new Option(
        "--write-rate <rate>",
        "for --verbose: the rate of writes at which to reckon how long an outage a log bridges",
      ).argParser(rateArgument).default(rateArgument(WRITE_RATE_DEFAULT), WRITE_RATE_DEFAULT),
    )
    .option("--schema", "print the JSON Schema of topology files, for editors, and end")
    .addHelpText(
      "after",
      examples(
        ["Check ./topology.yaml", "cascade check"],
        ["Check another file, in a script", "cascade check /etc/cascade/payroll.yaml || exit"],
        ["How long may a node be away?", "cascade check --verbose --write-rate 50MiB/s"],
        ["Teach an editor", "cascade check --schema > topology.schema.json"],
      ),
    )
    .action(async (file, options) => {
      if (options.schema === true) {
        const { topologyJsonSchema } = await import("../core/topology/json_schema.ts");
        return printJson(topologyJsonSchema());
      }
      await check(file ?? options.topology, {
        json: options.json === true,
        verbose: options.verbose === true,
        writeRate: options.writeRate,
      });
    });
}

interface CheckOptions {
  readonly json: boolean;
  readonly verbose: boolean;
  readonly writeRate: number;
}

async function check(path: string, options: CheckOptions): Promise<void> {
  const { readTopology } = await import("../io/topology_file.ts");
  const { text, topology, problems: found } = readTopology(path);
  const problems = topology === null ? found : [...found, ...await localProblems(topology)];
  const errors = problems.filter((problem) => problem.severity === "error").length;
  if (options.json) {
    printJson({
      file: path,
      ok: errors === 0,
      errors,
      warnings: problems.length - errors,
      problems,
      outages: topology === null ? [] : await outages(topology, options.writeRate),
    });
  } else {
    await tellProblems(problems, text);
    if (options.verbose && topology !== null) await describe(topology, options.writeRate);
  }
  if (errors > 0) throw new ExitWith(EXIT.usage);
}

/** Writes problems to stderr; on a terminal with the line they are on and a caret below. */
async function tellProblems(problems: readonly Problem[], text: string): Promise<void> {
  const { formatProblem } = await import("../core/topology/problem.ts");
  const lines = text.replace(/^\ufeff/, "").split("\n");
  const paint = paintFor(Deno.stderr);
  for (const problem of problems) {
    const mark = problem.severity === "error" ? paint.red : paint.yellow;
    tell(formatProblem(problem).replace(/: (error|warning): /, (word) => mark(word)));
    if (!Deno.stderr.isTerminal()) continue;
    const line = (lines[problem.line - 1] ?? "").replace(/\r$/, "");
    // A tab before the caret is as wide as the one above it.
    const indent = line.slice(0, problem.column - 1).replace(/[^\t]/g, " ");
    tell(`    ${paint.dim(line)}`);
    tell(`    ${indent}${mark("^" + "~".repeat(Math.max(0, problem.length - 1)))}`);
  }
}

/** Warnings that only this machine can tell: volumes that are here and have another size. */
async function localProblems(topology: Topology): Promise<Problem[]> {
  const { Reporter } = await import("../core/topology/reporter.ts");
  const { formatSize } = await import("../core/topology/units.ts");
  const reporter = new Reporter(topology.file, topology.reporter.text);
  reporter.tree = topology.reporter.tree;
  for (const node of topology.nodes) {
    for (const { name, sizeBytes } of topology.volumes) {
      const path = node.volumes?.get(name);
      const here = path === undefined ? null : sizeHere(path);
      if (here === null || here === sizeBytes) continue;
      reporter.report(["nodes", node.name, "volumes", name], "value", {
        severity: "warning",
        message: `${path} has ${formatSize(here)} on this machine; volume "${name}" is declared ` +
          `with ${formatSize(sizeBytes)}`,
        found: formatSize(here),
        expected: formatSize(sizeBytes),
      });
    }
  }
  return reporter.problems();
}

/** Bytes of a file or block device, or null when it is not here or cannot be looked at. */
function sizeHere(path: string): number | null {
  try {
    const info = Deno.statSync(path);
    if (info.isFile) return info.size;
    if (info.isBlockDevice !== true) return null;
    const device = Deno.openSync(path, { read: true });
    try {
      return device.seekSync(0, Deno.SeekMode.End);
    } finally {
      device.close();
    }
  } catch {
    // Another host's path, or one that only the node's user may see: nothing to warn of.
    return null;
  }
}

interface Outage {
  readonly node: string;
  readonly budgetBytes: number;
  readonly writeRate: number;
  /** Null: for ever. */
  readonly bridgedMs: number | null;
}

async function outages(topology: Topology, writeRate: number): Promise<Outage[]> {
  const { outageBridgedMs } = await import("../core/topology/outage.ts");
  const feeding = topology.nodes.filter((node) => topology.links.some((l) => l.from === node.name));
  return feeding.map((node) => {
    const bridgedMs = outageBridgedMs(node.log, writeRate);
    return {
      node: node.name,
      budgetBytes: node.log.budgetBytes,
      writeRate,
      bridgedMs: Number.isFinite(bridgedMs) ? Math.round(bridgedMs) : null,
    };
  });
}

async function describe(topology: Topology, writeRate: number): Promise<void> {
  const { approximateDuration, formatRate, formatSize } = await import("../core/topology/units.ts");
  const count = (n: number, word: string) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const { nodes, links, volumes } = topology;
  printLine(
    `${topology.name}: ${count(nodes.length, "node")}, ${count(links.length, "link")}, ` +
      volumes.map(({ name, sizeBytes }) => `${name} ${formatSize(sizeBytes)}`).join(", "),
  );
  const rows = await outages(topology, writeRate);
  if (rows.length === 0) return;
  printLine(
    `at ${formatRate(writeRate)} of writes, a node below needs a delta once it was away for:`,
  );
  const width = Math.max(...rows.map(({ node }) => node.length));
  for (const { node, budgetBytes, bridgedMs } of rows) {
    printLine(
      `  ${approximateDuration(bridgedMs ?? Infinity).padEnd(8)} from the log of ` +
        `${node.padEnd(width)}  (budget ${formatSize(budgetBytes)})`,
    );
  }
}
