/**
 * The scripts for shells, in real ones: on a terminal, with the Tab key pressed.
 */
import { assert, assertEquals } from "@std/assert";
import { deadline } from "./deadline.ts";
import { cascade, inFolder } from "./cascade.ts";

const MOD = new URL("../../mod.ts", import.meta.url).pathname;

/** What is typed, and the words that the program is then given. */
const LINES: readonly (readonly [typed: string, words: string])[] = [
  ["cascade serv\t--no\tfa\t", "<serve><--node><far>"],
  ["cascade wait --link hq\t--time\t", "<wait><--link><hq-far><--timeout>"],
  ["cascade plan --format=me\t", "<plan><--format=mermaid>"],
  ["cascade check a\t", "<check><a file.yaml>"],
  ["cascade check --topology=topo\t", "<check><--topology=topology.yaml>"],
];

const TOPOLOGY = `cascade: 1
name: payroll
secret: ./payroll.secret
volumes: { data: { size: 256MiB } }
nodes:
  hq: { role: primary, dir: ./hq, listen: unix:./hq.sock, volumes: { data: ./hq.img } }
  far: { role: secondary, dir: ./far, volumes: { data: ./far.img } }
links: [{ from: hq, to: far, mode: async }]
`;

/** Stands in for the program: answers the script, and shows what else it is given. */
const FUNCTION = `cascade() {
  if [ "$1" = complete ]; then '${Deno.execPath()}' run -A --no-check '${MOD}' "$@"
  else printf '<%s>' "$@"; echo; fi
}
`;

const SHELLS = {
  bash: { command: "bash --noprofile --rcfile ./rc -i", file: "rc", begin: "" },
  zsh: { command: "zsh -i", file: ".zshrc", begin: "autoload -U compinit; compinit -u -D\n" },
} as const;

async function isThere(shell: string): Promise<boolean> {
  const args = ["-c", `command -v ${shell} && command -v script`];
  const { success } = await new Deno.Command("sh", { args, stdout: "null" }).output();
  if (!success && Deno.env.get("CASCADE_CI") !== undefined) throw new Error(`${shell} is missing`);
  return success;
}

async function inShellFolder(work: (folder: string) => Promise<void>): Promise<void> {
  await inFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/topology.yaml`, TOPOLOGY);
    Deno.writeTextFileSync(`${folder}/a file.yaml`, "");
    await work(folder);
  });
}

/** A shell on a terminal. */
class Terminal {
  readonly #child: Deno.ChildProcess;
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  readonly #reader: ReadableStreamDefaultReader<string>;
  #text = "";

  constructor(command: string, folder: string) {
    this.#child = new Deno.Command("script", {
      args: ["-qfc", command, "/dev/null"],
      cwd: folder,
      env: { ZDOTDIR: folder, TERM: "dumb", CASCADE_TOPOLOGY: "", NO_COLOR: "1" },
      stdin: "piped",
      stdout: "piped",
      stderr: "null",
    }).spawn();
    this.#writer = this.#child.stdin.getWriter();
    this.#reader = this.#child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  }

  async type(text: string): Promise<void> {
    await this.#writer.write(new TextEncoder().encode(text));
  }

  /** Waits until `pattern` has been shown, and forgets what was shown up to there. */
  async shown(pattern: RegExp): Promise<string> {
    for (;;) {
      const match = pattern.exec(this.#text);
      if (match !== null) {
        this.#text = this.#text.slice(match.index + match[0].length);
        return match[0];
      }
      const { done, value } = await deadline(
        this.#reader.read(),
        `${pattern} in ${JSON.stringify(this.#text)}`,
      );
      if (done) throw new Error(`the shell has ended: ${this.#text}`);
      this.#text += value;
    }
  }

  async end(): Promise<void> {
    await this.#writer.close().catch(() => {});
    this.#child.kill("SIGKILL");
    await this.#reader.cancel();
    await this.#child.status;
  }
}

for (const [shell, { command, file, begin }] of Object.entries(SHELLS)) {
  Deno.test({
    name: `${shell} completes commands, options, values, names and files`,
    ignore: !await isThere(shell),
    fn: () =>
      inShellFolder(async (folder) => {
        const script = (await cascade(folder, ["completions", shell])).stdout;
        const text = `${begin}${FUNCTION}\n${script}\nPS1='READY '\n`;
        Deno.writeTextFileSync(`${folder}/${file}`, text);
        const terminal = new Terminal(command, folder);
        try {
          for (const [typed, words] of LINES) {
            await terminal.shown(/READY /);
            await terminal.type(`${typed}\n`);
            assertEquals(await terminal.shown(/<.*>(?=\r?\n)/), words);
          }
        } finally {
          await terminal.end();
        }
      }),
  });
}

Deno.test({
  name: "fish completes commands, options, values, names and files",
  ignore: !await isThere("fish"),
  fn: () =>
    inShellFolder(async (folder) => {
      const script = (await cascade(folder, ["completions", "fish"])).stdout;
      const cases: readonly (readonly [line: string, offered: string])[] = [
        ["cascade serv", "serve"],
        ["cascade serve --node fa", "far"],
        ["cascade plan --format=me", "--format=mermaid"],
        ["cascade check a", "a file.yaml"],
        ["cascade check --topology=topo", "--topology=topology.yaml"],
      ];
      const asks = cases.map(([line]) => `complete -C '${line}'; echo ==`).join("\n");
      const stand = `function cascade
        '${Deno.execPath()}' run -A --no-check '${MOD}' $argv
      end`;
      Deno.writeTextFileSync(`${folder}/t.fish`, `${stand}\n${script}\n${asks}\n`);
      const { stdout } = await new Deno.Command("fish", {
        args: ["--no-config", "t.fish"],
        cwd: folder,
        env: { HOME: folder, CASCADE_TOPOLOGY: "" },
      }).output();
      const offered = new TextDecoder().decode(stdout).split("==\n").map((part) => part.trim());
      assertEquals(offered.slice(0, -1), cases.map(([, expected]) => expected));
    }),
});

Deno.test("the hidden command says nothing of a topology that cannot be read", () =>
  inFolder(async (folder) => {
    const ask = () => cascade(folder, ["complete", "--", "serve", "--node", ""]);
    assertEquals(await ask(), { code: 0, stdout: "words\n", stderr: "" });
    Deno.writeTextFileSync(`${folder}/topology.yaml`, "cascade: [");
    assertEquals(await ask(), { code: 0, stdout: "words\n", stderr: "" });
    assert(!(await cascade(folder, ["--help"])).stdout.includes("complete "));
  }));
