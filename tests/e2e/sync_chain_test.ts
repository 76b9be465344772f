/**
 * `cascade sync` below a node that is given deltas itself.
 */
import { assertEquals } from "@std/assert";
import { parseSyncReport } from "../../core/sync_report.ts";
import { writeBulk } from "./support/bulk.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { assertSameImages } from "./support/images.ts";

const MIB = 1024 * 1024;

e2e("one sync ships all that came in several deltas meanwhile", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "16MiB" },
    nodes: ["hq", "far", "weekly"],
    links: [
      { from: "hq", to: "far", mode: "periodic", every: "1h" },
      { from: "far", to: "weekly", mode: "periodic", every: "7d" },
    ],
  });
  await cluster.start();
  const sync = async (node: string, ...more: string[]) => {
    const { stdout } = await cluster.cli(["sync", "--node", node, "--json", ...more]);
    return parseSyncReport(JSON.parse(stdout)).links[0];
  };
  await sync("hq");
  await sync("far");
  const before = (await cluster.status("weekly")).lsn.durable;
  for (const turn of [0, 1, 2]) {
    await writeBulk(cluster.socket("hq"), "data", turn * 4 * MIB, 2);
    await sync("hq");
  }
  const end = (await cluster.status("far")).lsn.durable;
  const planned = await sync("far", "--dry-run");
  assertEquals([planned?.fromLsn, planned?.toLsn], [before, end]);
  assertEquals(Math.floor((planned?.deltaBytes ?? 0) / MIB), 6);
  const done = await sync("far");
  assertEquals([done?.outcome, done?.fromLsn, done?.toLsn], ["done", before, end]);
  assertEquals((await sync("far"))?.outcome, "nothing");
  await cluster.converged();
  await cluster.stop("hq");
  await cluster.stop("far");
  await cluster.stop("weekly");
  assertSameImages(cluster);
});
