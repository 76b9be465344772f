/**
 * A node without volumes has more of the history than the one that is promoted: it reigns only to hand that on. Killed in
 * between, with the command or either of them, the same command goes on from there.
 */
import { assertEquals } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import {
  type Cut,
  cutOff,
  describeCut,
  drawn,
  RovingLoad,
  seedOf,
  settled,
} from "./support/cut_off.ts";
import { type Cleanup, e2e, withCleanup } from "./support/e2e.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const ARGS = ["promote", "dr", "--yes"];
const CUTS: readonly Cut[] = [
  { node: "bunker", says: /this node is the primary now/ },
  { node: "bunker", says: /a new epoch begins/ },
  { node: "bunker", says: /ready role=primary/ },
].flatMap((at) => [
  { args: ARGS, at, victim: "the command" as const },
  { args: ARGS, at, victim: { node: "dr" } },
  { args: ARGS, at, victim: { node: "bunker" } },
]);

async function handOn(cleanup: Cleanup, cut: Cut, seed: number): Promise<void> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "16MiB" },
    nodes: ["hq", "bunker", "dr"],
    links: [
      { from: "hq", to: "bunker", mode: "sync", timeout: "30s" },
      // So slow that dr lacks what bunker has.
      { from: "bunker", to: "dr", mode: "async", bandwidth: "256KiB/s" },
    ],
    logOnly: ["bunker"],
    exporting: ["dr"],
    tcp: true,
  });
  await cluster.start();
  const load = new RovingLoad(cluster, 16 * MIB, seed);
  load.start();
  await until("dr lacks what bunker has", async () => {
    const [bunker, dr] = [await cluster.status("bunker"), await cluster.status("dr")];
    return bunker.lsn.appended - dr.lsn.appended > 3 * MIB / 2;
  });
  await cluster.kill("hq");
  const heard = cluster.output("bunker").length;
  await cutOff(cluster, cleanup, cut);
  assertEquals(/this node is the primary now/.test(cluster.output("bunker").slice(heard)), true);
  // It looks for all that was answered.
  await load.stop();
  await cluster.start("hq");
  await settled(cluster, "dr");
}

e2e("what a log-only node has is handed on, whoever is killed meanwhile", [], async (cleanup) => {
  let what = "";
  const seed = seedOf(cleanup, () => what);
  for (const cut of drawn(CUTS, 1, seed)) {
    what = describeCut(cut);
    await withCleanup((inner) => handOn(inner, cut, seed));
  }
});
