import { assert, assertEquals } from "@std/assert";
import { fio } from "../support/clients.ts";
import { Cluster } from "../support/cluster.ts";
import { e2e } from "../support/e2e.ts";
import { bytesOnDisk, firstDifferenceInData } from "../support/images.ts";
import { memoryOf } from "../support/programs.ts";
import { until } from "../support/wait.ts";

const MIB = 1024 * 1024;

e2e("a volume of 1 TiB under full load takes less than 200 MB a node", ["fio"], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "1TiB" },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    budget: "2GiB",
  });
  await cluster.start();
  // Runs of 16 blocks at random places: a hundred thousand single ones take minutes to delete.
  const shared = { size: "1t", norandommap: 1, time_based: 1 };
  await fio(cluster.uri(), { ...shared, rw: "randwrite:16", bs: "4k", iodepth: 64, runtime: 3 });
  await fio(cluster.uri(), { ...shared, rw: "randrw", bs: "1m", iodepth: 16, runtime: 1 });
  await cluster.converged();
  for (const node of cluster.spec.nodes) {
    const { peakBytes } = memoryOf(cluster.process(node).pid);
    assert(peakBytes < 200e6, `${node}: ${(peakBytes / 1e6).toFixed(0)} MB at its peak`);
    const onDisk = bytesOnDisk(cluster.image(node));
    assert(onDisk < 16 * 1024 * MIB, `${node}: the image stays sparse`);
  }
});

e2e("deltas of a volume of 1 TiB take less than 300 MB a node", ["fio"], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "1TiB" },
    nodes: ["hq", "dr", "far"],
    links: [
      { from: "hq", to: "dr", mode: "async" },
      { from: "dr", to: "far", mode: "async" },
    ],
    budget: "32MiB",
    settings: { dr: { log: { deltaBudget: "1GiB" } }, far: { log: { deltaBudget: "1GiB" } } },
  });
  const within = () => {
    for (const node of cluster.spec.nodes) {
      const { peakBytes } = memoryOf(cluster.process(node).pid);
      assert(peakBytes < 300e6, `${node}: ${(peakBytes / 1e6).toFixed(0)} MB at its peak`);
    }
  };
  const scattered = (seed: number, mebibytes: number) =>
    fio(cluster.uri(), {
      ...{ rw: "randwrite", bs: "4k", iodepth: 64, size: "1t", norandommap: 1, randseed: seed },
      io_size: `${mebibytes}m`,
    });
  const mapped = () =>
    until("the log is spent", async () => (await cluster.link("hq-dr")).mapBytes);
  await cluster.start("hq");
  await scattered(1, 40);
  await mapped();
  // First copies, down to the last node.
  await cluster.start("dr", "far");
  await cluster.converged();
  within();
  await cluster.kill("dr");
  await scattered(2, 60);
  await mapped();
  // A delta, and the same on.
  await cluster.start("dr");
  await cluster.converged();
  within();
  for (const node of cluster.spec.nodes) {
    assert(bytesOnDisk(cluster.image(node)) < 1024 * MIB, `${node}: the image stays sparse`);
  }
  for (const node of ["dr", "far"]) {
    assertEquals(firstDifferenceInData(cluster.image("hq"), cluster.image(node)), null, node);
  }
});
