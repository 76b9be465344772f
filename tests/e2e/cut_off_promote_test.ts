/** Promotions that are cut off with `kill -9` at any moment: the second try completes the first. */
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
import { e2e } from "./support/e2e.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const ARGS = ["promote", "metro", "--yes"];
const SAYS = [
  null,
  /this node is the primary now/,
  /the node turns/,
  /a new epoch begins/,
  /ready role=primary/,
];

/** Each moment, with each of those that take part as the one that is killed. */
const CUTS: readonly Cut[] = SAYS.flatMap((says) => [
  { args: ARGS, at: { node: "metro", says }, victim: "the command" as const },
  { args: ARGS, at: { node: "metro", says }, victim: { node: "metro" } },
  { args: ARGS, at: { node: "metro", says }, victim: { node: "dr" } },
]);

e2e(
  "a promotion that is cut off at any moment is completed by the next try",
  [],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "16MiB" },
      nodes: ["hq", "metro", "dr"],
      links: [
        { from: "hq", to: "metro", mode: "sync", timeout: "30s" },
        { from: "metro", to: "dr", mode: "async" },
      ],
      exporting: ["metro", "dr"],
      tcp: true,
    });
    let what = "";
    const seed = seedOf(cleanup, () => what);
    await cluster.start();
    const load = new RovingLoad(cluster, 16 * MIB, seed);
    for (const cut of drawn(CUTS, 2, seed)) {
      what = describeCut(cut);
      await until("hq-metro is in step", async () => {
        return (await cluster.link("hq-metro", "hq")).state === "streaming";
      });
      load.start();
      await load.more();
      await cluster.kill("hq");
      await cutOff(cluster, cleanup, cut);
      // The load looks for all that was answered before it goes on.
      await load.more(1);
      await cluster.start("hq");
      await load.stop();
      await settled(cluster, "metro");
      await cluster.cli(["migrate", "hq"]);
      await settled(cluster, "hq");
    }
  },
);
