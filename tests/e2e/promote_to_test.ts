/** The finger that dropped the table: a node that applies late is promoted as of a moment before. */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { firstDifference } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const BLOCK_BYTES = 4096;

async function write(cluster: Cluster, node: string, block: number, value: number): Promise<void> {
  const client = await NbdClient.connect(cluster.socket(node));
  await client.write(block * BLOCK_BYTES, new Uint8Array(BLOCK_BYTES).fill(value));
  await client.flush();
  client.close();
}

async function read(cluster: Cluster, node: string, block: number): Promise<number | undefined> {
  const client = await NbdClient.connect(cluster.socket(node));
  const bytes = await client.read(block * BLOCK_BYTES, BLOCK_BYTES);
  client.close();
  return bytes[0];
}

/** The first byte of what a node has kept of an abandoned epoch. */
async function extracted(cluster: Cluster, node: string): Promise<number | undefined> {
  const folder = join(cluster.dir(node), "abandoned");
  const [kept] = Array.from(Deno.readDirSync(folder));
  const to = join(cluster.folder, "lost");
  await cluster.cli(["log", "extract", join(folder, kept!.name), "--to", to]);
  return Deno.readFileSync(join(to, "data.img"))[0];
}

e2e(
  "a node that applies late is promoted as of a mark, and the others follow",
  [],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      nodes: ["hq", "metro", "dr"],
      links: [{ from: "hq", to: "metro", mode: "async" }, {
        ...{ from: "metro", to: "dr", mode: "async" },
      }],
      exporting: ["metro"],
      settings: { metro: { applyDelay: "6h" } },
      tcp: true,
    });
    await cluster.start();
    for (let i = 0; i < 20; i++) await write(cluster, "hq", i, 1);
    await cluster.cli(["mark", "before"]);
    for (let i = 0; i < 10; i++) await write(cluster, "hq", i, 66);
    await cluster.cli(["mark", "after"]);
    const end = (await cluster.status("hq")).lsn.appended;
    await until("all have all", async () => {
      return (await cluster.status("metro")).lsn.durable === end &&
        (await cluster.status("dr")).lsn.applied === end;
    });
    await cluster.kill("hq");
    const both = ["promote", "metro", "--to-mark", "before", "--to-lsn", "7", "--yes"];
    assertMatch((await cluster.cli(both, { codes: [2] })).stderr, /one of --to-mark, --to-lsn/);
    const unknown = await cluster.cli(["promote", "metro", "--to-mark", "nil", "--yes"], {
      codes: null,
    });
    assertMatch(unknown.stderr, /there is no mark "nil"/);
    // dr has applied it all.
    const late = await cluster.cli(["promote", "dr", "--to-mark", "before", "--yes"], {
      codes: null,
    });
    assertMatch(late.stderr, /applied/);
    const plan = await cluster.cli(["promote", "metro", "--to-mark", "before", "--dry-run"]);
    // How much is left behind, in bytes and in seconds, and that it is kept.
    assertMatch(plan.stdout, /Lost: [\d.]+KiB \([\d.]+ ?m?s\) that hq had/);
    assertMatch(plan.stdout, /All beyond LSN \d+ is left behind, as ordered: metro keeps .*KiB/);
    await cluster.cli(["promote", "metro", "--to-mark", "before", "--yes"]);
    // Once more, as whoever was cut off would.
    const again = await cluster.cli(["promote", "metro", "--to-mark", "before", "--yes"]);
    assertMatch(again.stdout, /metro is the primary from LSN \d+ on/);
    for (let i = 0; i < 20; i++) assertEquals(await read(cluster, "metro", i), 1, `block ${i}`);
    await write(cluster, "metro", 30, 3);
    const kept = Array.from(Deno.readDirSync(join(cluster.dir("metro"), "abandoned")));
    assertEquals(kept.length, 1);
    const folder = join(cluster.dir("metro"), "abandoned", kept[0]!.name);
    const lost = join(cleanup.folder, "lost");
    await cluster.cli(["log", "extract", folder, "--to", lost]);
    assertEquals(Deno.readFileSync(join(lost, "data.img"))[0], 66);
    // A start in between finds it as it is.
    await cluster.kill("metro");
    await cluster.start("metro", "hq");
    await write(cluster, "metro", 31, 4);
    await until("all have all", async () => {
      const { lsn } = await cluster.status("metro");
      if (lsn.applied !== lsn.appended) return false;
      for (const node of ["hq", "dr"]) {
        const status = await cluster.status(node);
        if (status.lsn.applied !== lsn.appended || status.tree?.isRejoining !== false) return false;
      }
      return true;
    }, { deadlineMs: 90_000 });
    for (const node of ["hq", "dr"]) {
      assertEquals(firstDifference(cluster.image("metro"), cluster.image(node)), null, node);
    }
    assertEquals(await read(cluster, "metro", 5), 1);
  },
);

