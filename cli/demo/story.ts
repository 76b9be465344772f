/**
 * The demo's story: start four nodes, put a load on the primary, kill the intermediate with
 * SIGKILL half-way and start it again, let the load end, wait until all nodes have everything,
 * stop, and compare the images byte for byte.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { delay } from "@std/async/delay";
import type { NodeStatus } from "../../core/status.ts";
import type { Report } from "../report.ts";
import { DEMO_NODES, DemoCluster, type DemoNode } from "./cluster.ts";
import { type Hop, Hops } from "./hops.ts";
import { copyLoad, databaseLoad, type LoadReport } from "./load.ts";
import { NbdClient } from "./nbd_client.ts";

const MIB = 1024 * 1024;
const DOWN_MS = 1500;
const SAMPLE_MS = 250;
const CATCH_UP_TIMEOUT_MS = 20_000;
const COMPARE_BYTES = MIB;

/** What the story is told with. */
export interface DemoOptions {
  /** How long the load runs. */
  readonly loadMs: number;
  readonly sizeBytes: number;
  /** A user's image to copy in, instead of the database-like load. */
  readonly input: string | null;
}

/** What is shown while the story goes on. */
export interface DemoView {
  /** A line that stays: something happened. */
  say(text: string): void;
  /** The nodes as they are now. */
  show(report: Report, load: LoadReport): void;
}

/** How it ended. */
export interface DemoResult {
  readonly load: LoadReport;
  /** What each link carried, in the order of the topology. */
  readonly hops: readonly Hop[];
  readonly killed: DemoNode;
  readonly reconnects: number;
  /** Where each replica first differs from the primary's image; null where it does not. */
  readonly differences: ReadonlyMap<DemoNode, number | null>;
  readonly seconds: number;
}

/** Tells the whole story. Throws when anything does not go as it must; leaves nothing behind. */
export async function tellStory(options: DemoOptions, view: DemoView): Promise<DemoResult> {
  const cluster = await DemoCluster.create(options.sizeBytes);
  const remove = () => {
    cluster.remove().finally(() => Deno.kill(Deno.pid, "SIGKILL"));
  };
  Deno.addSignalListener("SIGINT", remove);
  Deno.addSignalListener("SIGTERM", remove);
  try {
    return await tell(cluster, options, view);
  } finally {
    await cluster.remove();
    Deno.removeSignalListener("SIGINT", remove);
    Deno.removeSignalListener("SIGTERM", remove);
  }
}

async function tell(
  cluster: DemoCluster,
  options: DemoOptions,
  view: DemoView,
): Promise<DemoResult> {
  const startedMs = performance.now();
  for (const node of DEMO_NODES) cluster.start(node);
  await cluster.waitFor("the nodes did not start", async () => {
    const statuses = statusesOf(await cluster.report());
    return statuses.length === DEMO_NODES.length && statuses.every(isConnected);
  });
  view.say("Four nodes run: hq -sync-> metro -async-> dr1, and metro -periodic-> dr2.");
  const client = await NbdClient.connect(cluster.exportSocket, "data");
  const load: LoadReport = { writes: 0, bytes: 0, flushes: 0, done: false };
  const work = options.input === null
    ? databaseLoad(client, load, performance.now() + options.loadMs)
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
    differences: await compareImages(cluster),
    seconds: (performance.now() - startedMs) / 1000,
  };
}

function statusesOf(report: Report): NodeStatus[] {
  return report.nodes.flatMap(({ status }) => status === null ? [] : [status]);
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
    return hq !== undefined && statuses.length === DEMO_NODES.length &&
      statuses.every((status) => status.lsn.applied === hq.lsn.appended);
  }, CATCH_UP_TIMEOUT_MS);
}

/** Looks at the nodes while the load runs. */
class Watch {
  readonly #cluster: DemoCluster;
  readonly #view: DemoView;
  readonly #load: LoadReport;
  readonly hops = new Hops();

  constructor(cluster: DemoCluster, view: DemoView, load: LoadReport) {
    this.#cluster = cluster;
    this.#view = view;
    this.#load = load;
  }

  async run(): Promise<void> {
    while (!this.#load.done) {
      await this.sample();
      await delay(SAMPLE_MS);
    }
  }

  async sample(): Promise<void> {
    const report = await this.#cluster.report();
    this.hops.look(report);
    this.#view.show(report, this.#load);
  }
}

/** Compares every replica's image with the primary's; the first differing byte, or null. */
async function compareImages(cluster: DemoCluster): Promise<Map<DemoNode, number | null>> {
  const result = new Map<DemoNode, number | null>();
  for (const node of DEMO_NODES) {
    if (node === "hq") continue;
    result.set(node, await firstDifference(cluster.image("hq"), cluster.image(node)));
  }
  return result;
}

/** Offset of the first byte that differs between two files, or null. */
export async function firstDifference(left: string, right: string): Promise<number | null> {
  using a = await Deno.open(left);
  using b = await Deno.open(right);
  const one = new Uint8Array(COMPARE_BYTES);
  const two = new Uint8Array(COMPARE_BYTES);
  for (let offset = 0;;) {
    const [m, n] = [await readFully(a, one), await readFully(b, two)];
    const end = Math.min(m, n);
    if (Buffer.compare(one.subarray(0, end), two.subarray(0, end)) !== 0) {
      return offset + one.findIndex((byte, index) => byte !== two[index]);
    }
    if (m !== n) return offset + end;
    if (m === 0) return null;
    offset += m;
  }
}

async function readFully(file: Deno.FsFile, into: Uint8Array): Promise<number> {
  let at = 0;
  while (at < into.length) {
    const count = await file.read(into.subarray(at));
    if (count === null) break;
    at += count;
  }
  return at;
}
