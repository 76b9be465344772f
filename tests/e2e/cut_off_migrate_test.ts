/** Hand-overs that are cut off with `kill -9` at any moment: nothing is lost, and the second try completes the first. */
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

const MIB = 1024 * 1024;

/** A hand-over from one node to the other, each moment with each of those that take part as the one that is killed. */
function cutsOf(from: string, to: string): Cut[] {
  const args = ["migrate", to];
  const moments = [
    { node: to, says: null },
    { node: from, says: /is the primary now/ },
    { node: to, says: /this node is the primary now/ },
    { node: to, says: /a new epoch begins/ },
    { node: to, says: /ready role=primary/ },
  ];
  return moments.flatMap((at) => [
    { args, at, victim: "the command" as const },
    ...["hq", "metro", "dr"].map((node) => ({ args, at, victim: { node } })),
  ]);
}

e2e(
  "a hand-over that is cut off at any moment is completed by the next try",
  [],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "16MiB" },
      nodes: ["hq", "metro", "dr"],
      links: [{ from: "hq", to: "metro", mode: "async" }, {
        from: "metro",
        to: "dr",
        mode: "async",
      }],
      exporting: ["metro", "dr"],
      tcp: true,
    });
    let what = "";
    const seed = seedOf(cleanup, () => what);
    await cluster.start();
    const load = new RovingLoad(cluster, 16 * MIB, seed);
    for (let turn = 0; turn < 2; turn++) {
      const [from, to] = turn % 2 === 0 ? ["hq", "metro"] as const : ["metro", "hq"] as const;
      const [cut] = drawn(cutsOf(from, to), 1, seed + turn);
      what = describeCut(cut!);
      load.start();
      await load.more();
      await cutOff(cluster, cleanup, cut!);
      await load.more(1);
      await load.stop();
      await settled(cluster, to);
    }
  },
);
