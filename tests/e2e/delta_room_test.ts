/**
 * A node that has no room to stage a delta: it refuses, or, if it is let, takes it in place.
 */
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { Cluster, type NodeSettings } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { HistoryLoad } from "./support/history.ts";
import { assertSameImages } from "./support/images.ts";
import { smallDisk } from "./support/mount.ts";
import { run } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const VOLUME_MIB = 64;

interface Overflowed {
  readonly cluster: Cluster;
  readonly load: HistoryLoad;
}

/** dr held an image, and was away while more was written than hq's log holds. */
async function overflowed(cleanup: Cleanup, settings: NodeSettings): Promise<Overflowed> {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: `${VOLUME_MIB}MiB` },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    budget: "16MiB",
    settings: { dr: settings },
  });
  await cluster.start();
  const load = new HistoryLoad({
    socket: cluster.socket("hq"),
    volumes: ["data"],
    sizeBytes: VOLUME_MIB * MIB,
    runBlocksMax: 32,
  }, 9);
  load.start(0);
  await until("dr has an image", async () => (await cluster.status("dr")).lsn.applied > MIB);
  await cluster.kill("dr");
  await until("the link overflows", async () => {
    return ((await cluster.link("hq-dr")).mapBytes ?? 0) > VOLUME_MIB * MIB * 3 / 4;
  });
  load.paceMs = 100;
  return { cluster, load };
}

async function finish({ cluster, load }: Overflowed): Promise<void> {
  await load.stop();
  await cluster.converged();
  assertSameImages(cluster);
  assertEquals((await cluster.cli(["status"])).code, 0);
}

function refused(cluster: Cluster, words: RegExp): Promise<string> {
  return until("the delta is refused", async () => {
    const { state, reason } = await cluster.link("hq-dr");
    return state === "refused" && words.test(reason ?? "") ? reason : null;
  });
}

/** Starts a node anew on a topology in which some of its keys are others. */
async function restart(cluster: Cluster, node: string, change: NodeSettings): Promise<void> {
  await cluster.stop(node);
  const text = JSON.parse(Deno.readTextFileSync(cluster.topologyPath));
  Object.assign(text.nodes[node], change);
  const path = join(cluster.folder, "changed.yaml");
  Deno.writeTextFileSync(path, JSON.stringify(text));
  cluster.spawn(node, path);
  await cluster.ready(node);
}

e2e("a delta that does not fit is refused, and everybody says how much room it lacks", [], async (
  cleanup,
) => {
  const overflow = await overflowed(cleanup, { log: { deltaBudget: "8MiB" } });
  const { cluster, load } = overflow;
  await cluster.start("dr");
  const before = await until("dr has applied what its own log holds", async () => {
    const status = await cluster.status("dr");
    return status.lsn.applied === status.lsn.appended ? status : null;
  });
  const reason = await refused(cluster, /MiB more than the node has room for.*deltaBudget/);
  const missing = Number(/needs (\d+) MiB more/.exec(reason)![1]);
  assert(missing > 30 && missing < 80, reason);
  for (const args of [["status"], ["status", "--json"]]) {
    const status = await cluster.cli(args, { codes: null });
    assertEquals(status.code, 1);
    assertMatch(status.stdout, /MiB more/);
  }
  // It stays what it was, and clients feel nothing.
  const after = await cluster.status("dr");
  assertEquals([after.consistent, after.lsn.applied], [true, before.lsn.applied]);
  const { steps } = load;
  await until("clients write on", () => load.steps > steps + 100);

  await restart(cluster, "dr", { log: { budget: "16MiB", deltaBudget: "256MiB" } });
  await until("it is given what it lacks", async () => {
    return (await cluster.link("hq-dr")).state === "streaming";
  });
  await finish(overflow);
});

e2e("with allowInconsistent it is taken in place, behind the hook, and says so", [], async (
  cleanup,
) => {
  const copy = join(cleanup.folder, "before.img");
  const statePath = join(cleanup.folder, "dr", "state.json");
  const overflow = await overflowed(cleanup, {
    log: { deltaBudget: "8MiB" },
    allowInconsistent: true,
    beforeInconsistent: ["cp", join(cleanup.folder, "dr.data.img"), copy],
  });
  const { cluster, load } = overflow;
  cluster.spawn("dr");
  const isMarked = async () => (await cluster.status("dr")).inconsistentUntil;
  // The status says so a little before a crash would find it.
  const isNoted = () => !/"inPlace":null/.test(Deno.readTextFileSync(statePath));
  await until("the delta is taken in place", isNoted, { pollMs: 1 });
  // It stays in the midst of it, and says so over a crash, and to whoever asks.
  cluster.process("hq").signal("SIGSTOP");
  cleanup.defer(() => void cluster.process("hq").signal("SIGCONT"));
  await cluster.kill("dr");
  await cluster.start("dr");
  const { reason } = await until("the mark stays", isMarked);
  assertMatch(reason, /in place/);
  const status = await cluster.cli(["status", "--node", "dr"], { codes: null });
  assertEquals(status.code, 1);
  assertMatch(status.stdout, /inconsistent/i);
  const metrics = await (await fetch(`${cluster.admin("dr")}/metrics`)).text();
  assertMatch(metrics, /cascade_node_consistent\S* 0/);
  assert(load.momentOf([copy]) > 0, "the hook saw an image that existed");
  cluster.process("hq").signal("SIGCONT");
  await until("it is whole again", async () => (await cluster.status("dr")).consistent);
  await finish(overflow);
});

e2e("a hook that fails keeps the image as it is", [], async (cleanup) => {
  const overflow = await overflowed(cleanup, {
    log: { deltaBudget: "8MiB" },
    allowInconsistent: true,
    beforeInconsistent: "echo no room for a snapshot >&2; exit 3",
  });
  const { cluster, load } = overflow;
  await cluster.start("dr");
  const reason = await refused(cluster, /hook/);
  assertStringIncludes(reason, "no room for a snapshot");
  assert((await cluster.status("dr")).consistent);
  await cluster.stop("dr");
  assert(load.momentOf([cluster.image("dr")]) > 0);
  await restart(cluster, "dr", { beforeInconsistent: "true" });
  await until("it is given what it lacks", async () => {
    return (await cluster.link("hq-dr")).state === "streaming";
  });
  await finish(overflow);
});

e2e("a full disk refuses a delta, and the node goes on once there is room", ["root"], async (
  cleanup,
) => {
  const dir = await smallDisk(cleanup, 48);
  const overflow = await overflowed(cleanup, {
    dir: join(dir, "dr"),
    log: { deltaBudget: "256MiB" },
  });
  const { cluster } = overflow;
  await cluster.start("dr");
  await refused(cluster, /no room to stage the delta/);
  assertEquals((await cluster.cli(["status"], { codes: null })).code, 1);
  assert((await cluster.status("dr")).consistent);
  await run("mount", ["-o", "remount,size=512M", dir]);
  await until("it is given what it lacks", async () => {
    return (await cluster.link("hq-dr")).state === "streaming";
  });
  await finish(overflow);
});
