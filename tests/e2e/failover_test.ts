/** The bad day, with real processes and a real file system: promotion, return, failback, other parents, a conflict. */
import { assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { firstDifference } from "./support/images.ts";
import { attach, type LoopDisk, MOUNT_NEEDS } from "./support/mount.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { Background, run } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
type Files = Map<string, Uint8Array>;

function trio(cleanup: Cleanup, mode: "sync" | "async", size = "64MiB"): Cluster {
  return Cluster.create(cleanup, {
    volumes: { data: size },
    nodes: ["hq", "metro", "dr"],
    links: [{ from: "hq", to: "metro", mode }, { from: "metro", to: "dr", mode: "async" }],
    exporting: ["metro", "dr"],
    tcp: true,
  });
}

/** Records of a size as databases write them, each made durable before the next. */
function writeRecords(root: string, files: Files, stamp: number): void {
  for (let i = 0; i < 40; i++) {
    const name = `records${stamp}-${i}`;
    const content = new Uint8Array(1000 + (i * 7919) % 60_000).fill(stamp + i);
    using file = Deno.openSync(join(root, name), { create: true, write: true });
    for (let at = 0; at < content.length;) at += file.writeSync(content.subarray(at));
    file.syncSync();
    files.set(name, content);
  }
}

function judge(root: string, files: Files): void {
  for (const [name, content] of files) {
    assertEquals(Deno.readFileSync(join(root, name)), content, name);
  }
}

/** All nodes have applied all of `primary`, and their images are the same. */
async function equal(cluster: Cluster, primary: string): Promise<void> {
  await until("all have all", async () => {
    const end = (await cluster.status(primary)).lsn.appended;
    for (const node of cluster.spec.nodes) {
      const { lsn, consistent, tree } = await cluster.status(node);
      if (lsn.applied !== end || !consistent || tree?.isRejoining !== false) return false;
    }
    return (await cluster.status(primary)).lsn.appended === end;
  }, { deadlineMs: 90_000 });
  for (const node of cluster.spec.nodes) {
    assertEquals(firstDifference(cluster.image(primary), cluster.image(node)), null, node);
  }
}

async function released(disk: LoopDisk, cluster: Cluster, primary: string): Promise<void> {
  await disk.unmount();
  await disk.detach();
  await equal(cluster, primary);
  for (const node of cluster.spec.nodes) await run("e2fsck", ["-fn", cluster.image(node)]);
}

e2e("a file system outlives its site, and comes home", [...MOUNT_NEEDS], async (cleanup) => {
  const cluster = trio(cleanup, "sync");
  await cluster.start();
  const files: Files = new Map();
  const first = await attach(cleanup, cluster.uri("hq"), "1");
  await run("mkfs.ext4", ["-q", first.device]);
  await first.mount();
  writeRecords(first.mountPoint, files, 1);
  // Something is always under way when it happens.
  const writer = new Background(
    "writer",
    "sh",
    [
      "-c",
      `while :; do dd if=/dev/urandom of=${first.mountPoint}/noise bs=64k count=64 conv=fsync; done`,
    ],
    join(cleanup.folder, "writer.out"),
  );
  await until("noise", () => Deno.statSync(join(first.mountPoint, "noise")).size > 0);
  await cluster.kill("hq");
  await writer.kill();
  await first.abandon();

  const plan = await cluster.cli(["promote", "metro", "--dry-run"]);
  assertMatch(plan.stdout, /metro would be the primary in place of hq/);
  await cluster.cli(["promote", "metro", "--yes"]);
  // Once more: it is that already.
  assertMatch((await cluster.cli(["promote", "metro", "--yes"])).stdout, /metro is the primary/);
  const second = await attach(cleanup, cluster.uri("metro"), "2");
  await second.mount();
  judge(second.mountPoint, files);
  writeRecords(second.mountPoint, files, 2);

  await cluster.start("hq");
  await until("hq follows", async () => (await cluster.status("hq")).role !== "primary");
  writeRecords(second.mountPoint, files, 3);
  await released(second, cluster, "metro");

  await cluster.cli(["migrate", "hq"]);
  const third = await attach(cleanup, cluster.uri("hq"), "3");
  await third.mount();
  judge(third.mountPoint, files);
  writeRecords(third.mountPoint, files, 4);
  await released(third, cluster, "hq");
  assertEquals((await cluster.status("dr")).tree?.isDeclared, true);
});

async function write(cluster: Cluster, node: string, at: number, fill: number): Promise<void> {
  const client = await NbdClient.connect(cluster.socket(node));
  await client.write(at, new Uint8Array(MIB).fill(fill));
  await client.flush();
  client.close();
}

e2e(
  "what was never replicated is kept, and nothing but what changed is copied",
  [],
  async (cleanup) => {
    const cluster = trio(cleanup, "async");
    await cluster.start();
    for (let i = 0; i < 32; i++) await write(cluster, "hq", i * MIB, 1);
    await equal(cluster, "hq");
    await cluster.cli(["pause", "--link", "hq-metro"]);
    await write(cluster, "hq", 3 * MIB, 7);
    await cluster.kill("hq");
    await cluster.cli(["promote", "metro", "--yes"]);
    await write(cluster, "metro", 5 * MIB, 8);
    await cluster.start("hq");
    await equal(cluster, "metro");
    const { sentBytes } = await cluster.link("metro-hq", "metro");
    // A MiB on each side, and what frames and records take.
    assertEquals(sentBytes < 2.2 * MIB, true, `${sentBytes} bytes were sent`);
    const kept = Array.from(Deno.readDirSync(join(cluster.dir("hq"), "abandoned")));
    assertEquals(kept.length, 1);
    const folder = join(cluster.dir("hq"), "abandoned", kept[0]!.name);
    const lost = join(cleanup.folder, "lost");
    await cluster.cli(["log", "extract", folder, "--to", lost]);
    const image = Deno.readFileSync(join(lost, "data.img"));
    assertEquals([image[3 * MIB], image[4 * MIB - 1], image[5 * MIB]], [7, 7, undefined]);
  },
);

e2e("clients of a promoted node do not wait for the dead one", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "metro"],
    // Far longer than this test may take.
    links: [{ from: "hq", to: "metro", mode: "sync", timeout: "1h" }],
    exporting: ["metro"],
    tcp: true,
  });
  await cluster.start();
  await cluster.converged();
  await cluster.kill("hq");
  const { code, stderr } = await cluster.cli(["promote", "metro", "--yes"]);
  assertEquals(code, 0, stderr);
  const client = await NbdClient.connect(cluster.socket("metro"));
  await client.write(0, new Uint8Array(4096).fill(7));
  await client.flush();
  await cluster.start("hq");
  await equal(cluster, "metro");
  await until("they are in step", async () => {
    return (await cluster.link("metro-hq", "metro")).state === "streaming";
  });
  await client.write(4096, new Uint8Array(4096).fill(8));
  await client.flush();
  client.close();
  await equal(cluster, "metro");
});