e2e("a node that takes deltas late is promoted as of before one of them", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "periodic", every: "1s" }],
    exporting: ["dr"],
    settings: { dr: { applyDelay: "6h" } },
    tcp: true,
  });
  await cluster.start();
  const ends: number[] = [];
  for (const value of [1, 2, 3]) {
    await write(cluster, "hq", 0, value);
    const end = (await cluster.status("hq")).lsn.appended;
    await until("it has come", async () => (await cluster.status("dr")).lsn.durable === end);
    ends.push(end);
  }
  await cluster.kill("hq");
  const within = ["promote", "dr", "--to-lsn", String(ends[1]! - 16), "--yes"];
  assertMatch((await cluster.cli(within, { codes: null })).stderr, /no record begins at LSN/);
  await cluster.cli(["promote", "dr", "--to-lsn", String(ends[1]), "--yes"]);
  assertEquals(await read(cluster, "dr", 0), 2);
  const [kept] = Array.from(Deno.readDirSync(join(cluster.dir("dr"), "abandoned")));
  const files = Array.from(Deno.readDirSync(join(cluster.dir("dr"), "abandoned", kept!.name)));
  assertEquals(files.filter(({ name }) => name.endsWith(".delta")).length, 1);
  assertEquals(await extracted(cluster, "dr"), 3);
  await cluster.start("hq");
  await until("hq follows", async () => {
    const [hq, dr] = [await cluster.status("hq"), await cluster.status("dr")];
    return hq.tree?.isRejoining === false && hq.role !== "primary" &&
      hq.lsn.applied === dr.lsn.appended && dr.lsn.applied === dr.lsn.appended;
  });
  assertEquals(firstDifference(cluster.image("hq"), cluster.image("dr")), null);
});

e2e(
  "a delta of an abandoned epoch is kept with its records, and written out",
  [],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      nodes: ["hq", "dr", "lab"],
      links: [
        { from: "hq", to: "dr", mode: "periodic", every: "1s" },
        { from: "hq", to: "lab", mode: "async" },
      ],
      exporting: ["dr", "lab"],
      settings: { dr: { applyDelay: "6h" }, lab: { listen: "unix:./lab.link" } },
      tcp: true,
    });
    await cluster.start();
    const has = async (node: string) => {
      const end = (await cluster.status("hq")).lsn.appended;
      await until(`${node} has it`, async () => (await cluster.status(node)).lsn.durable === end);
    };
    await write(cluster, "hq", 0, 1);
    await Promise.all(["dr", "lab"].map(has));
    await cluster.cli(["pause", "--link", "hq-lab"]);
    await write(cluster, "hq", 0, 2);
    await has("dr");
    for (const node of ["hq", "dr"]) await cluster.kill(node);
    await cluster.cli(["promote", "lab", "--yes"]);
    await write(cluster, "lab", 1, 3);
    await cluster.start("dr");
    await until("dr follows lab", async () => {
      const [dr, lab] = [await cluster.status("dr"), await cluster.status("lab")];
      return dr.tree?.primary === "lab" && !dr.tree.isRejoining &&
        dr.lsn.durable === lab.lsn.appended;
    });
    assertEquals(await extracted(cluster, "dr"), 2);
  },
);
