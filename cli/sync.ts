/**
 * `cascade sync`: ships what is pending on a node's links, once; made for cron.
 *
 * @module
 */
import { Command, Option } from "@commander-js/extra-typings";
import { durationArgument, examples, topologyOption } from "./options.ts";

const NOTES = `
Beside a running \`cascade serve\` it asks that node, at its admin address; otherwise it is the
node itself for as long as it takes, without its exports. Two runs never overlap.

Exit codes: 0 done, or nothing to do, or skipped; 1 a link failed, or a sync runs already;
2 wrong command line or topology; 4 the node, or every peer, is unreachable, or --timeout.
`;

/** The command. */
export function syncCommand() {
  return new Command("sync")
    .summary("ship what is pending on a node's links, once")
    .description(
      "Ship what is pending on the links from a node to those below it, all of them or the ones " +
        "that are named, until it is durable there; then say so in one line, and end.",
    )
    .addOption(topologyOption())
    .requiredOption("--node <name>", "the upstream node")
    .option("--link <name>", "this link alone; may be given several times", gather)
    .option("--dry-run", "tell what there is to send, and send nothing")
    .option("--full", "with capture: scan: compare with what the peers hold, too")
    .option("--skip-if-running", "leave with 0 when a sync of the node runs already")
    .addOption(
      new Option("--timeout <duration>", "give up after this time (default: never)")
        .argParser(durationArgument),
    )
    .option("--json", "print one JSON document")
    .option("-q, --quiet", "print nothing but errors")
    .addHelpText(
      "after",
      examples(
        ["What is pending on all links of hq", "cascade sync --node hq"],
        [
          "Every night, from cron",
          "0 2 * * * cascade sync -t /etc/cascade/payroll.yaml --node hq --skip-if-running --quiet",
        ],
        [
          "How much would go over this link?",
          "cascade sync --node hq --link hq-metro --dry-run",
        ],
      ) + NOTES,
    )
    .action(async (options) => {
      const { runSync } = await import("./sync_run.ts");
      await runSync({
        topology: options.topology,
        node: options.node,
        links: options.link ?? null,
        dryRun: options.dryRun === true,
        full: options.full === true,
        skipIfRunning: options.skipIfRunning === true,
        timeoutMs: options.timeout ?? null,
        json: options.json === true,
        quiet: options.quiet === true,
      });
    });
}

function gather(link: string, before: readonly string[] | undefined): readonly string[] {
  return [...new Set(before).add(link)];
}
