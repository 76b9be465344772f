/**
 * A blank node that is added to a cascade whose log does not reach back to the beginning.
 */
import { assert, assertEquals } from "@std/assert";
import { writeBulk } from "./support/bulk.ts";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { HistoryLoad } from "./support/history.ts";
import { assertSameImages } from "./support/images.ts";
import { recover } from "./support/recovered.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
/** What there is to copy. */
const BULK_MIB = 400;
/** A kill may cost what was not durable yet, and what was on its way. */
const LOST_MIB_MAX = 90;

/** hq holds more than its log, and clients write on; what is below was never started. */
async function loaded(cleanup: Cleanup): Promise<{ cluster: Cluster; load: HistoryLoad }> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "1GiB", journal: "8MiB" },
    nodes: ["hq", "metro", "dr"],
    links: [
      { from: "hq", to: "metro", mode: "async" },
      { from: "metro", to: "dr", mode: "async" },
    ],
    budget: "128MiB",
  });
  await cluster.start("hq");
  await writeBulk(cluster.socket("hq"), "data", 100 * MIB, BULK_MIB);
  const load = new HistoryLoad({
    socket: cluster.socket("hq"),
    volumes: ["journal"],
    sizeBytes: 8 * MIB,
  }, 1);
  load.start(10);
  return { cluster, load };
}

/** Waits until a link has shipped `mebibytes` of its first copy; returns the id of that delta. */
function shipped(cluster: Cluster, link: string, mebibytes: number): Promise<string> {
  return until(`${link} has shipped ${mebibytes} MiB`, async () => {
    const { delta } = await cluster.link(link);
    return delta !== null && delta.bytesStaged >= mebibytes * MIB ? delta.id : null;
  }, { pollMs: 2 });
}

/** Waits until all links stream: nothing is left of any delta. */
function filled(cluster: Cluster): Promise<unknown> {
  return until("both nodes are filled", async () => {
    const links = [await cluster.link("hq-metro"), await cluster.link("metro-dr")];
    return links.every(({ state, mapBytes }) => state === "streaming" && mapBytes === null);
  });
}

/** Stops the load, and looks at every image. */
async function finish(cluster: Cluster, load: HistoryLoad): Promise<void> {
  await load.stop();
  await cluster.converged();
  assertSameImages(cluster);
  await cluster.kill("dr");
  const { images } = await recover(cluster, "dr");
  assertEquals(load.momentOf([images[1]!]), load.steps);
}

e2e("a blank node is filled under load, and goes on where it was killed", [], async (cleanup) => {
  const { cluster, load } = await loaded(cleanup);
  await cluster.start("metro");
  await until(
    "a node that is being filled says so",
    async () => (await cluster.status("metro")).inconsistentUntil,
  );
  const id = await shipped(cluster, "hq-metro", BULK_MIB / 2);
  await cluster.kill("metro");
  await cluster.start("metro");
  assertEquals(await shipped(cluster, "hq-metro", BULK_MIB / 2), id);
  await cluster.start("dr");
  await filled(cluster);
  const { sentBytes } = await cluster.link("hq-metro");
  const most = (BULK_MIB + LOST_MIB_MAX) * MIB + load.steps * 8 * 4096;
  assert(sentBytes < most, `${sentBytes} bytes were sent, ${most} at most are no waste`);
  assertEquals((await cluster.status("metro")).inconsistentUntil, null);
  await finish(cluster, load);
});

e2e("a blank node is filled on when its upstream node was killed", [], async (cleanup) => {
  const { cluster, load } = await loaded(cleanup);
  await cluster.start("metro");
  const id = await shipped(cluster, "hq-metro", BULK_MIB / 2);
  await cluster.kill("hq");
  await cluster.start("hq");
  assertEquals(await shipped(cluster, "hq-metro", BULK_MIB / 2), id);
  await cluster.start("dr");
  await filled(cluster);
  // hq has forgotten what it had sent before it was killed: half of it was.
  const { sentBytes } = await cluster.link("hq-metro");
  const most = (BULK_MIB / 2 + LOST_MIB_MAX) * MIB + load.steps * 8 * 4096;
  assert(sentBytes < most, `${sentBytes} bytes were sent, ${most} at most are no waste`);
  await finish(cluster, load);
});
