import { assert, assertEquals } from "@std/assert";
import { complete, type Names } from "../../cli/complete.ts";
import { commandTree } from "../../cli/main.ts";

const NAMES: Names = { nodes: ["hq", "metro", "dr1"], links: ["hq-metro", "metro-dr1"] };
const program = await commandTree();

function offer(...words: string[]) {
  return complete(program, words, () => NAMES);
}

Deno.test("what is offered fits what was typed and what may stand there", () => {
  const cases: readonly (readonly [words: string[], offered: string[], paths: string | null])[] = [
    [["ser"], ["serve"], null],
    [["serve", "--node", ""], ["hq", "metro", "dr1"], null],
    [["serve", "--node", "m"], ["metro"], null],
    [["serve", "--node=m"], ["--node=metro"], null],
    [["wait", "--link", "me"], ["metro-dr1"], null],
    [["plan", "-f", "m"], ["mermaid"], null],
    [["plan", "--format=d"], ["--format=dot"], null],
    [["plan", "-t", ""], [], "files"],
    [["check", "--topology=a"], [], "files"],
    [["serve", "--nod"], ["--node"], null],
    [["serve", "--", "--nod"], [], null],
    [["check", ""], [], "files"],
    [["check", "a", ""], [], null],
    [["log", "l"], ["ls"], null],
    [["log", "ls", ""], [], "folders"],
    [["seed", "h"], ["hq"], "files"],
    [["seed", "hq", ""], ["hq", "metro", "dr1"], "files"],
    [["systemd", "--node", "hq", "t"], ["timer"], null],
    [["completions", ""], ["bash", "zsh", "fish"], null],
    [["sync", "--timeout", ""], [], null],
    [["no-such-command", ""], [], null],
    [["serve", "--no-such-option", "--nod"], ["--node"], null],
  ];
  for (const [words, offered, paths] of cases) {
    assertEquals(
      offer(...words),
      { words: offered, paths } as ReturnType<typeof offer>,
      `${words}`,
    );
  }
});

Deno.test("every command but the hidden one is offered, and each option of each", () => {
  const names = program.commands.map((command) => command.name());
  assertEquals(offer("").words, [...names.filter((name) => name !== "complete"), "help"]);
  for (const command of program.commands) {
    if (command.name() === "complete") continue;
    const offered = offer(command.name(), "--").words;
    for (const { long } of command.options) {
      assert(offered.includes(long!), `${command.name()} ${long}`);
    }
  }
});

Deno.test("names are those of the topology that the line names", () => {
  const asked: (string | null)[] = [];
  const namesOf = (topology: string | null) => (asked.push(topology), NAMES);
  complete(program, ["wait", "-t", "a.yaml", "--link", ""], namesOf);
  complete(program, ["wait", "--topology=b.yaml", "--link", ""], namesOf);
  complete(program, ["wait", "--link", ""], namesOf);
  complete(program, ["wait", "--"], namesOf);
  assertEquals(asked, ["a.yaml", "b.yaml", null], "and it is read only if names are wanted");
});
