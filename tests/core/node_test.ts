import { assertEquals } from "@std/assert";
import type { NodeConfig } from "../../core/config.ts";
import { CascadeError } from "../../core/errors.ts";
import { CascadeNode } from "../../core/node.ts";
import { RECOVERY_WAIT_MS_MIN } from "../../core/node_limits.ts";
import type { Network } from "../../core/ports.ts";
import { StateFile } from "../../core/state.ts";
import { ManualClock, settle, until } from "../support/manual_clock.ts";
import { MemoryDisk } from "../support/memory_disk.ts";
import { makeWrite } from "../support/rig.ts";
import { CountingRandom, makeLink, MemoryJournal, noHooks } from "../support/small.ts";

const DIR = "/nodes/a";
const TIMEOUT_MS = 1000;

/** A primary with one sync peer that never comes. */
function makeConfig(): NodeConfig {
  return {
    cluster: "payroll",
    name: "a",
    role: "primary",
    dir: DIR,
    secret: new Uint8Array(8),
    tls: null,
    listen: [],
    volumes: [{ name: "data", sizeBytes: 1024 * 1024, path: "/vols/data" }],
    log: { budgetBytes: 1024 * 1024, segmentBytes: 64 * 1024, deltaBudgetBytes: 512 * 1024 },
    nbd: [],
    capture: "nbd",
    beforeScan: null,
    afterScan: null,
    allowInconsistent: false,
    beforeInconsistent: null,
    applyDelayMs: 0,
    onMark: null,
    hookTimeoutMs: 60_000,
    upstream: null,
    downstream: [makeLink({ mode: "sync", timeoutMs: TIMEOUT_MS })],
    nodeNames: ["a", "b"],
    tree: null,
    startAlone: "always",
  };
}

function makePorts(disk: MemoryDisk, start = 0) {
  const network: Network = {
    dial: () => Promise.reject(new CascadeError("unreachable", "nobody")),
    listen: () => Promise.reject(new CascadeError("address-in-use", "taken")),
  };
  const clock = new ManualClock();
  const journal = new MemoryJournal();
  return { disk, network, clock, random: new CountingRandom(start), journal, hooks: noHooks };
}

function isClean(disk: MemoryDisk): boolean | undefined {
  return new StateFile(disk, DIR).load()?.clean;
}

/** A disk whose node was killed while it ran. */
async function makeKilled(): Promise<MemoryDisk> {
  const disk = new MemoryDisk();
  for (const folder of ["/nodes", "/vols"]) disk.makeFolder(folder);
  const node = await CascadeNode.start(makeConfig(), makePorts(disk));
  await node.ready;
  node.onFatal(new CascadeError("disk-failed", "killed"));
  await settle();
  assertEquals([isClean(disk), disk.openCount], [false, 0]);
  return disk;
}

/** Stops a node whose clock must be moved for it. */
async function stop(node: CascadeNode, clock: ManualClock): Promise<void> {
  let stopped = false;
  const stopping = node.stop().then(() => stopped = true);
  await until(() => {
    clock.advance(100);
    return stopped;
  }, "the stop");
  await stopping;
}

Deno.test("a first reign begins at LSN 0, and a clean stop continues it", async () => {
  const disk = new MemoryDisk();
  for (const folder of ["/nodes", "/vols"]) disk.makeFolder(folder);
  const ports = makePorts(disk);
  const node = await CascadeNode.start(makeConfig(), ports);
  await node.ready;
  assertEquals(node.pipeline.history.last?.firstLsn, 0);
  await stop(node, ports.clock);
  assertEquals([isClean(disk), disk.openCount], [true, 0]);
  const again = await CascadeNode.start(makeConfig(), makePorts(disk, 99));
  await again.ready;
  assertEquals([again.pipeline.history.lastNumber, isClean(disk)], [1, false]);
  again.onFatal(new CascadeError("disk-failed", "the end of the test"));
  await settle();
});

Deno.test("after a kill a new reign begins, once the sync peers had their time", async () => {
  const disk = await makeKilled();
  const ports = makePorts(disk, 99);
  const node = await CascadeNode.start(makeConfig(), ports);
  await settle();
  assertEquals([node.phase, node.pipeline.history.lastNumber], ["starting", 1]);
  // Longer than the link's timeout: a peer redials only now and then.
  ports.clock.advance(RECOVERY_WAIT_MS_MIN);
  await node.ready;
  assertEquals([node.phase, node.pipeline.history.lastNumber], ["running", 2]);
  assertEquals(node.pipeline.durableLsn, node.pipeline.appendedLsn);
  await stop(node, ports.clock);
  assertEquals(isClean(disk), true);
});

