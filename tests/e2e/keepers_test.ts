/**
 * An intermediate dies, and what follows is more than the log of the node above holds: the one that was fed by the dead
 * one is given what was touched meanwhile, and no more. So it goes back, too.
 */
import { assert, assertEquals } from "@std/assert";
import { writeBulk } from "./support/bulk.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { assertSameImages } from "./support/images.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const BUDGET_MIB = 32;

e2e(
  "what an ancestor keeps for a node brings it on when the one between is dead",
  [],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "256MiB" },
      nodes: ["hq", "metro", "dr"],
      links: [{ from: "hq", to: "metro", mode: "async" }, {
        from: "metro",
        to: "dr",
        mode: "async",
      }],
      budget: `${BUDGET_MIB}MiB`,
      tcp: true,
    });
    await cluster.start();
    await writeBulk(cluster.socket("hq"), "data", 0, 192);
    await cluster.converged();
    const keptFor = async (node: string) => {
      const { kept } = await cluster.status("hq");
      return kept.find((one) => one.node === node);
    };
    await until("hq knows that both have all", async () => (await keptFor("dr"))?.by === "nothing");

    await cluster.kill("metro");
    // The same 8 MiB again and again: far more than the log holds.
    for (let turn = 0; turn < 2 * BUDGET_MIB / 8; turn++) {
      await writeBulk(cluster.socket("hq"), "data", 64 * MIB, 8);
    }
    const kept = await until("the log at hq has gone past dr", async () => {
      const one = await keptFor("dr");
      return one?.by === "map" ? one : null;
    });
    assert(kept.bytes <= 8 * MIB, `a map of ${kept.bytes} bytes`);

    const plan = JSON.parse(
      (await cluster.cli(["reparent", "dr", "--to", "hq", "--dry-run", "--json"])).stdout,
    );
    assertEquals([plan.reparent.by, plan.reparent.isDone], ["map", false]);
    assert(plan.reparent.bytes >= 8 * MIB && plan.reparent.bytes < 9 * MIB, plan.reparent.bytes);

    await cluster.cli(["reparent", "dr", "--to", "hq"]);
    const there = await until("dr has all", async () => {
      const { lsn, links } = await cluster.status("hq");
      const link = links.find(({ name }) => name === "hq-dr");
      return link?.applied === lsn.appended ? link : null;
    });
    assert(there.sentBytes < 10 * MIB, `${there.sentBytes} bytes were sent`);

    // Back to where it belongs, by what hq kept for metro.
    cluster.spawn("metro");
    await until("metro has all", async () => {
      const { lsn, links } = await cluster.status("hq");
      return links.find(({ name }) => name === "hq-metro")?.applied === lsn.appended;
    });
    await cluster.cli(["reparent", "dr", "--to", "metro"]);
    await writeBulk(cluster.socket("hq"), "data", 0, 1);
    await cluster.converged();
    const { links } = await cluster.status("metro");
    const home = links.find(({ name }) => name === "metro-dr");
    assert((home?.sentBytes ?? Infinity) < 4 * MIB, `${home?.sentBytes} bytes were sent`);
    assertSameImages(cluster);
  },
);
