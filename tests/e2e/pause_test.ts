import { assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { markedBlock } from "./support/evidence.ts";
import { assertSameImages } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

for (const mode of ["sync", "async"] as const) {
  for (const end of ["hq", "metro"] as const) {
    e2e(`a ${mode} link paused at ${end} stays so across kills, and catches up`, [], async (
      cleanup,
    ) => {
      const cluster = Cluster.create(cleanup, {
        nodes: ["hq", "metro"],
        links: [{ from: "hq", to: "metro", mode }],
        budget: "256MiB",
      });
      const state = async (node: "hq" | "metro") => {
        const { state, reason } = (await cluster.status(node)).links[0]!;
        return { state, reason: reason ?? "" };
      };
      const isState = (node: "hq" | "metro", wanted: string) =>
        until(`${node} says ${wanted}`, async () => (await state(node)).state === wanted);
      await cluster.start();
      await isState("hq", "streaming");

      const paused = await cluster.cli(
        [
          "pause",
          "--link",
          "hq-metro",
          "--reason",
          "new router",
          ...(end === "hq" ? [] : ["--at", end]),
        ],
      );
      assertEquals(paused.stdout.trim(), `link hq-metro is paused at ${end}`);
      // Where it is not paused, a paused dialler is a peer that is away.
      for (const node of end === "hq" ? ["hq", "metro"] as const : ["metro"] as const) {
        await isState(node, "paused");
        assertMatch((await state(node)).reason, new RegExp(`paused at ${end} since .*new router`));
      }

      const client = await NbdClient.connect(cluster.socket("hq"));
      for (let i = 0; i < 300; i++) await client.write(i * 4096, markedBlock(i));
      await client.flush();
      client.close();
      await cluster.kill(end);
      await cluster.start(end);
      await isState(end, "paused");

      const resumed = await cluster.cli(["resume", "--link", "hq-metro"]);
      assertMatch(resumed.stdout, /goes on/);
      await isState("hq", "streaming");
      await cluster.converged();
      assertSameImages(cluster);
    });
  }
}

e2e("a link that is not there cannot be paused, and the mistake is named", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "metro"],
    links: [{ from: "hq", to: "metro", mode: "async" }],
  });
  const unknown = await cluster.cli(["pause", "--link", "hq-metr"], { codes: null });
  assertEquals(unknown.code, 2);
  assertMatch(unknown.stderr, /hq-metro/);
  const nobody = await cluster.cli(["pause", "--link", "hq-metro"], { codes: null });
  assertEquals(nobody.code, 4);
});
