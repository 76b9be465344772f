/**
 * `cascade seed`: copies a volume between files, block devices and NBD servers; or the volumes of a node
 * into a file, to be carried to a blank one.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { examples, topologyOption } from "./options.ts";

/** The command. */
export function seedCommand() {
  return new Command("seed")
    .summary("copy a volume: file, device or NBD server to another; or a node by a file")
    .description(
      "Copy a whole volume. Holes and zeroes stay holes. SOURCE and TARGET are each a file, a block " +
        "device, or an export of any NBD server: nbd://HOST[:PORT]/EXPORT, " +
        "nbd+unix:///EXPORT?socket=/PATH or, over TLS, nbds://HOST/EXPORT?tls-certificates=FOLDER. A target file that is not there is made. What was " +
        "interrupted goes on where it was: TARGET.seeding beside a target file keeps count until " +
        "the copy is whole and flushed.\n\n" +
        "By courier: where SOURCE is a node of the topology, TARGET becomes a seed file with all of " +
        "its volumes as of one LSN, also while clients write. Where TARGET is a node, SOURCE is such " +
        "a file: it fills the blank node, which is not served meanwhile, and whose link goes on from " +
        "that LSN. Both go on after an interruption.",
    )
    .argument("<source>", "what to copy")
    .argument("<target>", "where to; of the same size, not in use, and blank")
    .addOption(topologyOption())
    .option("--compare", "read the target too, and write only the blocks that differ")
    .option("--verify", "read the target back afterwards, and compare it with the source")
    .option(
      "--force",
      "overwrite a target that holds data, or was a node's volume; empty a node that does",
    )
    .option("--resume-file <file>", "keep count here (for devices and NBD servers, too)")
    .option("--json", "print one JSON document at the end")
    .option("-q, --quiet", "print nothing but errors")
    .addHelpText(
      "after",
      examples(
        ["A copy of an image, checked", "cascade seed --verify disk.img copy.img"],
        [
          "To an NBD server, to be gone on with after an interruption",
          "cascade seed --resume-file disk.seeding disk.img nbd://10.0.2.1/data",
        ],
        [
          "Bring an older copy up to date",
          "cascade seed --compare /dev/vg0/data 'nbd+unix:///data?socket=/run/nbd.sock'",
        ],
        ["A node by courier: here", "cascade seed hq /media/disk/payroll.seed"],
        ["and at the far site", "cascade seed /media/disk/payroll.seed dr"],
      ) +
        "\n--compare takes a target that holds data: it is there to be overwritten. A target that\n" +
        "somebody has locked or mounted is refused in any case. The source must not change meanwhile.\n" +
        "\nExit codes: 0 done and flushed; 1 failed or interrupted; 2 wrong command line, or sizes that\n" +
        "differ; 3 --verify found a difference; 4 nobody answers.\n",
    )
    .action(async (source, target, options, command) => {
      const { runSeed } = await import("./seed_kinds.ts");
      await runSeed({
        topology: options.topology,
        isTopologyGiven: command.getOptionValueSource("topology") !== "default",
        source,
        target,
        compare: options.compare === true,
        verify: options.verify === true,
        force: options.force === true,
        resumeFile: options.resumeFile ?? null,
        json: options.json === true,
        quiet: options.quiet === true,
      });
    });
}
