/**
 * A node that was away for longer than its upstream's log comes back by a delta, which goes on to the
 * node below it: whoever is killed meanwhile, and when.
 */
import { assert, assertEquals } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { HistoryLoad } from "./support/history.ts";
import { assertSameImages } from "./support/images.ts";
import { recover } from "./support/recovered.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const VOLUME_MIB = 48;
const PHASES = ["shipping", "applying", "forwarding"] as const;
type Phase = (typeof PHASES)[number];

function cascade(cleanup: Cleanup): Cluster {
  // Far more than a delta of both volumes: on a busy machine much is written while one is shipped.
  const log = { deltaBudget: "1GiB" };
  return Cluster.create(cleanup, {
    volumes: { data: `${VOLUME_MIB}MiB`, journal: `${VOLUME_MIB}MiB` },
    nodes: ["hq", "dr", "far"],
    links: [
      { from: "hq", to: "dr", mode: "async" },
      { from: "dr", to: "far", mode: "async" },
    ],
    budget: "32MiB",
    settings: { dr: { log }, far: { log } },
  });
}

/** Waits until all links stream: nothing is left of any delta. */
function streaming(cluster: Cluster): Promise<unknown> {
  return until("both links stream again", async () => {
    const links = [await cluster.link("hq-dr"), await cluster.link("dr-far")];
    return links.every(({ state, mapBytes }) => state === "streaming" && mapBytes === null);
  });
}

/**
 * Waits for the moment of a kill. Returns the id of the delta if it is there in time: the phase may be
 * over before it is seen.
 */
async function moment(cluster: Cluster, phase: Phase): Promise<string | null> {
  const link = phase === "forwarding" ? "dr-far" : "hq-dr";
  const wanted = phase === "applying" ? "applying" : "shipping";
  let begun = false;
  return (await until(`${link} is ${wanted}`, async () => {
    const { delta, state } = await cluster.link(link);
    begun ||= delta !== null;
    const isFar = delta !== null && delta.bytesStaged > (delta.bytesTotal ?? 0) / 3;
    if (delta?.phase === wanted && (isFar || phase === "forwarding")) return { id: delta.id };
    return begun && state === "streaming" ? { id: null } : null;
  }, { pollMs: 1 })).id;
}

async function overflow(cluster: Cluster, load: HistoryLoad): Promise<void> {
  await cluster.kill("dr");
  load.paceMs = 0;
  await until("the log is spent, and most of the volumes written", async () => {
    load.check();
    return ((await cluster.link("hq-dr")).mapBytes ?? 0) > VOLUME_MIB * MIB;
  });
  load.paceMs = 100;
}

for (const victim of ["hq", "dr", "far"] as const) {
  e2e(`a node comes back after its log, and ${victim} is killed meanwhile`, [], async (cleanup) => {
    const cluster = cascade(cleanup);
    await cluster.start();
    // Blank nodes would be filled in place.
    await cluster.converged();
    const load = new HistoryLoad({
      socket: cluster.socket("hq"),
      volumes: ["data", "journal"],
      sizeBytes: VOLUME_MIB * MIB,
      runBlocksMax: 64,
    }, 5);
    load.start(100);
    let seen = 0;
    for (const phase of PHASES) {
      await overflow(cluster, load);
      cluster.spawn("dr");
      const id = await moment(cluster, phase);
      await cluster.kill(victim);
      if (victim !== "hq") {
        const { images } = await recover(cluster, victim);
        const step = load.momentOf(images);
        assert(step >= seen, `${victim} went back from step ${seen} to ${step}`);
        seen = step;
      }
      cluster.spawn(victim);
      if (phase === "shipping" && victim !== "far" && id !== null) {
        const { delta } = await until("the delta goes on", async () => {
          const link = await cluster.link("hq-dr");
          return link.delta === null ? null : link;
        }, { pollMs: 1 });
        assertEquals(delta?.id, id, "it goes on, rather than begin anew");
      }
      await streaming(cluster);
    }
    await load.stop();
    await cluster.converged();
    assertSameImages(cluster);
    await cluster.stop("far");
    const images = ["data", "journal"].map((volume) => cluster.image("far", volume));
    assertEquals(load.momentOf(images), load.steps);
  });
}