e2e("a node goes on under another parent, and back again", [], async (cleanup) => {
  const cluster = trio(cleanup, "async");
  await cluster.start();
  await write(cluster, "hq", 0, 1);
  await equal(cluster, "hq");
  await cluster.kill("metro");
  await write(cluster, "hq", MIB, 2);
  const plan = await cluster.cli(["reparent", "dr", "--to", "hq", "--dry-run"]);
  assertMatch(plan.stdout, /dr would be fed by hq instead of metro: from the log/);
  for (let i = 0; i < 2; i++) await cluster.cli(["reparent", "dr", "--to", "hq"]);
  await until("dr has all", async () => {
    return (await cluster.status("dr")).lsn.applied === (await cluster.status("hq")).lsn.appended;
  });
  const circle = await cluster.cli(["reparent", "hq", "--to", "dr"], { codes: null });
  assertMatch(circle.stderr, /hq is the primary/);
  await cluster.start("metro");
  await cluster.cli(["reparent", "dr", "--to", "metro"]);
  await write(cluster, "hq", 2 * MIB, 3);
  await equal(cluster, "hq");
});

e2e("two that were promoted at once stay apart until somebody decides", [], async (cleanup) => {
  const cluster = trio(cleanup, "async");
  await cluster.start();
  await write(cluster, "hq", 0, 1);
  await equal(cluster, "hq");
  for (const node of ["hq", "dr"]) await cluster.kill(node);
  await cluster.cli(["promote", "metro", "--yes"]);
  await write(cluster, "metro", MIB, 2);
  await cluster.kill("metro");
  await cluster.start("dr");
  await cluster.cli(["promote", "dr", "--yes"]);
  await write(cluster, "dr", 2 * MIB, 3);
  cluster.spawn("metro");
  for (const node of ["metro", "dr"]) {
    await until(`${node} tells of it`, async () => {
      const { tree } = await cluster.status(node);
      return /metro and dr|dr and metro/.test(tree?.conflict ?? "");
    });
  }
  const before = await cluster.cli(["resolve", "--keep", "dr", "--dry-run"]);
  assertMatch(before.stdout, /metro/);
  await cluster.cli(["resolve", "--keep", "dr", "--yes"]);
  // Once more, as whoever was cut off would: it is decided, and the files are written.
  const again = await cluster.cli(["resolve", "--keep", "dr", "--yes", "--write"]);
  assertMatch(again.stdout, /dr is the primary already[^]*dr: written: /);
  await cluster.start("hq");
  await equal(cluster, "dr");
  const kept = Array.from(Deno.readDirSync(join(cluster.dir("metro"), "abandoned")));
  assertEquals(kept.length, 1);
});
