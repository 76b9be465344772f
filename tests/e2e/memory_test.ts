import { assert } from "@std/assert";
import { fio } from "./support/clients.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { bytesOnDisk } from "./support/images.ts";
import { memoryOf } from "./support/programs.ts";

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
