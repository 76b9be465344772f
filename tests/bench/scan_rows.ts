/**
 * The rows about volumes that something else writes: `capture: scan`.
 *
 * The same as in sync_rows.ts, but that nobody tells which blocks changed: Cascade finds them by its kept
 * hash map, rsync by reading both files. The node that scans does not serve: each sync is the node.
 *
 * @module
 */
import { join } from "node:path";
import { Cluster } from "../e2e/support/cluster.ts";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { run } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";
import { median, type OwnRow } from "./report.ts";
import { BLOCK_BYTES, CHANGED, type Ran, random, ROUNDS, sync, timed } from "./sync_rows.ts";

const MIB = 1024 * 1024;
const FACTOR = 4;

/** A volume of random bytes that was scanned and shipped once. */
async function stage(cleanup: Cleanup, bytes: number): Promise<Cluster> {
  const deltaBudget = `${2 * bytes / MIB}MiB`;
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${bytes / MIB}MiB` },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", dial: "from" }],
    settings: {
      hq: { capture: "scan", nbd: [], log: { deltaBudget } },
      dr: { log: { deltaBudget } },
    },
  }, "scan");
  using file = Deno.openSync(cluster.image("hq"), { write: true, create: true });
  for (let at = 0; at < bytes; at += MIB) file.writeSync(random(MIB));
  await cluster.start("dr");
  await sync(cluster);
  return cluster;
}

/** Writes 1 % of the blocks, each once. */
function changeSome(path: string, bytes: number): void {
  const blocks = bytes / BLOCK_BYTES;
  const chosen = new Set<number>();
  while (chosen.size < blocks * CHANGED) chosen.add(Math.floor(Math.random() * blocks));
  using file = Deno.openSync(path, { write: true });
  for (const block of chosen) {
    file.seekSync(block * BLOCK_BYTES, Deno.SeekMode.Start);
    file.writeSync(random(BLOCK_BYTES));
  }
}

/** With the kept map, and with nothing to find. */
export async function measureScan(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const cluster = await stage(cleanup, bytes);
  const image = cluster.image("hq");
  const [source, target] = ["source", "target"].map((name) => join(cluster.folder, name));
  await run("cp", [image, target!]);
  const times = { cascade: [] as number[], rsync: [] as number[] };
  const idle: Ran[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    changeSome(image, bytes);
    await run("cp", [image, source!]);
    times.cascade.push((await sync(cluster)).seconds);
    const line = ["--inplace", "--no-whole-file", source!, target!];
    times.rsync.push((await timed("rsync", ...line)).seconds);
    idle.push(await sync(cluster));
  }
  await until("all is in the volume", async () => {
    const { lsn } = await cluster.status("dr");
    return lsn.applied === lsn.appended;
  });
  await run("cmp", [image, cluster.image("dr")]);
  const [cascade, rsync] = [median(times.cascade), median(times.rsync)];
  return [
    {
      id: "scan-sync",
      title: "sync of 1 % that a scan finds by its kept map",
      unit: "s",
      value: cascade,
      details: { rsync, [`factor (required ${FACTOR})`]: rsync / cascade },
      peaks: {},
    },
    {
      id: "scan-idle",
      title: "a scan that finds nothing",
      unit: "s",
      value: median(idle.map(({ seconds }) => seconds)),
      details: {},
      peaks: { sync: Math.max(...idle.map(({ bytes }) => bytes)) },
    },
  ];
}
