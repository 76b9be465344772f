/**
 * `cascade log`: what is in the log of a stopped node, or of a damaged one. Nothing is changed.
 *
 * @module
 */
import { Command, InvalidArgumentError } from "@commander-js/extra-typings";
import { EXIT, ExitWith } from "./exit.ts";
import { examples } from "./options.ts";
import { paintFor, print, printJson, printLine, tell } from "./output.ts";

/** The command. */
export function logCommand() {
  return new Command("log")
    .summary("look into the log of a stopped node, or a damaged one")
    .description("List, print and check the log of a node. Opens files to read only.")
    .addCommand(listCommand())
    .addCommand(dumpCommand())
    .addCommand(checkCommand())
    .addCommand(extractCommand())
    .addHelpText(
      "after",
      examples(
        ["What does it hold?", "cascade log ls /var/lib/cascade/hq"],
        ["Is every byte of it whole?", "cascade log check /var/lib/cascade/hq"],
      ),
    );
}

const FOLDER = "the node's folder, or the log's within it";

function listCommand() {
  return new Command("ls")
    .summary("list the segments")
    .description("List the segment files: state, LSNs, records, and what each knows to be durable.")
    .argument("<dir>", FOLDER)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      examples(
        ["What does it hold?", "cascade log ls /var/lib/cascade/hq"],
        ["Its end", "cascade log ls /var/lib/cascade/hq --json | jq .endLsn"],
      ),
    )
    .action(async (dir, options) => {
      const { openLog } = await import("./log_folder.ts");
      const view = await import("./ui/log_view.ts");
      const inspection = await openLog(dir).inspect();
      if (options.json === true) printJson(inspection);
      else for (const line of view.segmentTable(inspection, paintFor(Deno.stdout))) printLine(line);
    });
}

function dumpCommand() {
  return new Command("dump")
    .summary("print records, one a line")
    .description(
      "Print what the records say of themselves, one a line; never their payload. Where the " +
        "log goes on behind a delta, a line says so.",
    )
    .argument("<dir>", FOLDER)
    .option("--from <lsn>", "begin with the first record at or behind this LSN", wholeNumber)
    .option("--limit <count>", "print no more than this many", wholeNumber)
    .option("--json", "print one JSON document a line")
    .addHelpText(
      "after",
      examples(
        ["The first ten", "cascade log dump /var/lib/cascade/hq --limit 10"],
        ["From an LSN that an error told", "cascade log dump /var/lib/cascade/hq --from 73728"],
        [
          "Who reigned?",
          "cascade log dump /var/lib/cascade/hq --json | jq 'select(.type == \"epoch\")'",
        ],
      ),
    )
    .action(async (dir, options) => {
      const { openLog } = await import("./log_folder.ts");
      const { dumpLine } = await import("./ui/log_view.ts");
      const isJson = options.json === true;
      let lines = "";
      const log = openLog(dir);
      await log.dump(options.from ?? 0, options.limit ?? Infinity, (line) => {
        lines += (isJson ? JSON.stringify(line) : dumpLine(line)) + "\n";
        if (lines.length < PRINT_CHARACTERS) return;
        print(lines);
        lines = "";
      });
      print(lines);
    });
}

/** Lines are printed in batches: a log has millions. */
const PRINT_CHARACTERS = 64 * 1024;

function checkCommand() {
  return new Command("check")
    .summary("check every record")
    .description(
      "Check every record and header page, also behind damage. Prints each damaged place with " +
        "file, offset, LSN and what was found. Silent when all is well, but for notes on what " +
        "came as a delta and is not in the log.",
    )
    .argument("<dir>", FOLDER)
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      examples(
        ["Is the log whole?", "cascade log check /var/lib/cascade/hq && echo yes"],
        [
          "How many places?",
          "cascade log check /var/lib/cascade/hq --json | jq '.damage | length'",
        ],
      ) +
        "\nExit codes: 0 whole (a torn end, as a power cut leaves it, is told as a note); 3 damaged.\n",
    )
    .action(async (dir, options) => {
      const { openLog } = await import("./log_folder.ts");
      const { damageLine, gapLine, tornLine } = await import("./ui/log_view.ts");
      const inspection = await openLog(dir).inspect();
      if (options.json === true) printJson(inspection);
      else for (const damage of inspection.damage) printLine(damageLine(damage));
      for (const gap of inspection.gaps) tell(`note: ${gapLine(gap)}`);
      if (inspection.torn !== null) tell(tornLine(inspection.torn));
      if (inspection.damage.length > 0) throw new ExitWith(EXIT.differences);
    });
}

function wholeNumber(text: string): number {
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value)) return value;
  throw new InvalidArgumentError("Expected a whole number.");
}

function extractCommand() {
  return new Command("extract")
    .summary("write out what records wrote, as images")
    .description(
      "Write what the records of a log wrote into sparse images, one a volume, and a list of the blocks. " +
        "Made for what a node kept of an abandoned epoch: DIR/abandoned/EPOCH-FROM-TO.",
    )
    .argument("<dir>", FOLDER)
    .requiredOption("--to <folder>", "a new folder for the images")
    .option(
      "--from <lsn>",
      "begin with this LSN (default: all; of an abandoned tail its fork)",
      wholeNumber,
    )
    .option("--json", "print one JSON document")
    .addHelpText(
      "after",
      examples([
        "What the old primary had that was never replicated",
        "cascade log extract /var/lib/cascade/hq/abandoned/1-81920-98304 --to ./lost",
      ]),
    )
    .action(async (dir, options) => {
      const { extractLog } = await import("./log_extract.ts");
      const done = await extractLog(dir, options.to, options.from ?? null);
      if (options.json === true) return printJson(done);
      for (const { file } of done.images) printLine(file);
      const deltas = done.deltas === 0 ? "" : ` and what ${done.deltas} deltas brought,`;
      printLine(`${done.list}: ${done.records} records${deltas} from LSN ${done.fromLsn} on`);
      if (done.gaps > 0) {
        tell(`note: ${done.gaps} spans came as deltas whose files are gone: they are not in it`);
      }
    });
}
