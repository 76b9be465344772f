import { assert, assertEquals, assertMatch } from "@std/assert";
import { firstView, type View } from "../../core/tree/view.ts";
import { loadTopology } from "../../io/topology_file.ts";
import { writeTopology } from "../../io/topology_write.ts";
import { withFolder } from "./helpers.ts";

const TEXT = `cascade: 1
name: payroll # of all
secret: ./secret
volumes: { data: { size: 8MiB } }
nodes:
  hq: { role: primary, dir: ./hq, listen: [unix:./hq.link], volumes: { data: ./hq.img } }
  dr: { role: secondary, dir: ./dr, volumes: { data: ./dr.img } }
links:
  - { from: hq, to: dr, mode: async }
`;

function viewOf(primary: string, reign = 4096): View {
  const other = primary === "hq" ? "dr" : "hq";
  const parents = { [other]: { to: primary, reign, serial: 0 } };
  return { primary, reign, reignId: "a".repeat(32), parents };
}

function primaryOf(path: string): string | undefined {
  return loadTopology(path).nodes.find(({ role }) => role === "primary")?.name;
}

function namesIn(folder: string): string[] {
  return Array.from(Deno.readDirSync(folder), ({ name }) => name).sort();
}

Deno.test("the file is replaced, kept as it was, and stays what and whose it is", () =>
  withFolder(async (folder) => {
    const path = `${folder}/t.yaml`;
    Deno.writeTextFileSync(path, TEXT);
    Deno.chmodSync(path, 0o640);
    // Only root gives files away.
    if (Deno.uid() === 0) Deno.chownSync(path, 0, 12345);
    const { uid, gid } = Deno.statSync(path);
    const outcome = await writeTopology(path, viewOf("dr"));
    assertEquals(outcome, {
      outcome: "written",
      file: path,
      before: `${path}.before`,
      reason: null,
    });
    assertEquals(Deno.readTextFileSync(`${path}.before`), TEXT);
    for (const name of [path, `${path}.before`]) {
      const stat = Deno.statSync(name);
      assertEquals([stat.mode! & 0o7777, stat.uid, stat.gid], [0o640, uid, gid], name);
    }
    assertEquals(primaryOf(path), "dr");
    const { ino } = Deno.statSync(path);
    assertEquals((await writeTopology(path, viewOf("dr"))).outcome, "unchanged");
    assertEquals(Deno.statSync(path).ino, ino);
    assertEquals(namesIn(folder), ["t.yaml", "t.yaml.before"]);
  }));

Deno.test("a symbolic link stays, and leads to the new file", () =>
  withFolder(async (folder) => {
    Deno.mkdirSync(`${folder}/real`);
    Deno.writeTextFileSync(`${folder}/real/payroll.yaml`, TEXT);
    Deno.symlinkSync("real/payroll.yaml", `${folder}/t.yaml`);
    const { outcome, file, before } = await writeTopology(`${folder}/t.yaml`, viewOf("dr"));
    assertEquals(outcome, "written");
    assertEquals(file, `${folder}/t.yaml`);
    assertEquals(before, `${folder}/real/payroll.yaml.before`);
    assert(Deno.lstatSync(`${folder}/t.yaml`).isSymlink);
    assertEquals(primaryOf(`${folder}/t.yaml`), "dr");
  }));

Deno.test("nodes that are served with one file write it once, however many at once", () =>
  withFolder(async (folder) => {
    const path = `${folder}/t.yaml`;
    Deno.writeTextFileSync(path, TEXT);
    const outcomes = await Promise.all(
      Array.from({ length: 8 }, () => writeTopology(path, viewOf("dr"))),
    );
    const words = outcomes.map(({ outcome }) => outcome);
    assertEquals(words.filter((word) => word === "written").length, 1);
    assertEquals(words.filter((word) => word === "unchanged").length, 7);
    assertEquals(Deno.readTextFileSync(`${path}.before`), TEXT);
  }));

Deno.test("a file that cannot be written is left as it is, with the reason", () =>
  withFolder(async (folder) => {
    const path = `${folder}/t.yaml`;
    const reason = async (view = viewOf("dr")) => {
      const outcome = await writeTopology(path, view);
      assertEquals(outcome.outcome, "failed");
      return outcome.reason ?? "";
    };
    assertMatch(await reason(), /No such file/);
    Deno.writeTextFileSync(path, TEXT.replace("mode: async", "mode: asink"));
    assertMatch(await reason(), /t\.yaml:9:.*mode/);
    Deno.writeTextFileSync(path, TEXT);
    assertMatch(await reason(viewOf("mars")), /no node "mars"/);
    Deno.mkdirSync(`${path}.before`);
    assertMatch(await reason(), /t\.yaml\.before cannot be written/);
    assertEquals(Deno.readTextFileSync(path), TEXT);
    assertEquals(namesIn(folder), ["t.yaml", "t.yaml.before"]);
    assertEquals((await writeTopology(path, firstView("hq"))).outcome, "unchanged");
  }));

Deno.test("a program without the permission to write says which it lacks", () =>
  withFolder(async (folder) => {
    const path = `${folder}/t.yaml`;
    Deno.writeTextFileSync(path, TEXT);
    const outcome = await inChild(
      ["--allow-read", "--allow-env"],
      path,
      `console.log((await write("dr")).reason)`,
    );
    assertMatch(outcome.stdout, /cannot be written: Requires write access to/);
    assertEquals(Deno.readTextFileSync(path), TEXT);
  }));

Deno.test("killed at any moment, the file is the one or the other, and the next try completes", () =>
  withFolder(async (folder) => {
    const path = `${folder}/t.yaml`;
    Deno.writeTextFileSync(path, TEXT);
    for (let i = 0; i < 5; i++) {
      const loop = `console.log("on"); for (;;) { await write("dr"); await write("hq"); }`;
      await inChild(["-A"], path, loop, 20 + 37 * i);
      assert(["hq", "dr"].includes(primaryOf(path) ?? ""));
      const other = primaryOf(path) === "hq" ? "dr" : "hq";
      assertEquals((await writeTopology(path, viewOf(other))).outcome, "written");
      assertEquals(namesIn(folder), ["t.yaml", "t.yaml.before"]);
    }
  }));

/** Runs `body` in a process of its own, where `write(PRIMARY)` writes the file; `killAfterMs`: from its first word on. */
async function inChild(
  flags: readonly string[],
  path: string,
  body: string,
  killAfterMs: number | null = null,
): Promise<{ stdout: string }> {
  const module = new URL("../../io/topology_write.ts", import.meta.url);
  const script = `import { writeTopology } from ${JSON.stringify(module.href)};
    const viewOf = ${viewOf.toString()};
    const write = (primary) => writeTopology(${JSON.stringify(path)}, viewOf(primary));
    ${body}`;
  const config = new URL("../../deno.json", import.meta.url).pathname;
  const file = await Deno.makeTempFile({ suffix: ".mjs" });
  await Deno.writeTextFile(file, script);
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "--quiet", "--no-prompt", "--no-check", "--config", config, ...flags, file],
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let stdout = "";
  for await (const chunk of child.stdout) {
    stdout += new TextDecoder().decode(chunk);
    if (killAfterMs === null || stdout === "") continue;
    await new Promise((go) => setTimeout(go, killAfterMs));
    child.kill("SIGKILL");
    break;
  }
  await child.status;
  await Deno.remove(file);
  return { stdout };
}
