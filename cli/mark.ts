/**
 * `cascade mark`: names this moment of the primary's history.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { moment } from "../core/marks/find_lsn.ts";
import { examples, topologyOption } from "./options.ts";
import { printJson, printLine } from "./output.ts";

/** The command. */
export function markCommand() {
  return new Command("mark")
    .summary("name this moment, on every node")
    .description(
      "Put a mark into the primary's log. It flows down with the writes: on each node it stands for the " +
        "image that the primary had at this moment. When the command ends, the mark is durable on the primary.",
    )
    .argument("<name>", "its name: letters, digits and . _ : @ + -, no more than 128")
    .addOption(topologyOption())
    .option("--node <name>", "the primary, if not the node that says it is")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      examples(
        ["Before an upgrade", "cascade mark before-upgrade"],
        [
          "With the time in its name, since a name is taken once",
          "cascade mark nightly-$(date +%F)",
        ],
        [
          "Freeze a file system for it, so that the image needs no repair",
          "fsfreeze -f /mnt && cascade mark backup-1; fsfreeze -u /mnt",
        ],
      ) + "\nExit codes: 0 it is set; 1 it was refused; 4 the node does not answer.\n",
    )
    .action(async (name, { topology, node, json }) => {
      const { markNameFault } = await import("../core/marks/mark_index.ts");
      const { CascadeError } = await import("../core/errors.ts");
      const fault = markNameFault(name);
      if (fault !== null) {
        throw new CascadeError("usage", `"${name}" is no name for a mark: ${fault}`);
      }
      const { markTarget } = await import("./mark_target.ts");
      const { setMark } = await import("../io/marks_client.ts");
      const target = await markTarget(topology, node);
      const mark = await setMark(target, name);
      if (json === true) return printJson({ node: target.node, ...mark });
      printLine(
        `mark ${mark.name} is set on ${target.node}: LSN ${mark.endLsn}, ${moment(mark.timeMs)}`,
      );
    });
}
