/**
 * Volumes that something else writes: `capture: scan`, with real processes.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { cascadeArgs, Cluster, type ClusterSpec, type NodeSettings } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { assertSameImages } from "./support/images.ts";
import { Background, type Outcome, run } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;

/** A pair; nothing but the file of `hq` is there yet. */
function scanned(
  cleanup: Cleanup,
  spec: Partial<ClusterSpec> = {},
  hq: NodeSettings = {},
): Cluster {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", dial: "from" }],
    ...spec,
    settings: { hq: { capture: "scan", nbd: [], ...hq } },
  });
  const size = spec.volumes?.["data"] ?? "64MiB";
  Deno.createSync(cluster.image("hq")).close();
  Deno.truncateSync(cluster.image("hq"), Number(size.replace("MiB", "")) * MIB);
  return cluster;
}

/** Something else writes the volume. */
function write(cluster: Cluster, offset: number, bytes: Uint8Array, node = "hq"): void {
  using file = Deno.openSync(cluster.image(node), { write: true });
  file.seekSync(offset, Deno.SeekMode.Start);
  for (let at = 0; at < bytes.length;) at += file.writeSync(bytes.subarray(at));
}

function random(length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let at = 0; at < length; at += 65_536) {
    crypto.getRandomValues(bytes.subarray(at, at + 65_536));
  }
  return bytes;
}

function sync(cluster: Cluster, ...args: string[]): Promise<Outcome> {
  const all = cascadeArgs("sync", "-t", cluster.topologyPath, "--node", "hq", ...args);
  return run(Deno.execPath(), all, { codes: null });
}

/** A sync that ships so much, and what is at dr then. */
async function synced(cluster: Cluster, size: RegExp, ...args: string[]): Promise<void> {
  const { code, stdout, stderr } = await sync(cluster, ...args);
  assertEquals([code, stderr], [0, ""]);
  assertMatch(stdout, size);
  await same(cluster);
}

async function same(cluster: Cluster): Promise<void> {
  await until("what was synced is applied", async () => {
    const { lsn } = await cluster.status("dr");
    return lsn.applied === lsn.appended;
  });
  await assertSameImages(cluster);
}

function diskBytes(path: string): number {
  return (Deno.statSync(path).blocks ?? 0) * 512;
}

e2e("a file that something else writes is synced, what changed of it, and nothing twice", [
  "fallocate",
], async (cleanup) => {
  const cluster = scanned(cleanup);
  write(cluster, 10 * MIB, random(5 * MIB + 100));
  write(cluster, 40 * MIB + 5000, random(2 * MIB));
  await cluster.start("dr");
  const plan = await sync(cluster, "--dry-run");
  assertEquals([plan.code, plan.stderr], [0, ""]);
  assertMatch(plan.stdout, /^to sync: hq-dr 7\.?\d*MiB of /);
  assertEquals((await cluster.status("dr")).lsn.appended, 0, "a plan sends nothing");
  await synced(cluster, /^synced: hq-dr 7\.?\d*MiB of \S+ written in \S+\n$/);
  assert(diskBytes(cluster.image("dr")) < 9 * MIB, "holes stay holes");
  await synced(cluster, /^nothing to sync: hq-dr\n$/);
  write(cluster, 3 * MIB + 1, random(1));
  write(cluster, 12 * MIB, random(8192));
  await run("fallocate", ["-p", "-o", `${11 * MIB}`, "-l", `${MIB}`, cluster.image("hq")]);
  assertMatch((await sync(cluster, "--dry-run")).stdout, /^to sync: hq-dr 1\.?\d*MiB of /);
  await synced(cluster, /^synced: hq-dr (12|16|20)\.?\d*KiB of /);
  await synced(cluster, /^nothing to sync: hq-dr\n$/);
});

