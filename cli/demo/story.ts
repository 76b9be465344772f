/**
 * The demo's story: start four nodes, put a load on the primary, kill the intermediate with
 * SIGKILL half-way and start it again, let the load end, wait until all nodes have everything,
 * stop, and compare the images byte for byte.
 *
 * @module
 */
import { delay } from "@std/async/delay";
import type { NodeStatus } from "../../core/status.ts";
import type { Cast, DemoCluster } from "./cluster.ts";
import type { Hop } from "./hops.ts";
import { compareImages } from "./images.ts";
import { Ledger } from "./ledger.ts";
import { copyLoad, databaseLoad, type LoadReport } from "./load.ts";
import { NbdClient } from "./nbd_client.ts";
import { type DemoView, onStage, statusesOf, Watch } from "./stage.ts";

/** hq -sync-> metro -async-> dr1, and metro -periodic-> dr2, which is sent what changed so often. */
const CAST: Cast = {
  roles: { hq: "primary", metro: "intermediate", dr1: "secondary", dr2: "secondary" },
  exporting: ["hq"],
  links: [
    "from: hq, to: metro, mode: sync, timeout: 5s",
    "from: metro, to: dr1, mode: async",
    "from: metro, to: dr2, mode: periodic, every: 3s",
  ],
};
const DOWN_MS = 1500;
const CATCH_UP_TIMEOUT_MS = 60_000;

/** What the story is told with. */
export interface DemoOptions {
  /** How long the load runs. */
  readonly loadMs: number;
  readonly sizeBytes: number;
  /** A user's image to copy in, instead of the database-like load. */
  readonly input: string | null;
}

/** How it ended. */
export interface DemoResult {
  readonly load: LoadReport;
  /** What each link carried, in the order of the topology. */
  readonly hops: readonly Hop[];
  readonly killed: string;
  readonly reconnects: number;
  /** Where each replica first differs from the primary's image; null where it does not. */
  readonly differences: ReadonlyMap<string, number | null>;
  readonly seconds: number;
}

/** Tells the whole story. Throws when anything does not go as it must; leaves nothing behind. */
export function tellStory(options: DemoOptions, view: DemoView): Promise<DemoResult> {
  return onStage(CAST, options.sizeBytes, view, (cluster) => tell(cluster, options, view));
}

async function tell(
  cluster: DemoCluster,
  options: DemoOptions,
  view: DemoView,
): Promise<DemoResult> {
  const startedMs = performance.now();
  for (const node of cluster.nodes) cluster.start(node);
  await cluster.waitFor("the nodes did not start", async () => {
    const statuses = statusesOf(await cluster.report());
    return statuses.length === cluster.nodes.length && statuses.every(isConnected);
  });
  view.say("Four nodes run: hq -sync-> metro -async-> dr1, and metro -periodic-> dr2.");
  const client = await NbdClient.connect(cluster.exportSocket("hq"), "data");
  const load: LoadReport = { writes: 0, bytes: 0, flushes: 0, done: false };
  const work = options.input === null
    ? databaseLoad(client, load, new Ledger(), performance.now() + options.loadMs)
    : copyLoad(client, load, options.input);
  const watch = new Watch(cluster, view, load);
  await Promise.all([work, watch.run(), killHalfWay(cluster, options, view, watch)]);
  view.say("The load has ended. Waiting until all have all of it, dr2 by its next delta.");
  await catchUp(cluster, watch);
  client.close();
  await watch.sample();
  await cluster.stop();
  view.say("All nodes have stopped. Comparing their images byte for byte.");
  return {
    load,
    hops: watch.hops.all,
    killed: "metro",
    reconnects: client.reconnects,
    differences: await compareImages(cluster, "hq"),
    seconds: (performance.now() - startedMs) / 1000,
  };
}

function isConnected(status: NodeStatus): boolean {
  return status.state === "running" &&
    status.links.every(({ state, mode }) =>
      state === (mode === "periodic" ? "waiting" : "streaming")
    );
}

async function killHalfWay(
  cluster: DemoCluster,
  options: DemoOptions,
  view: DemoView,
  watch: Watch,
) {
  await delay(options.input === null ? options.loadMs / 2 : 1000);
  // Its counters go with it: this is their last word.
  watch.hops.look(await cluster.report("metro"));
  await cluster.kill("metro");
  view.say(
    "metro was killed with SIGKILL: hq's clients wait, dr1 and dr2 hear nothing.",
  );
  await delay(DOWN_MS);
  cluster.start("metro");
  view.say("metro starts again, and goes on from its log.");
}

async function catchUp(cluster: DemoCluster, watch: Watch): Promise<void> {
  await cluster.waitFor("the nodes did not catch up", async () => {
    await watch.sample();
    const statuses = statusesOf(await cluster.report());
    const hq = statuses.find((status) => status.name === "hq");
    return hq !== undefined && statuses.length === cluster.nodes.length &&
      statuses.every((status) => status.lsn.applied === hq.lsn.appended);
  }, CATCH_UP_TIMEOUT_MS);
}
