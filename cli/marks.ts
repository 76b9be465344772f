/**
 * `cascade marks`: the marks in a node's log.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { moment } from "../core/marks/find_lsn.ts";
import { examples, topologyOption } from "./options.ts";
import { paintFor, printJson, printLine, tell } from "./output.ts";

const COLUMNS = ["mark", "LSN", "time", "here"].map((title) => ({
  title,
  align: title === "LSN" ? "right" as const : "left" as const,
  rank: 0,
}));

/** The command. */
export function marksCommand() {
  return new Command("marks")
    .summary("list the marks in a node's log")
    .description(
      "List the marks that are still in a node's log, oldest first, each with the LSN and the primary's " +
        "time of its image, and whether the node's volumes have come to it yet.",
    )
    .addOption(topologyOption())
    .option("--node <name>", "whose log; that of the primary if left out")
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      examples(
        ["What was marked?", "cascade marks"],
        ["Which marks can dr still be shown as of?", "cascade marks --node dr"],
      ) + "\nExit codes: 0 done; 4 the node does not answer.\n",
    )
    .action(async ({ topology, node, json }) => {
      const { markTarget } = await import("./mark_target.ts");
      const { listMarks } = await import("../io/marks_client.ts");
      const list = await listMarks(await markTarget(topology, node));
      if (json === true) return printJson(list);
      if (list.marks.length === 0) return tell(`there is no mark in the log of ${list.node}`);
      const { drawTable } = await import("./ui/table.ts");
      const rows = list.marks.map(({ name, endLsn, timeMs, applied }) =>
        [name, String(endLsn), moment(timeMs), applied ? "applied" : "not yet applied"].map((
          text,
        ) => ({ text }))
      );
      const lines = drawTable(COLUMNS, rows, Infinity, paintFor(Deno.stdout).bold);
      for (const line of lines) printLine(line);
    });
}