e2e("a scan that is killed, again and again, is gone on with", [], async (cleanup) => {
  const cluster = scanned(cleanup, { volumes: { data: "256MiB" } });
  write(cluster, 0, random(128 * MIB));
  await cluster.start("dr");
  const args = cascadeArgs("sync", "-t", cluster.topologyPath, "--node", "hq", "--json");
  let stagedBytes = 0;
  let kills = 0;
  for (const wantedBytes of [0, 1, 32 * MIB, 64 * MIB]) {
    const killed = new Background("sync", Deno.execPath(), args, join(cluster.folder, "sync.out"));
    cleanup.defer(() => killed.kill());
    const isFar = async () => {
      const status = await cluster.status("hq").catch(() => null);
      const delta = status?.links[0]?.delta ?? null;
      stagedBytes = Math.max(stagedBytes, delta?.bytesStaged ?? 0);
      return wantedBytes === 0 ? status?.scan?.state === "scanning" : stagedBytes >= wantedBytes;
    };
    await until("the sync is so far, or over", async () => killed.status !== null || await isFar());
    if (killed.status === null) kills++;
    await killed.kill();
    write(cluster, 200 * MIB + kills * 4096, random(4096));
  }
  assert(kills > 0, "a sync was killed");
  const { links: [last] } = JSON.parse((await sync(cluster, "--json")).stdout);
  assertEquals(last.outcome === "failed", false);
  assert(last.sentBytes < 130 * MIB - stagedBytes, `${last.sentBytes} beyond ${stagedBytes}`);
  await same(cluster);
  await synced(cluster, /^nothing to sync/);
});

e2e("a replica that was tampered with is made good by --full", [], async (cleanup) => {
  const cluster = scanned(cleanup);
  write(cluster, MIB, random(20 * MIB));
  await cluster.start("dr");
  await synced(cluster, /^synced/);
  await cluster.stop("dr");
  write(cluster, 5 * MIB + 17, random(10_000), "dr");
  write(cluster, 50 * MIB, random(1), "dr");
  await cluster.start("dr");
  assertMatch((await sync(cluster)).stdout, /^nothing to sync/);
  await synced(cluster, /^synced: hq-dr (16|20)\.?\d*KiB of /, "--full");
  await synced(cluster, /^nothing to sync/, "--full");
});

e2e("what is scanned is a snapshot, and it is removed again", [], async (cleanup) => {
  const snapshot = join(cleanup.folder, "snapshot");
  const image = join(cleanup.folder, "hq.data.img");
  const cluster = scanned(cleanup, {}, {
    beforeScan: `echo making it; cp --reflink=auto --sparse=always ${image} ${snapshot} && ` +
      `dd if=/dev/urandom of=${image} bs=4096 count=1 conv=notrunc status=none && ` +
      `echo ${snapshot}`,
    afterScan: ["rm", snapshot],
  });
  const old = random(MIB);
  write(cluster, 0, old);
  await cluster.start("dr");
  const { code, stderr } = await sync(cluster);
  assertEquals([code, stderr], [0, ""]);
  assertEquals((await Deno.readFile(cluster.image("dr"))).subarray(0, MIB), old);
  assertEquals(await exists(snapshot), false);
});

e2e("a hook that fails, hangs or says nonsense ends the sync, and nothing is sent", [], async (
  cleanup,
) => {
  const after = join(cleanup.folder, "after");
  const cases = [
    {
      beforeScan: "echo no room for it >&2; exit 5",
      says: /beforeScan failed: it ended with 5: no/,
    },
    { beforeScan: "sleep 600 & sleep 600", says: /beforeScan failed: it had not ended after 1s/ },
    { beforeScan: "echo snapshot", says: /beforeScan is to print the absolute path.*"snapshot"/ },
    { beforeScan: "echo /nowhere/at/all", says: /nowhere/ },
    { beforeScan: ["/nowhere/hook"], says: /beforeScan failed: / },
  ];
  const cluster = scanned(cleanup);
  write(cluster, 0, random(MIB));
  await cluster.start("dr");
  for (const { beforeScan, says } of cases) {
    change(cluster, { beforeScan, afterScan: `echo >> ${after}`, hookTimeout: "1s" });
    const { code, stdout, stderr } = await sync(cluster);
    assertEquals([code, stdout], [1, ""], stderr);
    assertMatch(stderr, says);
  }
  assertEquals((await Deno.readTextFile(after)).length >= cases.length, true);
  assertEquals((await cluster.status("dr")).lsn.appended, 0, "nothing was sent");
  change(cluster, { beforeScan: undefined, afterScan: "echo still mounted >&2; exit 1" });
  const { code, stderr } = await sync(cluster);
  assertEquals(code, 1);
  assertMatch(stderr, /afterScan failed: it ended with 1: still mounted/);
  await same(cluster);
});

