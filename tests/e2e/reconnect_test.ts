import { assertEquals } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { assertSameImages } from "./support/images.ts";
import { run } from "./support/programs.ts";
import { pause } from "./support/wait.ts";

function pair(cleanup: Cleanup): Cluster {
  return Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
    budget: "1GiB",
  });
}

/** The export as QEMU's own driver sees it, told to wait for the server when it goes away. */
function qemuImage(cluster: Cluster): string {
  return [
    "driver=raw",
    "file.driver=nbd",
    "file.server.type=unix",
    `file.server.path=${cluster.socket(cluster.primary)}`,
    "file.export=data",
    "file.reconnect-delay=60",
  ].join(",");
}

e2e("a writing client with reconnect sees no error when the primary is killed", [
  "qemu-img",
], async (cleanup) => {
  const cluster = pair(cleanup);
  await cluster.start();
  let done = false;
  // Writes of one pattern, in order, 16 at a time, with a flush now and then.
  const bench = run("qemu-img", [
    "bench",
    "-w",
    ...["-c", "150000", "-d", "16", "-s", "4096", "--pattern=90", "--flush-interval=500"],
    ...["--no-drain", "--image-opts", qemuImage(cluster)],
  ]).finally(() => done = true);
  for (let i = 0; i < 3 && !done; i++) {
    await pause(300 + 100 * i);
    await cluster.kill("hq");
    cluster.spawn("hq");
    await cluster.ready("hq");
  }
  await bench;
  await cluster.converged();
  assertSameImages(cluster);
  // 150000 writes of 4 KiB wrap around 64 MiB: every byte was written.
  const image = Deno.readFileSync(cluster.image("dr"));
  assertEquals(image.findIndex((byte) => byte !== 90), -1);
});

e2e("a clean stop and start of the primary costs a client with reconnect nothing", [
  "qemu-io",
], async (cleanup) => {
  const cluster = pair(cleanup);
  await cluster.start();
  const commands = Array.from({ length: 40 }, (_, i) => [
    "-c",
    `write -P ${i + 1} ${i * 64}k 64k`,
    "-c",
    `read -P ${i + 1} ${i * 64}k 64k`,
    "-c",
    "sleep 50",
  ]).flat();
  const client = run("qemu-io", [...commands, "--image-opts", qemuImage(cluster)]);
  await pause(500);
  await cluster.stop("hq");
  await cluster.start("hq");
  const { stdout, stderr } = await client;
  assertEquals(/failed|error/i.test(stdout + stderr), false, stdout + stderr);
  await cluster.converged();
  assertSameImages(cluster);
});
