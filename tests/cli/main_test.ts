import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { exitCodeOf, ExitWith } from "../../cli/exit.ts";
import { commandTree } from "../../cli/main.ts";
import { CascadeError, type ErrorCode } from "../../core/errors.ts";
import { cascade, inFolder } from "./cascade.ts";

Deno.test("every command has a summary, and examples in its help", async () => {
  const bare = [];
  for (const command of (await commandTree()).commands) {
    if (command.summary() === "" && command.name() !== "complete") {
      bare.push(`${command.name()}: summary`);
    }
    if (["version", "complete"].includes(command.name())) continue;
    let help = "";
    command.configureOutput({ writeOut: (text) => help += text });
    command.outputHelp();
    if (!help.includes("Examples:")) bare.push(`${command.name()}: examples`);
    for (const line of help.split("\n")) {
      if (line.length > 100) bare.push(`${command.name()}: a line of ${line.length}`);
    }
  }
  assertEquals(bare, []);
});

Deno.test("errors map to the exit codes that scripts rely on", () => {
  const codes: [ErrorCode, number][] = [
    ["usage", 2],
    ["topology", 2],
    ["unreachable", 4],
    ["timed-out", 4],
    ["disk-full", 1],
    ["log-corrupt", 1],
    ["bug", 1],
  ];
  for (const [code, exit] of codes) assertEquals(exitCodeOf(new CascadeError(code, "x")), exit);
  assertEquals(exitCodeOf(new ExitWith(3)), 3);
  assertEquals(exitCodeOf(new TypeError("x")), 1);
});

Deno.test("version and help go to stdout and succeed", async () => {
  await inFolder(async (folder) => {
    for (const args of [["version"], ["--version"], ["-V"]]) {
      const { code, stdout, stderr } = await cascade(folder, args);
      assertEquals([code, stderr], [0, ""]);
      assert(/^cascade \d+\.\d+\.\d+ \(development\)\ndeno \S+ \(v8 \S+\) on \S+\n$/.test(stdout));
    }
    const { stdout } = await cascade(folder, ["version", "--json"]);
    const about = JSON.parse(stdout);
    assertEquals([about.commit, about.date], [null, null]);
    assertEquals(Object.keys(about), ["version", "commit", "date", "runtime", "v8", "platform"]);
    for (const args of [["--help"], ["help", "check"], ["check", "-h"]]) {
      const { code, stdout, stderr } = await cascade(folder, args);
      assertEquals([code, stderr], [0, ""]);
      assertStringIncludes(stdout, "Examples:");
    }
  });
});

Deno.test("a wrong command line exits with 2, on stderr, with the nearest right word", async () => {
  const cases: [args: string[], words: string][] = [
    [[], "Usage: cascade"],
    [["chek"], "Did you mean check?"],
    [["check", "--jsn"], "Did you mean --json?"],
    [["check", "a", "b"], "too many arguments"],
    [["check", "-t"], "argument missing"],
    [["check", "--write-rate", "10"], "Expected a rate such as 20MiB/s"],
    [["plan", "--format", "png"], "Allowed choices are text, mermaid, dot, json, svg"],
    [["plan", "--format", "svg"], "not available in this version"],
    [["init", "--size", "10G"], "10GiB (powers of 1024) or 10GB (powers of 1000)"],
    [["init", "--nodes", "1"], "Expected a number from 2 to 16"],
    [["init", "--name", "a b"], "Expected up to 63 letters"],
  ];
  await inFolder(async (folder) => {
    for (const [args, words] of cases) {
      const { code, stdout, stderr } = await cascade(folder, args);
      assertEquals([code, stdout], [2, ""], args.join(" "));
      assertStringIncludes(stderr, words);
    }
    assertEquals([...Deno.readDirSync(folder)], []);
  });
});

Deno.test("a pipe that is closed early is no failure", async () => {
  await inFolder(async (folder) => {
    const mod = new URL("../../mod.ts", import.meta.url).pathname;
    const { stdout, stderr } = await new Deno.Command("bash", {
      args: [
        "-c",
        `"$0" run -A "$1" check --schema | head -c 2; echo " \${PIPESTATUS[0]}"`,
        Deno
          .execPath(),
        mod,
      ],
      cwd: folder,
    }).output();
    const decoder = new TextDecoder();
    assertEquals([decoder.decode(stdout), decoder.decode(stderr)], ["{\n 0\n", ""]);
  });
});

Deno.test("a command that is named alone is the one of that name", async () => {
  for (const command of (await commandTree()).commands) {
    const name = command.name();
    const names = (await commandTree(name)).commands.map((command) => command.name());
    assertEquals(names, [name]);
  }
  assert(
    (await commandTree("stat")).commands.length > 10,
    "a mistake is answered with all of them",
  );
});
