/** An intermediate dies, and the nodes below it find another parent by themselves, and home again. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import type { NodeStatus } from "../../core/status.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { firstDifference } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const CHILDREN = ["dr", "lab"] as const;

/** The tree as a node tells it. */
async function treeOf(cluster: Cluster, node: string): Promise<NonNullable<NodeStatus["tree"]>> {
  const { tree } = await cluster.status(node);
  if (tree === null) throw new Error(`${node} knows of no tree`);
  return tree;
}

/** Some MiB of random data, flushed. */
async function write(cluster: Cluster, at: number, mib: number): Promise<void> {
  const client = await NbdClient.connect(cluster.socket("hq"), "data");
  for (let i = 0; i < mib; i++) {
    const data = new Uint8Array(MIB);
    for (let from = 0; from < MIB; from += 65_536) {
      crypto.getRandomValues(data.subarray(from, from + 65_536));
    }
    await client.write(at + i * MIB, data);
  }
  await client.flush();
  client.close();
}

/** All children are fed by metro: also where metro was slow to start, and they had gone elsewhere. */
async function areHome(cluster: Cluster): Promise<void> {
  for (const node of CHILDREN) {
    await until(`${node} is home`, async () => {
      const { parents, chosen } = await treeOf(cluster, node);
      return parents[node] === "metro" && chosen[node] === undefined;
    });
  }
}

/** What a node has sent over a link in this life of it. */
async function sent(cluster: Cluster, node: string, link: string): Promise<number> {
  const { links } = await cluster.status(node);
  return links.find(({ name }) => name === link)?.sentBytes ?? Infinity;
}

e2e("nodes below one that dies go to the next of their list, and home", [], async (cleanup) => {
  const choice = { parents: ["metro", "hq"], reparentAfter: "1s" };
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "64MiB" },
    nodes: ["hq", "metro", ...CHILDREN],
    links: [
      { from: "hq", to: "metro", mode: "async" },
      ...CHILDREN.map((to) => ({ from: "metro", to, mode: "async" as const })),
    ],
    settings: { dr: choice, lab: choice },
    tcp: true,
  });
  await cluster.start();
  await write(cluster, 0, 24);
  await areHome(cluster);
  await cluster.converged();
  const before = new Map<string, number>();
  for (const node of CHILDREN) before.set(node, (await treeOf(cluster, node)).moves.itself);

  await cluster.kill("metro");
  await write(cluster, 24 * MIB, 2);
  await cluster.converged("dr", "lab");
  for (const node of CHILDREN) {
    const tree = await treeOf(cluster, node);
    assertEquals([tree.parents[node], tree.chosen[node]], ["hq", "metro"]);
    assertEquals([tree.choice?.by, tree.isDeclared], ["itself", true]);
    assertEquals(tree.moves.itself, (before.get(node) ?? 0) + 1);
    assertMatch(tree.choice?.reason ?? "", /^metro was away for \d+ s$/);
    // From the log: what was written meanwhile, and not the 24 MiB before.
    assert(await sent(cluster, "hq", `hq-${node}`) < 4 * MIB);
    assertMatch(cluster.output(node), /another node feeds this one: it has chosen hq/);
  }
  const told = await cluster.cli(["status"], { codes: null });
  assertMatch(told.stdout, /dr: fed by hq by its own choice, until metro is well again/);

  await cluster.start("metro");
  await areHome(cluster);
  await write(cluster, 26 * MIB, 1);
  await cluster.converged();
  for (const node of CHILDREN) assert(await sent(cluster, "metro", `metro-${node}`) < 4 * MIB);
  for (const node of ["metro", ...CHILDREN]) {
    assertEquals(firstDifference(cluster.image("hq"), cluster.image(node)), null, node);
  }

  // What an operator says counts for more, and is said so.
  await cluster.cli(["reparent", "dr", "--to", "hq"]);
  await cluster.converged();
  const { parents, choice: typed, moves } = await treeOf(cluster, "dr");
  assertEquals([parents.dr, typed?.by, typed?.candidates], ["hq", "operator", []]);
  const own = (before.get("dr") ?? 0) + 2;
  assertEquals(moves, { operator: 1, promotion: 0, itself: own });
  const metrics = await (await fetch(`${cluster.admin("dr")}/metrics`)).text();
  assertMatch(
    metrics,
    /cascade_tree_parent_info\{node="dr",of="dr",parent="hq",declared="metro"\} 1/,
  );
  assertMatch(metrics, new RegExp(`cascade_tree_moves_total\\{node="dr",by="itself"\\} ${own}\n`));
});
