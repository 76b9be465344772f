/**
 * `cascade promote`, `migrate`, `reparent` and `resolve`: another primary, another parent.
 *
 * @module
 */
import { Command, InvalidArgumentError, Option } from "@commander-js/extra-typings";
import { CascadeError } from "../core/errors.ts";
import { parseDuration } from "../core/topology/units.ts";
import { asOfOptions, lsnArgument, timeArgument } from "./as_of.ts";
import { examples, topologyOption } from "./options.ts";

const MIGRATE_MS = 600_000;

export const dryRunOption = () =>
  new Option("--dry-run", "tell what would follow, and change nothing");
const yesOption = () => new Option("--yes", "do not ask");
export const writeOption = () =>
  new Option(
    "--write",
    "then write the roles and links as they are into the topology files of all nodes reached",
  )
    .conflicts("dryRun");
export const jsonOption = () => new Option("--json", "print the report as JSON");

export const handOverTimeoutOption = () =>
  new Option("--timeout <duration>", "how long the node may take to catch up")
    .default(MIGRATE_MS, "10m")
    .argParser(durationArgument);

/** `cascade promote`. */
export function promoteCommand() {
  return new Command("promote")
    .summary("make a node the primary, since the old one is gone")
    .description(
      "Make a node the primary. First it is told how much is lost by what every node has that answers, which one is " +
        "furthest ahead, and which will follow which. What another node has more is fetched first. While the old " +
        "primary answers, `cascade migrate` hands over without a loss.",
    )
    .argument("<node>", "the node")
    .addOption(topologyOption())
    .addOption(dryRunOption())
    .addOption(yesOption())
    .option("--force", "also while the old primary answers, and without what others have more")
    .option(
      "--to-mark <name>",
      "as of a mark, and without what came after: for a node with applyDelay",
    )
    .addOption(new Option("--to-lsn <n>", "as of an LSN").argParser(lsnArgument))
    .addOption(
      new Option(
        "--to-time <time>",
        'as of a time by the primary\'s clock, such as 2026-11-24T02:15:00Z or "20m ago"',
      )
        .argParser(timeArgument),
    )
    .addOption(writeOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        ["What would be lost?", "cascade promote metro --dry-run"],
        ["The primary is gone", "cascade promote metro"],
        ["The same, in a script", "cascade promote metro --yes"],
        ["It is to stay so: the topology files, too", "cascade promote metro --write"],
        ["The table was dropped at 02:20", "cascade promote dr --to-time 2026-11-24T02:15:00Z"],
      ),
    )
    .action(async (node, options) => {
      const { topology, dryRun = false, yes = false, force = false } = options;
      const { write = false, json = false } = options;
      const [at = null, second] = asOfOptions(options.toMark, options.toLsn, options.toTime);
      if (second !== undefined) {
        throw new CascadeError("usage", "expected one of --to-mark, --to-lsn and --to-time", {
          hint: "See `cascade promote --help`.",
        });
      }
      const { runOrder } = await import("./tree_run.ts");
      const order = { order: "promote", dryRun, force, at } as const;
      await runOrder({ topology, node, order, yes, write, json });
    });
}

/** `cascade migrate`. */
export function migrateCommand() {
  return new Command("migrate")
    .summary("hand over to another node, with nothing lost")
    .description(
      "Hand the role of the primary over: the node catches up, clients are held for a moment, the last byte comes " +
        "through, and the roles are exchanged. If a step fails, the clients go on where they were.",
    )
    .argument("<node>", "the node that is to be the primary")
    .addOption(topologyOption())
    .addOption(dryRunOption())
    .addOption(handOverTimeoutOption())
    .addOption(writeOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        ["Before work on the primary's host", "cascade migrate metro"],
        ["And home again", "cascade migrate hq"],
      ),
    )
    .action(async (node, { topology, dryRun, timeout, write = false, json }) => {
      const { runOrder } = await import("./tree_run.ts");
      const order = { order: "migrate", dryRun: dryRun ?? false, timeoutMs: timeout } as const;
      await runOrder({ topology, node, order, yes: true, write, json: json ?? false });
    });
}

/** `cascade reparent`. */
export function reparentCommand() {
  return new Command("reparent")
    .summary("have another node feed a node")
    .description(
      "Have another node feed a node from now on, with what lies below it: record by record where the log reaches " +
        "back, else by the blocks that were touched since.",
    )
    .argument("<node>", "the node")
    .addOption(topologyOption())
    .requiredOption("--to <node>", "the node that is to feed it")
    .addOption(dryRunOption())
    .addOption(writeOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        ["The intermediate is gone for a while", "cascade reparent dr --to hq"],
        ["By what, and how many bytes?", "cascade reparent dr --to hq --dry-run"],
      ),
    )
    .action(async (node, { topology, to, dryRun, write = false, json }) => {
      const { runOrder } = await import("./tree_run.ts");
      const order = { order: "reparent", dryRun: dryRun ?? false, to } as const;
      await runOrder({ topology, node, order, yes: true, write, json: json ?? false });
    });
}

/** `cascade resolve`. */
export function resolveCommand() {
  return new Command("resolve")
    .summary("decide between two nodes that were promoted at once")
    .description(
      "Of two nodes that were promoted without knowing of each other, keep what one of them has. What the other wrote " +
        "since is kept there in a folder, which `cascade log dump` reads.",
    )
    .addOption(topologyOption())
    .requiredOption("--keep <node>", "the one whose history goes on")
    .addOption(dryRunOption())
    .addOption(yesOption())
    .addOption(writeOption())
    .addOption(jsonOption())
    .addHelpText(
      "after",
      examples(
        ["What would be lost?", "cascade resolve --keep metro --dry-run"],
        ["Keep it", "cascade resolve --keep metro"],
      ),
    )
    .action(async ({ topology, keep, dryRun, yes, write = false, json }) => {
      const { runOrder } = await import("./tree_run.ts");
      const order = { order: "resolve", dryRun: dryRun ?? false } as const;
      await runOrder({
        topology,
        node: keep,
        order,
        yes: yes ?? false,
        write,
        json: json ?? false,
      });
    });
}

function durationArgument(text: string): number {
  const parsed = parseDuration(text);
  if (parsed.ok && parsed.value <= 86_400_000) return parsed.value;
  throw new InvalidArgumentError("A duration is such as 30s or 10m, and at most a day.");
}
