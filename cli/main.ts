/**
 * The command tree and the exit codes. The only place that ends the process.
 *
 * Commands import what is heavy when they run, so that `--help` and mistakes answer at once.
 *
 * @module
 */
import { Command, CommanderError } from "commander";
import { describeError, isCascadeError } from "../core/errors.ts";
import { EXIT, type ExitCode, exitCodeOf, ExitWith } from "./exit.ts";
import { examples } from "./options.ts";
import { print, tell } from "./output.ts";
import { aboutText, versionCommand } from "./version.ts";

/** Runs one command line, without the program's own name. Returns the exit code; never throws. */
export async function main(args: readonly string[]): Promise<ExitCode> {
  try {
    const program = await commandTree(args[0]);
    await program.parseAsync([...args], { from: "user" });
    return EXIT.done;
  } catch (error) {
    return report(error);
  }
}

/** Runs the process's own command line and ends the process. */
export async function run(): Promise<never> {
  Deno.exit(await main(Deno.args));
}

/** The commands in the order of the help. A process that runs one of them loads no other. */
const COMMANDS: readonly (readonly [name: string, load: () => Promise<unknown>])[] = [
  ["demo", async () => (await import("./demo.ts")).demoCommand()],
  ["init", async () => (await import("./init.ts")).initCommand()],
  ["check", async () => (await import("./check.ts")).checkCommand()],
  ["plan", async () => (await import("./plan.ts")).planCommand()],
  ["serve", async () => (await import("./serve.ts")).serveCommand()],
  ["attach", async () => (await import("./attach.ts")).attachCommand()],
  ["status", async () => (await import("./status.ts")).statusCommand()],
  ["wait", async () => (await import("./wait.ts")).waitCommand()],
  ["pause", async () => (await import("./pause.ts")).pauseCommand()],
  ["resume", async () => (await import("./pause.ts")).resumeCommand()],
  ["promote", async () => (await import("./tree.ts")).promoteCommand()],
  ["migrate", async () => (await import("./tree.ts")).migrateCommand()],
  ["demote", async () => (await import("./demote.ts")).demoteCommand()],
  ["reparent", async () => (await import("./tree.ts")).reparentCommand()],
  ["resolve", async () => (await import("./tree.ts")).resolveCommand()],
  ["limit", async () => (await import("./limit.ts")).limitCommand()],
  ["sync", async () => (await import("./sync.ts")).syncCommand()],
  ["mark", async () => (await import("./mark.ts")).markCommand()],
  ["marks", async () => (await import("./marks.ts")).marksCommand()],
  ["export", async () => (await import("./export.ts")).exportCommand()],
  ["verify", async () => (await import("./verify.ts")).verifyCommand()],
  ["seed", async () => (await import("./seed.ts")).seedCommand()],
  ["certs", async () => (await import("./certs.ts")).certsCommand()],
  ["log", async () => (await import("./log.ts")).logCommand()],
  ["systemd", async () => (await import("./systemd.ts")).systemdCommand()],
  ["completions", async () => (await import("./completions.ts")).completionsCommand()],
  ["complete", async () => (await import("./completions.ts")).completeCommand()],
  ["version", () => Promise.resolve(versionCommand())],
];

/** Called by scripts that the program has printed, and by nobody else. */
const HIDDEN: ReadonlySet<string> = new Set(["complete"]);

/**
 * The command tree: all of it, or with the command named `only` alone, if there is one. Parsing throws: a
 * `CommanderError`, or what a command throws.
 */
export async function commandTree(only: string | undefined = undefined): Promise<Command> {
  const program = new Command("cascade")
    .description(
      "Replicate block volumes down a cascade of nodes: a primary feeds an intermediate, which " +
        "feeds one or many secondaries. One topology file describes the whole; every node runs on it.",
    )
    .version(aboutText(), "-V, --version", "print the version")
    .helpOption("-h, --help", "show help")
    .helpCommand("help [command]", "show help for a command")
    .showHelpAfterError("(--help shows what there is)")
    .configureOutput({
      writeOut: print,
      writeErr: (text) => tell(text.replace(/\n$/, "")),
      outputError: (text, write) => write(text.replace(/^error: /, "cascade: ")),
      getOutHasColors: () => false,
      getErrHasColors: () => false,
    })
    .exitOverride()
    .addHelpText(
      "after",
      examples(
        ["See it work: four nodes under load, one of them killed", "cascade demo"],
        ["Start your own", "cascade init && cascade check && cascade plan"],
        ["Run a node", "cascade serve --node hq"],
        ["How far is everybody?", "cascade status --watch"],
      ) +
        "\nExit codes: 0 done, 1 failed, 2 wrong command line or topology, 3 differences found,\n" +
        "4 unreachable or timed out. CASCADE_TOPOLOGY stands in for --topology.\n",
    );
  const isKnown = COMMANDS.some(([name]) => name === only);
  for (const [name, load] of COMMANDS) {
    if (isKnown && name !== only) continue;
    // The two types of `Command` differ in what they know of their options alone.
    const command = await load() as unknown as Command;
    program.addCommand(command, { hidden: HIDDEN.has(name) });
    inherit(command, program);
  }
  return program;
}

/** Sub-commands made on their own do not know yet how the program wants to fail. */
function inherit(command: Command, parent: Command): void {
  command.copyInheritedSettings(parent);
  for (const child of command.commands) inherit(child, command);
}

/** Tells of what was thrown, and says which exit code it stands for. */
function report(error: unknown): ExitCode {
  // Commander has told of it already; help and --version end this way too.
  if (error instanceof CommanderError) return error.exitCode === 0 ? EXIT.done : EXIT.usage;
  if (error instanceof ExitWith) {
    if (error.message !== "") tell(error.message);
  } else if (isCascadeError(error) && error.code !== "bug") {
    // Problems of a topology begin with their place, so that editors can jump to them.
    tell(
      (error.code === "topology" && /^.+:\d+:\d+: /.test(error.message) ? "" : "cascade: ") +
        describeError(error),
    );
  } else {
    tell("cascade: this is a bug in Cascade; please report it with what follows:");
    tell(error instanceof Error ? error.stack ?? error.message : String(error));
  }
  return exitCodeOf(error);
}

if (import.meta.main) await run();
