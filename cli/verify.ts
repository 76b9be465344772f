/**
 * `cascade verify`: compares the volumes at the two ends of a link while both go on.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { examples, topologyOption } from "./options.ts";

const NOTES = `
The upstream node of the link is asked, at its admin address: it has to run, and its peer to be
connected. Clients may write meanwhile: each chunk is compared at its own LSN, so no difference is
false. What is written too often to be compared, or was not shipped yet, is told apart.

Exit codes: 0 nothing differs, or all that did was repaired; 3 something differs; 1 it could not be
done; 2 wrong command line or topology; 4 the node or its peer is unreachable.
`;

/** The command. */
export function verifyCommand() {
  return new Command("verify")
    .summary("compare the two ends of a link while it runs")
    .description(
      "Compare the volumes at the two ends of a link, chunk by chunk, by their hashes; print the " +
        "ranges that differ, and the first bytes that do.",
    )
    .addOption(topologyOption())
    .requiredOption("--link <name>", "the link")
    .option("--repair", "send what differs once more, as a delta, and compare it again")
    .option("--json", "print one JSON document")
    .option("-q, --quiet", "print nothing but differences and errors")
    .addHelpText(
      "after",
      examples(
        ["Is the far copy what it should be?", "cascade verify --link metro-far"],
        ["It is not: mend it", "cascade verify --link metro-far --repair"],
      ) + NOTES,
    )
    .action(async (options) => {
      const { runVerify } = await import("./verify_run.ts");
      await runVerify({
        topology: options.topology,
        link: options.link,
        repair: options.repair === true,
        json: options.json === true,
        quiet: options.quiet === true,
      });
    });
}