Deno.test("a stop while the lost tail is looked for is not clean: the next start looks again", async () => {
  const disk = await makeKilled();
  for (let turn = 0; turn < 2; turn++) {
    const ports = makePorts(disk, 50 * (turn + 1));
    const node = await CascadeNode.start(makeConfig(), ports);
    await settle();
    assertEquals(node.phase, "starting");
    // Slow enough that the wait is not over before the stop is.
    await node.stop();
    assertEquals([isClean(disk), node.pipeline.history.lastNumber], [false, 1]);
    ports.clock.advance(10 * TIMEOUT_MS);
    await settle();
    assertEquals([node.phase, node.pipeline.history.lastNumber], ["stopped", 1]);
  }
});

Deno.test("a tail that a peer gave back is applied before clients can read", async () => {
  const disk = await makeKilled();
  const node = await CascadeNode.start(makeConfig(), makePorts(disk, 99));
  const endLsn = node.pipeline.appendedLsn;
  node.recovery?.take(makeWrite(1, endLsn, 0, 4096, 42));
  node.recovery?.heard("a-b");
  await node.ready;
  const into = new Uint8Array(4096);
  node.exports[0]?.read(into, 0);
  assertEquals(into, new Uint8Array(4096).fill(42));
  node.onFatal(new CascadeError("disk-failed", "the end of the test"));
  await settle();
});

Deno.test("a volume without room is told once, and once when it has room again", async () => {
  const disk = new MemoryDisk();
  for (const folder of ["/nodes", "/vols"]) disk.makeFolder(folder);
  const ports = makePorts(disk);
  const config = { ...makeConfig(), downstream: [] };
  const node = await CascadeNode.start(config, ports);
  await node.ready;
  const told = () =>
    ports.journal.lines.filter(({ message }) => /volume/.test(message))
      .map(({ level, message }) => `${level} ${message.slice(0, 12)}`);
  const pass = async (ms: number) => {
    for (let at = 0; at < ms; at += 100) {
      ports.clock.advance(100);
      await settle();
    }
  };
  const write = () => {
    node.exports[0]?.write(new Uint8Array(4096).fill(1), 0);
    node.front.requestFlush();
  };
  disk.beforeWrite = (path) => {
    if (path === "/vols/data") throw new CascadeError("disk-full", "no room");
  };
  write();
  await pass(3000);
  assertEquals(told(), ["error the disk of "]);
  // Room for one record is not the end of it.
  disk.beforeWrite = () => {};
  await pass(1500);
  disk.beforeWrite = (path) => {
    if (path === "/vols/data") throw new CascadeError("disk-full", "no room");
  };
  write();
  await pass(3000);
  assertEquals(told(), ["error the disk of "]);
  disk.beforeWrite = () => {};
  await pass(10_000);
  assertEquals(told(), ["error the disk of ", "info the volumes "]);
  await stop(node, ports.clock);
});

Deno.test("a log that cannot grow says so once, and is in the way only without another segment", async () => {
  const disk = new MemoryDisk();
  for (const folder of ["/nodes", "/vols"]) disk.makeFolder(folder);
  const ports = makePorts(disk);
  const node = await CascadeNode.start({ ...makeConfig(), downstream: [] }, ports);
  await node.ready;
  const told = () => ports.journal.lines.filter(({ message }) => /log/.test(message));
  node.onDiskFull(new CascadeError("disk-full", "no room"));
  assertEquals(told().map(({ level }) => level), ["error"]);
  assertEquals(node.status().reason, null, "a segment is free");
  const { log } = node.pipeline;
  while (log.room() >= node.config.log.segmentBytes / 2) {
    node.exports[0]?.write(new Uint8Array(4096).fill(1), 0);
    node.front.commit();
  }
  assertEquals(node.status().reason?.includes("cannot grow"), true);
  node.onDiskFull(null);
  assertEquals(told().map(({ level }) => level), ["error", "info"]);
  assertEquals(node.status().reason, null);
  await stop(node, ports.clock);
});
