import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { initNodeNames, initText } from "../../cli/init_text.ts";
import { parseTopology } from "../../core/topology/parse.ts";
import { cascade, inFolder } from "./cascade.ts";

Deno.test("what init writes is good for any number of nodes, any name and size", () => {
  const names = ["payroll", "1", "true", "null", "1e3", "0x10", "a.b-c_d", "No"];
  for (let nodeCount = 2; nodeCount <= 16; nodeCount++) {
    for (const name of names) {
      const text = initText({
        name,
        size: nodeCount % 2 === 0 ? "1GiB" : "1.5 GiB",
        nodeCount,
        secretFile: `${name}.secret`,
        certsFolder: `${name}.certs`,
        schemaFile: "topology.schema.json",
      });
      const { topology, problems } = parseTopology(text, "topology.yaml", "/srv");
      assertEquals(problems, [], `${name}, ${nodeCount} nodes`);
      assertEquals(topology?.name, name);
      assertEquals(topology?.secret, { kind: "file", path: `/srv/${name}.secret` });
      assertEquals(topology?.nodes.map((node) => node.name), initNodeNames(nodeCount));
    }
  }
});

Deno.test("init writes a topology, a secret for its owner alone, and a schema", async () => {
  await inFolder(async (folder) => {
    const made = await cascade(folder, ["init", "--name", "payroll"]);
    assertEquals(made.code, 0, made.stderr);
    assertStringIncludes(made.stderr, "cascade serve --node hq");
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), [
      "payroll.ca.key",
      "payroll.certs",
      "payroll.secret",
      "topology.schema.json",
      "topology.yaml",
    ]);
    const mode = Deno.statSync(`${folder}/payroll.secret`).mode;
    assertEquals((mode ?? 0) & 0o777, 0o600);
    assertMatch(Deno.readTextFileSync(`${folder}/payroll.secret`), /^[0-9a-f]{64}\n$/);
    const first = Deno.readTextFileSync(`${folder}/topology.yaml`).split("\n")[0];
    assertEquals(first, "# yaml-language-server: $schema=./topology.schema.json");
    const schema = await cascade(folder, ["check", "--schema"]);
    assertEquals(
      JSON.parse(Deno.readTextFileSync(`${folder}/topology.schema.json`)),
      JSON.parse(schema.stdout),
    );
    assertEquals(await cascade(folder, ["check"]), { code: 0, stdout: "", stderr: "" });
  });
});

Deno.test("init overwrites a topology only when forced, and a secret never", async () => {
  await inFolder(async (folder) => {
    const file = `${folder}/sub.yaml`;
    assertEquals((await cascade(folder, ["init", "sub.yaml"])).code, 0);
    const secret = Deno.readTextFileSync(`${folder}/cascade.secret`);
    Deno.writeTextFileSync(file, "mine");
    const refused = await cascade(folder, ["init", "sub.yaml"]);
    assertEquals([refused.code, refused.stdout], [2, ""]);
    assertStringIncludes(refused.stderr, "--force");
    assertEquals(Deno.readTextFileSync(file), "mine");
    const forced = await cascade(folder, ["init", "--force", "--nodes", "2"], {
      CASCADE_TOPOLOGY: "sub.yaml",
    });
    assertEquals(forced.code, 0, forced.stderr);
    assertStringIncludes(forced.stdout, "kept");
    assert(Deno.readTextFileSync(file).startsWith("# yaml-language-server"));
    assertEquals(Deno.readTextFileSync(`${folder}/cascade.secret`), secret);
  });
});

Deno.test("init in a folder that is not there says so", async () => {
  await inFolder(async (folder) => {
    const { code, stderr } = await cascade(folder, ["init", "no/topology.yaml"]);
    assertEquals(code, 2);
    assertStringIncludes(stderr, "its folder is not there");
  });
});
