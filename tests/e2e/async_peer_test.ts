import { assert, assertEquals } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { fio, type FioResult } from "./support/clients.ts";
import { assertSameImages, bytesOnDisk } from "./support/images.ts";
import { memoryOf } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;

function pair(cleanup: Cleanup, budget: string): Cluster {
  return Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    budget,
  });
}

function write(cluster: Cluster, mebibytes: number): Promise<FioResult> {
  return fio(cluster.uri(), {
    rw: "randwrite",
    bs: "16k",
    iodepth: 16,
    io_size: `${mebibytes}m`,
    size: "64m",
    norandommap: 1,
  });
}

e2e("an async peer that hangs costs the primary neither time nor memory", [
  "fio",
], async (cleanup) => {
  const cluster = pair(cleanup, "2GiB");
  await cluster.start();
  await write(cluster, 64);
  await cluster.converged();

  // It takes nothing any more and does not hang up either.
  cluster.process("dr").signal("SIGSTOP");
  cleanup.defer(() => void cluster.process("dr").signal("SIGCONT"));
  await write(cluster, 128);
  const before = memoryOf(cluster.process("hq").pid).residentBytes;
  await write(cluster, 768);
  const after = memoryOf(cluster.process("hq").pid);
  // The load is 768 MiB: a queue in memory would show.
  assert(after.residentBytes < before + 64 * MIB, `${before} grew to ${after.residentBytes}`);
  assert(after.peakBytes < 200 * MIB, `peak ${after.peakBytes}`);
  const { lsn, links } = await cluster.status();
  const link = links.find((one) => one.to === "dr")!;
  assert((link.lagBytes ?? Infinity) >= 768 * MIB, "the link says how far the peer is behind");
  await until(
    "the primary applies and checkpoints all the same",
    async () => (await cluster.status()).lsn.applied >= lsn.appended,
  );

  cluster.process("dr").signal("SIGCONT");
  await cluster.converged();
  assertSameImages(cluster);
});

e2e("a dead peer that outlives the log budget overflows its link alone", [
  "fio",
], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr", "dead"],
    links: [
      { from: "hq", to: "dr", mode: "async" },
      { from: "hq", to: "dead", mode: "async" },
    ],
    budget: "256MiB",
  });
  await cluster.start();
  await write(cluster, 16);
  await cluster.converged();
  await cluster.kill("dead");
  for (let i = 0; i < 8; i++) {
    await write(cluster, 64);
    // The living peer keeps up: what follows is about the dead one.
    await cluster.converged("hq", "dr");
  }
  const status = await until("the link overflows", async () => {
    const status = await cluster.status();
    return status.links.some((link) => link.to === "dead" && link.state === "overflowed")
      ? status
      : null;
  });
  const [dead] = status.links.filter((link) => link.to === "dead");
  assert(dead!.reason !== null, "it says why");
  assert((dead!.mapBytes ?? 0) > 16 * MIB, "and how much the peer lacks");
  assertEquals(status.state, "running");
  const segmentsMax = status.log.budget + status.log.bytes / Math.max(1, status.log.segments);
  assert(folderBytes(cluster.dir("hq")) <= segmentsMax + MIB, "no more than a segment past budget");

  await write(cluster, 32);
  await cluster.converged("hq", "dr");

  // The peer comes back to a log that has nothing for it, and is given the blocks that it lacks.
  cluster.spawn("dead");
  await cluster.ready("dead");
  await write(cluster, 32);
  await cluster.converged();
  await until("the link streams, its map forgotten", async () => {
    const again = (await cluster.status()).links.find((link) => link.to === "dead");
    return again?.state === "streaming" && again.mapBytes === null;
  });
  assertSameImages(cluster);
});

e2e("a peer that was away catches up from the log", ["fio"], async (cleanup) => {
  const cluster = pair(cleanup, "1GiB");
  await cluster.start();
  await write(cluster, 16);
  await cluster.converged();
  await cluster.kill("dr");
  await write(cluster, 300);
  await cluster.start("dr");
  await write(cluster, 16);
  await cluster.converged();
  assertSameImages(cluster);
});

e2e("the log of a cascade without faults stays far below its budget", [
  "fio",
], async (cleanup) => {
  const cluster = pair(cleanup, "256MiB");
  await cluster.start();
  for (let i = 0; i < 6; i++) {
    await write(cluster, 100);
    await cluster.converged();
  }
  assert(folderBytes(cluster.dir("hq")) < 400 * MIB, "segments are dropped or used again");
  assertSameImages(cluster);
});

function folderBytes(folder: string): number {
  let bytes = 0;
  for (const entry of Deno.readDirSync(folder)) {
    const path = `${folder}/${entry.name}`;
    bytes += entry.isDirectory ? folderBytes(path) : bytesOnDisk(path);
  }
  return bytes;
}
