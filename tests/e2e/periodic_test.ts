/**
 * Periodic links: whatever happens, a node below holds an image that existed.
 */
import { assert } from "@std/assert";
import { Cluster, type LinkSpec } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { HistoryLoad } from "./support/history.ts";
import { assertSameImages } from "./support/images.ts";
import { generator } from "./support/load.ts";
import { recover } from "./support/recovered.ts";
import { pause, until } from "./support/wait.ts";

const MIB = 1024 * 1024;

/** How the intermediate is fed. */
const UPPER: Record<string, LinkSpec> = {
  sync: { from: "hq", to: "metro", mode: "sync", onDisconnect: "degrade", timeout: "500ms" },
  async: { from: "hq", to: "metro", mode: "async" },
  periodic: { from: "hq", to: "metro", mode: "periodic", every: "1s" },
};

function cascade(cleanup: Cleanup, upper: LinkSpec): Cluster {
  return Cluster.create(cleanup, {
    volumes: { data: "8MiB", journal: "8MiB" },
    nodes: ["hq", "metro", "dr1", "dr2"],
    links: [
      upper,
      { from: "metro", to: "dr1", mode: "periodic", every: "1s" },
      { from: "metro", to: "dr2", mode: "periodic", every: "1500ms" },
    ],
    budget: "64MiB",
  });
}

for (const [mode, upper] of Object.entries(UPPER)) {
  e2e(`below a ${mode} link, two periodic nodes killed at any moment hold what existed`, [], async (
    cleanup,
  ) => {
    const seed = crypto.getRandomValues(new Uint32Array(1))[0]!;
    // deno-lint-ignore no-console -- the seed of a failed run
    cleanup.onFailure(() => console.error(`the moments of the kills came from seed ${seed}`));
    const next = generator(seed);
    const cluster = cascade(cleanup, upper);
    await cluster.start();
    const load = new HistoryLoad({
      socket: cluster.socket("hq"),
      volumes: ["data", "journal"],
      sizeBytes: 8 * MIB,
    }, seed);
    load.start(20);
    const moments = { dr1: 0, dr2: 0, metro: 0 };
    for (const node of ["dr1", "dr2", "metro", "dr1", "dr2"] as const) {
      // A run or more has gone through since it was seen last.
      await until(`a run reaches ${node}`, () => {
        load.check();
        return runsOf(cluster, node);
      });
      await pause(next(1000));
      await cluster.kill(node);
      const { images } = await recover(cluster, node);
      const moment = load.momentOf(images);
      assert(moment >= moments[node], `${node} went back from ${moments[node]} to ${moment}`);
      moments[node] = moment;
      await cluster.start(node);
    }
    await load.stop();
    assert(moments.dr1 > 0 && moments.dr2 > 0 && moments.metro > 0, JSON.stringify(moments));
    await cluster.converged();
    assertSameImages(cluster);
  });
}

/** Whether a node has been given something since it was started. */
async function runsOf(cluster: Cluster, node: string): Promise<boolean> {
  const upstream = cluster.spec.links.find(({ to }) => to === node)!;
  const link = await cluster.link(`${upstream.from}-${node}`);
  const since = (await cluster.status(node)).startedAt;
  if (upstream.mode !== "periodic") return (link.durable ?? 0) > 0;
  const run = link.schedule?.lastRun;
  return run?.outcome === "done" && run.endedAtMs > since;
}
