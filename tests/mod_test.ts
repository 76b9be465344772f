import { assert, assertEquals, assertRejects } from "@std/assert";
import { CascadeError, checkTopology, loadTopology, runNode } from "../mod.ts";

Deno.test("the library loads a topology, runs a node of it and stops it", async () => {
  const folder = Deno.makeTempDirSync({ prefix: "cascade-mod-" });
  try {
    Deno.copyFileSync(new URL("../samples/pair.yaml", import.meta.url), `${folder}/pair.yaml`);
    Deno.writeTextFileSync(`${folder}/pair.secret`, "0123456789abcdef\n", { mode: 0o600 });
    const topology = await loadTopology(`${folder}/pair.yaml`);
    const messages: string[] = [];
    const journal = { write: (_level: string, message: string) => void messages.push(message) };
    const node = await runNode(topology, "hq", journal);
    try {
      assertEquals(node.status().name, "hq");
      assert(Deno.statSync(`${folder}/hq.nbd`).isSocket);
    } finally {
      await node.stop();
    }
    assertEquals(Deno.statSync(`${folder}/hq.img`).size, 1024 ** 3);
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("the library tells what is wrong with a topology", async () => {
  const { topology, problems } = await checkTopology("cascade: 2\n", "t.yaml", "/srv");
  assertEquals(topology, null);
  assert(problems.some(({ message }) => message === "cascade is 2; expected 1"));
  const error = await assertRejects(() => loadTopology("/nowhere.yaml"), CascadeError);
  assertEquals(error.code, "topology");
});
