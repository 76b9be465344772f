/**
 * `cascade serve`: runs one node of a topology.
 *
 * @module
 */
import { Command, Option } from "@commander-js/extra-typings";
import { LOG_LEVELS } from "../io/journal.ts";
import { examples, topologyOption } from "./options.ts";

const SIGNALS = `
Signals: SIGTERM and SIGINT drain and stop cleanly, a second one stops at once;
SIGHUP reads the topology and the certificates again and tells what has changed.
Roles and links are changed by cascade promote, migrate and reparent, not by the topology.
`;

/** The command. */
export function serveCommand() {
  return new Command("serve")
    .summary("run one node")
    .description(
      "Run one node of a topology, in the foreground: its log, its links, its exports and its " +
        "admin side. Everything it tells goes to stderr, a line an event.",
    )
    .addOption(topologyOption())
    .requiredOption("--node <name>", "which node of the topology to be")
    .addOption(
      new Option("--log-format <format>", "how lines look")
        .choices(["text", "json"] as const).default("text" as const),
    )
    .addOption(
      new Option("--log-level <level>", "the least important lines to write")
        .choices(LOG_LEVELS).default("info" as const),
    )
    .addHelpText(
      "after",
      examples(
        ["Be the node hq of ./topology.yaml", "cascade serve --node hq"],
        [
          "As a service",
          "cascade serve -t /etc/cascade/payroll.yaml --node dr1 --log-format json",
        ],
      ) + SIGNALS,
    )
    .action(async (options) => {
      const { serve } = await import("./serve_node.ts");
      await serve({
        topology: options.topology,
        node: options.node,
        logFormat: options.logFormat,
        logLevel: options.logLevel,
      });
    });
}
