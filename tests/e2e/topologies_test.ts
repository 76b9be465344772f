import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { fio } from "./support/clients.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { assertSameImages, firstDifference } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { run } from "./support/programs.ts";

const MIB = 1024 * 1024;
const MIXED = { rw: "randwrite", bsrange: "512-64k", iodepth: 16, size: "32m" };

e2e("several volumes arrive, each in its place", ["fio"], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "48MiB", journal: "32MiB", "index.1": "40MiB" },
    nodes: ["hq", "metro", "dr1", "dr2"],
    links: [
      { from: "hq", to: "metro", mode: "sync" },
      { from: "metro", to: "dr1", mode: "async" },
      { from: "metro", to: "dr2", mode: "async", dial: "from" },
    ],
    tcp: true,
  });
  await cluster.start();
  const volumes = ["data", "journal", "index.1"];
  await Promise.all(volumes.map((volume) => fio(cluster.uri("hq", volume), MIXED)));
  await cluster.converged();
  assertSameImages(cluster);
  const [data, journal] = volumes.map((volume) => cluster.image("dr1", volume));
  if (firstDifference(data!, journal!) === null) throw new Error("the volumes are all the same");
});

e2e("a node that keeps only the log feeds the nodes below it", ["fio"], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "bunker", "dr"],
    links: [
      { from: "hq", to: "bunker", mode: "sync" },
      { from: "bunker", to: "dr", mode: "async" },
    ],
    logOnly: ["bunker"],
  });
  await cluster.start();
  await fio(cluster.uri(), MIXED);
  // Nobody but the bunker has the last writes now; it hands them on without the primary.
  await cluster.kill("dr");
  await fio(cluster.uri(), { ...MIXED, size: "16m", randseed: 7 });
  await cluster.converged("hq", "bunker");
  await cluster.kill("hq");
  const { lsn } = await cluster.status("bunker");
  await cluster.start("dr");
  await cluster.reached("dr", lsn.durable);
  assertSameImages(cluster);
});

e2e("a volume may be a block device", ["root", "/dev/loop-control", "losetup", "fio"], async (
  cleanup,
) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    devices: true,
  });
  for (const node of cluster.spec.nodes) {
    const backing = join(cleanup.folder, `${node}.backing`);
    Deno.createSync(backing).close();
    Deno.truncateSync(backing, 64 * MIB);
    const device = (await run("losetup", ["-f", "--show", backing])).stdout.trim();
    cleanup.defer(async () => {
      await cluster.dispose();
      await run("losetup", ["-d", device], { codes: null });
    });
    Deno.symlinkSync(device, cluster.image(node));
  }
  await cluster.start();
  await fio(cluster.uri(), { ...MIXED, verify: "crc32c", verify_fatal: 1 });
  const client = await NbdClient.connect(cluster.socket("hq"));
  await client.trim(MIB, 3 * MIB);
  await client.zero(8 * MIB + 512, MIB);
  await client.flush();
  client.close();
  await cluster.converged();
  const device = Deno.readFileSync(cluster.image("dr"));
  assertEquals(device.length, 64 * MIB);
  assertEquals(device.subarray(MIB, 4 * MIB).findIndex((byte) => byte !== 0), -1);
  await run("cmp", [cluster.image("hq"), cluster.image("dr")]);
  await cluster.stop("hq");
  await cluster.stop("dr");
  await cluster.start();
  await cluster.converged();
  await run("cmp", [cluster.image("hq"), cluster.image("dr")]);
});
