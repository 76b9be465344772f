/**
 * Seeding by courier: a seed file is made under load, carried, loaded, and the link goes on from its LSN.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { writeBulk } from "./support/bulk.ts";
import { cascadeArgs, Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { HistoryLoad } from "./support/history.ts";
import { assertSameImages, bytesOnDisk } from "./support/images.ts";
import { Background } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const BULK_MIB = 240;

interface Told {
  readonly lsn: number;
  readonly resumedAt: number;
  readonly bodyBytes: number;
}

/** hq holds much, of which its log holds little; dr is blank, and far away. */
async function loaded(cleanup: Cleanup): Promise<{ cluster: Cluster; load: HistoryLoad }> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "1GiB", journal: "8MiB" },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    budget: "64MiB",
    // What is written while the courier is on the road comes as a delta, which is staged.
    settings: { dr: { log: { deltaBudget: "256MiB" } } },
  });
  await cluster.start("hq");
  await writeBulk(cluster.socket("hq"), "data", 100 * MIB, BULK_MIB);
  const load = new HistoryLoad({
    socket: cluster.socket("hq"),
    volumes: ["journal"],
    sizeBytes: 8 * MIB,
  }, 1);
  load.start(5);
  return { cluster, load };
}

async function seed(cluster: Cluster, ...args: string[]): Promise<Told> {
  return JSON.parse((await cluster.cli(["seed", "--json", ...args])).stdout);
}

/** Kills a seed with SIGKILL as soon as `isFar`. */
async function killed(cluster: Cluster, isFar: () => boolean, ...args: string[]): Promise<void> {
  const all = cascadeArgs("seed", "-t", cluster.topologyPath, ...args);
  const process = new Background("seed", Deno.execPath(), all, join(cluster.folder, "seed.out"));
  await until("the seed is under way", () => isFar() || process.status !== null, { pollMs: 1 });
  await process.kill();
  assertEquals(process.status?.code, 137, process.output());
}

async function finish(cluster: Cluster, load: HistoryLoad): Promise<void> {
  await load.stop();
  await cluster.converged();
  assertSameImages(cluster);
  assertEquals(load.momentOf([cluster.image("dr", "journal")]), load.steps);
}

function sizeOf(path: string): number {
  try {
    return Deno.statSync(path).size;
  } catch {
    return 0;
  }
}

e2e("a seed is carried, and the link goes on from its LSN", [], async (cleanup) => {
  const { cluster, load } = await loaded(cleanup);
  const file = join(cluster.folder, "payroll.seed");
  const isFar = () => sizeOf(`${file}.partial`) > 50 * MIB;
  await killed(cluster, isFar, "hq", file);
  const made = await seed(cluster, "hq", file);
  assert(made.resumedAt >= 40 * MIB, `it went on at ${made.resumedAt}`);
  // More than the log holds goes on while the courier is on the road.
  await writeBulk(cluster.socket("hq"), "data", 600 * MIB, 100);
  const isHalf = () => bytesOnDisk(cluster.image("dr")) > 150 * MIB;
  await until(
    "the image is not there yet",
    () => !Deno.readDirSync(cluster.folder).some((e) => e.name === "dr"),
  );
  await killed(cluster, () => sizeOf(cluster.image("dr")) > 0 && isHalf(), file, "dr");
  const taken = await seed(cluster, file, "dr");
  assertEquals(taken.lsn, made.lsn);
  assert(taken.resumedAt >= 64 * MIB, `it went on at ${taken.resumedAt}`);
  await cluster.start("dr");
  await finish(cluster, load);
  const { sentBytes } = await cluster.link("hq-dr");
  const most = (100 + 60) * MIB;
  assert(sentBytes < most, `${sentBytes} bytes were sent, ${most} at most are no waste`);
});

e2e("a node that was loaded by half is filled over its link", [], async (cleanup) => {
  const { cluster, load } = await loaded(cleanup);
  const file = join(cluster.folder, "payroll.seed");
  await seed(cluster, "hq", file);
  const isHalf = () =>
    sizeOf(cluster.image("dr")) > 0 && bytesOnDisk(cluster.image("dr")) > 150 * MIB;
  await killed(cluster, isHalf, file, "dr");
  await cluster.start("dr");
  assertEquals((await cluster.status("dr")).consistent, false);
  await finish(cluster, load);
});

e2e("a stopped node makes a seed, and a damaged one is found out", [], async (cleanup) => {
  const { cluster, load } = await loaded(cleanup);
  await load.stop();
  await cluster.stop("hq");
  const file = join(cluster.folder, "payroll.seed");
  await seed(cluster, "hq", file);
  const bytes = Deno.readFileSync(file);
  const refused = async (what: string, damaged: Uint8Array) => {
    Deno.writeFileSync(file, damaged);
    const { code, stderr } = await cluster.cli(["seed", file, "dr"], { codes: null });
    assertEquals(code, 1, stderr);
    assertStringIncludes(stderr, what);
    assert(sizeOf(cluster.dir("dr")) === 0, "nothing was made");
  };
  await refused("it has no end", bytes.subarray(0, bytes.length - 1));
  await refused("it has no end", bytes.subarray(0, 5000));
  await refused("too short", bytes.subarray(0, 8));
  const flipped = bytes.slice();
  flipped[100 * MIB]! ^= 1;
  await refused("wrong CRC", flipped);
  Deno.writeFileSync(file, bytes);
  await seed(cluster, file, "dr");
  await cluster.start();
  load.start(5);
  await finish(cluster, load);
});
