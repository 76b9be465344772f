/**
 * `cascade version`: which program this is, of which build, on what.
 *
 * @module
 */
import { Command } from "@commander-js/extra-typings";
import { build, VERSION, versionText } from "../core/version.ts";
import { printJson, printLine } from "./output.ts";

/** The `version` command. */
export function versionCommand() {
  return new Command("version")
    .summary("print the version, the build and what it runs on")
    .description(
      "Print the version, the commit and time that this was built from, the runtime and the platform. " +
        "The time is the commit's, so that building it again gives the same program.",
    )
    .option("--json", "print it as JSON")
    .action(({ json }) => json === true ? printJson(about()) : printLine(aboutText()));
}

/** What `--json` prints. `commit` and `date` are null in a program that runs from its sources. */
export function about() {
  const { deno, v8 } = Deno.version;
  const { os, arch } = Deno.build;
  return { version: VERSION, ...build(), runtime: `deno ${deno}`, v8, platform: `${os}-${arch}` };
}

/** The same for people; its first line begins with `cascade` and the version. */
export function aboutText(): string {
  const { runtime, v8, platform } = about();
  return `cascade ${versionText()}\n${runtime} (v8 ${v8}) on ${platform}`;
}
