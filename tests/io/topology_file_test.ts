import { assertEquals, assertStringIncludes, assertThrows } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import { readSecret, readToken } from "../../io/secret_source.ts";
import { loadNodeConfig, loadTopology } from "../../io/topology_file.ts";

const SECRET = "0123456789abcdef";

function withFolder(work: (folder: string) => void): void {
  const folder = Deno.makeTempDirSync({ prefix: "cascade-topology-" });
  try {
    work(folder);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
}

Deno.test("a topology is loaded with its secret, relative to its own folder", () => {
  withFolder((folder) => {
    const sample = new URL("../../samples/pair.yaml", import.meta.url);
    Deno.copyFileSync(sample, `${folder}/pair.yaml`);
    Deno.writeTextFileSync(`${folder}/pair.secret`, `${SECRET}\n`, { mode: 0o600 });
    const config = loadNodeConfig(loadTopology(`${folder}/pair.yaml`), "dr");
    assertEquals(new TextDecoder().decode(config.secret), SECRET);
    assertEquals(config.dir, `${folder}/dr`);
    assertEquals(config.upstream?.addresses, [`unix:${folder}/hq.link`]);
  });
});

Deno.test("a wrong topology throws with a line for each error", () => {
  const file = new URL("../topologies/misspelt_role.yaml", import.meta.url).pathname;
  const error = assertThrows(() => loadTopology(file), CascadeError);
  assertEquals(error.code, "topology");
  assertStringIncludes(error.message, "misspelt_role.yaml:14:11: error: nodes.dr.role");
});

Deno.test("a secret that is not there, too short or no secret at all is refused by name", () => {
  withFolder((folder) => {
    Deno.writeTextFileSync(`${folder}/short`, "hunter2\n", { mode: 0o600 });
    Deno.writeFileSync(`${folder}/large`, new Uint8Array(100_000), { mode: 0o600 });
    const cases: [name: string, words: string][] = [
      ["none", "is not there"],
      ["short", "has 7 bytes"],
      ["large", "it is none"],
      [".", "is a folder"],
    ];
    for (const [name, words] of cases) {
      const path = `${folder}/${name}`;
      const error = assertThrows(() => readSecret({ kind: "file", path }), CascadeError);
      assertStringIncludes(error.message, words);
      assertEquals(error.message.includes("hunter2"), false);
    }
  });
});

Deno.test("a secret may come from a variable", () => {
  const source = { kind: "env", name: "CASCADE_TEST_SECRET" } as const;
  assertThrows(
    () => readSecret(source),
    CascadeError,
    "the variable CASCADE_TEST_SECRET is not set",
  );
  Deno.env.set(source.name, SECRET);
  try {
    assertEquals(readToken(source), SECRET);
  } finally {
    Deno.env.delete(source.name);
  }
});
