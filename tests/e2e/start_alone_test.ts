/** A primary that comes back to nobody, and what a log next door is worth when its site burns. */
import { assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { firstDifference } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const BLOCK_BYTES = 4096;

async function write(cluster: Cluster, node: string, at: number, value: number): Promise<void> {
  const client = await NbdClient.connect(cluster.socket(node));
  await client.write(at, new Uint8Array(BLOCK_BYTES).fill(value));
  await client.flush();
  client.close();
}

async function returned(cleanup: Cleanup, startAlone: string): Promise<Cluster> {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    settings: { hq: { startAlone } },
    tcp: true,
  });
  await cluster.start();
  await write(cluster, "hq", 0, 1);
  await cluster.converged();
  await cluster.kill("dr");
  await cluster.kill("hq");
  cluster.spawn("hq");
  return cluster;
}

async function waits(cluster: Cluster): Promise<void> {
  await until("hq says that it waits", () => {
    return /waiting for any other node/.test(cluster.output("hq"));
  });
  // It says so before it answers anybody.
  const { state } = await until("hq answers", () => cluster.status("hq"));
  assertEquals(state, "starting");
}

e2e("a primary that hears of nobody waits until it is told to go on", [], async (cleanup) => {
  const cluster = await returned(cleanup, "ask");
  await waits(cluster);
  await cluster.cli(["promote", "hq", "--yes"]);
  await cluster.ready("hq");
  await write(cluster, "hq", BLOCK_BYTES, 2);
  await cluster.start("dr");
  await cluster.converged();
});

e2e("a primary that may never start alone waits for another node", [], async (cleanup) => {
  const cluster = await returned(cleanup, "never");
  await waits(cluster);
  const { code, stderr } = await cluster.cli(["promote", "hq", "--yes"], { codes: null });
  assertEquals(code === 0, false);
  assertMatch(stderr, /forbids that this node starts alone/);
  assertEquals((await cluster.status("hq")).state, "starting");
  await cluster.start("dr");
  await cluster.ready("hq");
  await write(cluster, "hq", BLOCK_BYTES, 2);
  await cluster.converged();
});

e2e("a primary that may always start alone does", [], async (cleanup) => {
  const cluster = await returned(cleanup, "always");
  await cluster.ready("hq");
  await write(cluster, "hq", BLOCK_BYTES, 2);
});

e2e("what a bunker has comes along when the primary's site burns", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "bunker", "dr"],
    links: [
      { from: "hq", to: "bunker", mode: "sync" },
      { from: "bunker", to: "dr", mode: "async" },
    ],
    logOnly: ["bunker"],
    exporting: ["dr"],
    tcp: true,
  });
  await cluster.start();
  await write(cluster, "hq", 0, 1);
  await cluster.converged();
  // The far site lacks what the near one has been told.
  await cluster.cli(["pause", "--link", "bunker-dr"]);
  for (let i = 1; i < 50; i++) await write(cluster, "hq", i * BLOCK_BYTES, i);
  const { lsn } = await cluster.status("hq");
  await cluster.kill("hq");
  const plan = await cluster.cli(["promote", "dr", "--dry-run"], { codes: null });
  assertMatch(plan.stdout + plan.stderr, /from bunker to dr is paused/);
  const paused = await cluster.cli(["promote", "dr", "--yes"], { codes: null });
  assertMatch(paused.stderr, /the link from bunker to dr is paused/);
  assertEquals((await cluster.status("bunker")).role, "intermediate");
  await cluster.cli(["resume", "--link", "bunker-dr"]);
  await cluster.cli(["promote", "dr", "--yes"]);
  const client = await NbdClient.connect(cluster.socket("dr"));
  for (let i = 1; i < 50; i++) {
    const block = await client.read(i * BLOCK_BYTES, BLOCK_BYTES);
    assertEquals(block, new Uint8Array(BLOCK_BYTES).fill(i), `block ${i}`);
  }
  client.close();
  const after = await cluster.status("dr");
  assertEquals([after.role, after.lsn.appended > lsn.durable], ["primary", true]);
  await write(cluster, "dr", 100 * BLOCK_BYTES, 7);
  await cluster.start("hq");
  await until("hq is one of them again", async () => {
    const [hq, dr] = [await cluster.status("hq"), await cluster.status("dr")];
    return hq.role !== "primary" && hq.tree?.isRejoining === false &&
      hq.lsn.applied === dr.lsn.appended && dr.lsn.applied === dr.lsn.appended;
  });
  assertEquals(firstDifference(cluster.image("hq"), cluster.image("dr")), null);
});
