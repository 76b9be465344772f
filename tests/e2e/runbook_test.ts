/** The runbook's commands, as they are printed, in the plights that they are for. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { findMarks, flipBit, markedBlock } from "./support/evidence.ts";
import { firstDifference } from "./support/images.ts";
import { smallDisk } from "./support/mount.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { type Outcome, run } from "./support/programs.ts";
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

/** Gives the commands of a block, with the folder of the cluster in place of the one that is printed. */
function followerOf(cluster: Cluster, blocks: ReturnType<typeof blocksOf>) {
  return async (heading: string, place: number) => {
    const commands = blocks.get(heading)?.[place] ?? [];
    assert(commands.length > 0, `${heading} has a block ${place}`);
    const outcomes: Outcome[] = [];
    for (const command of commands) {
      const [program = "", ...args] = command.replaceAll("/var/lib/cascade", cluster.folder)
        .split(/\s+/);
      // They look: whether all is well is what they tell.
      const looks = args[0] === "status" || args[0] === "log";
      outcomes.push(
        program === "cascade"
          ? await cluster.cli(args, looks ? { codes: null } : {})
          : await run(program, args),
      );
    }
    return outcomes;
  };
}

e2e("the runbook's commands do what they are for, as they are printed", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "metro", "dr"],
    links: [{ from: "hq", to: "metro", mode: "sync" }, { from: "metro", to: "dr", mode: "async" }],
    exporting: ["metro", "dr"],
    tcp: true,
  });
  const blocks = blocksOf(await Deno.readTextFile(PAGE));
  const follow = followerOf(cluster, blocks);
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

const MIB = 1024 * 1024;

/** hq and metro, a sync link between them; metro's volume is on a small disk of its own, if there is one. */
function pairOf(cleanup: Cleanup, image: string | null): Cluster {
  return Cluster.create(cleanup, {
    nodes: ["hq", "metro"],
    links: [{ from: "hq", to: "metro", mode: "sync", timeout: "1s" }],
    exporting: ["metro"],
    tcp: true,
    settings: {
      hq: { listen: "unix:./hq.link" },
      metro: {
        listen: "unix:./metro.link",
        ...(image === null ? {} : { volumes: { data: image } }),
      },
    },
  });
}

e2e("the runbook's commands are for a link that is dead", [], async (cleanup) => {
  const cluster = pairOf(cleanup, null);
  const follow = followerOf(cluster, blocksOf(await Deno.readTextFile(PAGE)));
  await cluster.start();
  await cluster.converged();
  // Nothing answers any more, and nothing is closed: as on a line that was cut.
  const { pid } = cluster.process("metro");
  Deno.kill(pid, "SIGSTOP");
  cleanup.defer(() => Deno.kill(pid, "SIGCONT"));
  const client = await NbdClient.connect(cluster.socket("hq"));
  const write = async (block: number) => {
    await client.write(4096 * block, new Uint8Array(4096).fill(block));
    await client.flush();
  };
  await write(1);
  await until("the link is degraded", async () => {
    return (await cluster.status("hq")).links[0]?.state === "degraded";
  });
  await follow("A link is dead", 0);
  assertEquals((await cluster.status("hq")).links[0]?.state, "paused");
  await write(2);
  Deno.kill(pid, "SIGCONT");
  await follow("A link is dead", 1);
  await write(3);
  client.close();
  await cluster.converged();
  assertEquals(firstDifference(cluster.image("hq"), cluster.image("metro")), null);
});

e2e("the runbook's commands are for a disk that is full", ["root"], async (cleanup) => {
  const small = await smallDisk(cleanup, 48);
  const image = join(small, "data.img");
  const cluster = pairOf(cleanup, image);
  const follow = followerOf(cluster, blocksOf(await Deno.readTextFile(PAGE)));
  await cluster.start();
  await cluster.converged();
  const filler = join(small, "filler");
  Deno.writeFileSync(filler, new Uint8Array(40 * MIB));
  const client = await NbdClient.connect(cluster.socket("hq"));
  for (let i = 0; i < 24; i++) await client.write(i * MIB, new Uint8Array(MIB).fill(i + 1));
  await client.flush();
  await until("the status names the file", async () => {
    const [status] = await follow("A disk is full", 0);
    return status!.code === 1 && status!.stdout.includes("data.img");
  });
  Deno.removeSync(filler);
  await follow("A disk is full", 1);
  client.close();
  await cluster.converged();
  assertEquals(firstDifference(cluster.image("hq"), image), null);
});

e2e("the runbook's commands are for a disk that is corrupt", [], async (cleanup) => {
  const cluster = pairOf(cleanup, null);
  const follow = followerOf(cluster, blocksOf(await Deno.readTextFile(PAGE)));
  await cluster.start();
  const client = await NbdClient.connect(cluster.socket("hq"));
  for (let i = 1; i <= 100; i++) await client.write(i * 4096, markedBlock(i));
  await client.flush();
  client.close();
  await cluster.converged();
  await cluster.kill("hq");
  const place = findMarks(cluster.dir("hq")).get(50);
  if (place === undefined) throw new Error("the log does not hold what was written");
  flipBit({ path: place.path, offset: place.offset + 2000 });
  await cluster.spawn("hq").ended;
  const [check] = await follow("A disk is corrupt", 0);
  assertEquals(check!.code, 3);
  assertMatch(check!.stdout, /\.seg/);
  await follow("A disk is corrupt", 1);
  await follow("A disk is corrupt", 2);
  await cluster.start("hq");
  await follow("A disk is corrupt", 3);
  assertEquals(firstDifference(cluster.image("metro"), cluster.image("hq")), null);
});
