/**
 * `cascade demo`: a four-node cascade on this machine, under load, with a kill, verified.
 *
 * @module
 */
import { Command, Option } from "@commander-js/extra-typings";
import { durationArgument, examples, sizeArgument } from "./options.ts";

const MIB = 1024 * 1024;

/** The command. */
export function demoCommand() {
  return new Command("demo")
    .summary("a four-node cascade on this machine, under load, verified")
    .description(
      "Starts four nodes in four processes (hq -sync-> metro -async-> dr1, metro -periodic-> dr2), " +
        "puts a load that looks like a database's on the primary through NBD, kills the intermediate " +
        "with SIGKILL half-way and starts it again, then compares all images byte for byte and tells " +
        "what each link carried. Leaves nothing behind.",
    )
    .addOption(
      new Option(
        "--story <name>",
        "cascade, as above; or failover: the primary dies, and comes back",
      )
        .choices(["cascade", "failover"] as const).default("cascade" as const),
    )
    .addOption(
      new Option("--input <image>", "copy this disk image in, instead of the database-like load"),
    )
    .addOption(
      new Option("--size <size>", "size of the volume").argParser(sizeArgument)
        .default(256 * MIB, "256MiB"),
    )
    .addOption(
      new Option("--duration <time>", "how long the load runs").argParser(durationArgument)
        .default(8000, "8s"),
    )
    .option("--json", "print the result as one JSON document")
    .addHelpText(
      "after",
      examples(
        ["See a cascade at work", "cascade demo"],
        [
          "See a primary die, another take over, and all come home",
          "cascade demo --story failover",
        ],
        ["Replicate an image of your own", "cascade demo --input disk.img"],
      ),
    )
    .action(async ({ story, input, size, duration, json }) => {
      const { showDemo } = await import("./demo/show.ts");
      await showDemo({
        story,
        input: input ?? null,
        sizeBytes: size,
        durationMs: duration,
        json: json === true,
      });
    });
}
