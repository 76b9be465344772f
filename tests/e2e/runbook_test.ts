/** The runbook's commands, as they are printed, in the plights that they are for. */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const PAGE = new URL("../../docs/failover.md", import.meta.url);

/** The commands of the page, by the heading that they stand under: each block is a list of command lines. */
function blocksOf(page: string): Map<string, string[][]> {
  const blocks = new Map<string, string[][]>();
  for (const section of page.split(/^## /m).slice(1)) {
    const [heading = "", ...lines] = section.split("\n");
    const found = [...lines.join("\n").matchAll(/```sh\n([\s\S]*?)```/g)];
    blocks.set(heading, found.map(([, text = ""]) => text.trim().split("\n")));
  }
  return blocks;
}

e2e("the runbook's commands do what they are for, as they are printed", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "metro", "dr"],
    links: [{ from: "hq", to: "metro", mode: "sync" }, { from: "metro", to: "dr", mode: "async" }],
    exporting: ["metro", "dr"],
    tcp: true,
  });
  const blocks = blocksOf(await Deno.readTextFile(PAGE));
  const follow = async (heading: string, place: number) => {
    const commands = blocks.get(heading)?.[place] ?? [];
    assert(commands.length > 0, `${heading} has a block ${place}`);
    for (const command of commands) {
      const [program, ...args] = command.split(/\s+/);
      assertEquals(program, "cascade");
      // The status is well or not: it tells either way.
      await cluster.cli(args, args[0] === "status" ? { codes: null } : {});
    }
  };
  let fill = 0;
  const write = async (node: string) => {
    const client = await NbdClient.connect(cluster.socket(node));
    await client.write(4096 * ++fill, new Uint8Array(4096).fill(fill));
    await client.flush();
    client.close();
  };
  const settled = async (primary: string) => {
    await write(primary);
    await until(`all follow ${primary}`, async () => {
      const end = (await cluster.status(primary)).lsn.appended;
      for (const node of cluster.spec.nodes) {
        const { lsn, tree } = await cluster.status(node);
        if (lsn.applied !== end || tree?.primary !== primary || tree.isRejoining) return false;
      }
      return true;
    }, { deadlineMs: 60_000 });
  };

  await cluster.start();
  await settled("hq");
  await cluster.kill("hq");
  await follow("The primary is dead", 0);
  await follow("The primary is dead", 1);
  await write("metro");
  await cluster.start("hq");
  await follow("The old primary comes back", 0);
  await settled("metro");
  await follow("Home again, and planned work", 0);
  await settled("hq");
  await follow("Home again, and planned work", 1);
  await settled("metro");
  // There is nothing left to be done.
  await follow("Home again, and planned work", 1);
  await follow("Home again, and planned work", 0);
  await settled("hq");

  for (const node of ["dr", "metro", "hq"]) await cluster.kill(node);
  cluster.spawn("hq");
  await until("hq waits", async () => (await cluster.status("hq")).tree?.isWaiting === true);
  await follow("The old primary comes back", 1);
  await cluster.ready("hq");
  await write("hq");
  await cluster.start("dr");

  await follow("An intermediate is dead", 0);
  await until("dr has all", async () => {
    return (await cluster.status("dr")).lsn.applied === (await cluster.status("hq")).lsn.appended;
  });
  await cluster.start("metro");
  await follow("An intermediate is dead", 1);
  await settled("hq");
  await follow("A disk is corrupt", 0);
  await cluster.cli(["promote", "dr", "--force", "--yes"]);
  await settled("dr");
  await follow("The wrong node was promoted", 0);
  await settled("metro");

  await follow("Home again, and planned work", 0);
  await settled("hq");
  for (const node of ["hq", "metro", "dr"]) await cluster.kill(node);
  for (const node of ["dr", "metro"]) {
    await cluster.start(node);
    await cluster.cli(["promote", node, "--yes"]);
    await write(node);
    if (node === "dr") await cluster.kill(node);
  }
  cluster.spawn("dr");
  await until("both tell of it", async () => {
    const conflicts = [await cluster.status("metro"), await cluster.status("dr")]
      .map(({ tree }) => tree?.conflict ?? null);
    return !conflicts.includes(null);
  });
  await follow("Two nodes were promoted at once", 0);
  await cluster.start("hq");
  await settled("metro");
  await follow("It is to stay so", 0);
  const { nodes } = JSON.parse(await Deno.readTextFile(cluster.topologyPath));
  assertEquals(nodes.metro.role, "primary");
  await cluster.cli(["check"]);
  await cluster.stop("hq");
  await cluster.start("hq");
  await settled("metro");
});