e2e(
  "a sync that is interrupted or killed leaves no snapshot for good, and no two overlap",
  [],
  async (
    cleanup,
  ) => {
    const hooks = join(cleanup.folder, "hooks");
    const go = join(cleanup.folder, "go");
    const image = join(cleanup.folder, "hq.data.img");
    const cluster = scanned(cleanup, {}, {
      beforeScan:
        `echo before >> ${hooks}; until test -e ${go}; do sleep 0.05; done; echo ${image}`,
      afterScan: `echo after >> ${hooks}`,
    });
    write(cluster, 0, random(MIB));
    await cluster.start("dr");
    const said = () => Deno.readTextFile(hooks).then((text) => text.split(/\s+/).filter(Boolean));
    const begin = async (count: number) => {
      const args = cascadeArgs("sync", "-t", cluster.topologyPath, "--node", "hq");
      const output = join(cluster.folder, `sync.${count}`);
      const one = new Background("sync", Deno.execPath(), args, output);
      cleanup.defer(() => one.kill());
      await until("its hook runs", async () => (await said().catch(() => [])).length >= count);
      return one;
    };
    const killed = await begin(1);
    const second = await sync(cluster);
    assertEquals(second.code, 1);
    assertMatch(second.stderr, /a sync of hq runs already/);
    assertMatch((await sync(cluster, "--skip-if-running")).stdout, /^skipped: /);
    await killed.kill();
    assertEquals(await said(), ["before"]);
    const interrupted = await begin(3);
    interrupted.signal("SIGTERM");
    await Deno.writeTextFile(go, "");
    await interrupted.ended;
    assertEquals(await said(), ["before", "after", "before", "after"]);
    await synced(cluster, /^synced: hq-dr 1\.?\d*MiB of /);
    assertEquals((await said()).slice(4), ["before", "after"]);
  },
);

e2e("a node that serves scans by itself, and when a sync asks for it", [], async (cleanup) => {
  const cluster = scanned(cleanup, {
    links: [{ from: "hq", to: "dr", mode: "periodic", every: "1s" }],
  });
  write(cluster, 7 * MIB, random(MIB));
  await cluster.start();
  await until("the first run is through", async () => {
    return (await cluster.status("dr")).lsn.appended > MIB;
  });
  await same(cluster);
  write(cluster, 9 * MIB, random(100));
  const before = (await cluster.status("dr")).lsn.appended;
  await until("the next run is through", async () => {
    return (await cluster.status("dr")).lsn.appended > before;
  });
  await same(cluster);
  write(cluster, 19 * MIB, random(100));
  const report = JSON.parse((await sync(cluster, "--json")).stdout);
  assertEquals(report.beside, true);
  await same(cluster);
});

/** The topology says otherwise from now on. */
function change(cluster: Cluster, settings: Record<string, unknown>): void {
  const text = JSON.parse(Deno.readTextFileSync(cluster.topologyPath));
  Object.assign(text.nodes.hq, settings);
  Deno.writeTextFileSync(cluster.topologyPath, JSON.stringify(text));
}

async function exists(path: string): Promise<boolean> {
  return await Deno.stat(path).then(() => true, () => false);
}
