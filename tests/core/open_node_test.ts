import { assert, assertEquals } from "@std/assert";
import type { NodeConfig } from "../../core/config.ts";
import { CascadeError } from "../../core/errors.ts";
import { type OpenedNode, openNode } from "../../core/open_node.ts";
import type { Network } from "../../core/ports.ts";
import { StateFile } from "../../core/state.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { MemoryDisk } from "../support/memory_disk.ts";
import {
  assertRejectsCode,
  CountingRandom,
  makeEpoch,
  MemoryJournal,
  noHooks,
} from "../support/small.ts";
import { makeReign } from "../support/rig.ts";
import { treeOf } from "./tree/made_up_tree.ts";

const DIR = "/nodes/hq";
const EVENTS = { onDurable() {}, onRoom() {}, onDiskFull() {}, onFatal() {} };

function makeConfig(change: Partial<NodeConfig> = {}): NodeConfig {
  return {
    cluster: "payroll",
    name: "hq",
    role: "primary",
    dir: DIR,
    secret: new Uint8Array(0),
    tls: null,
    listen: [],
    volumes: [{ name: "data", sizeBytes: 1024 * 1024, path: "/vols/data" }],
    log: { budgetBytes: 512 * 1024, segmentBytes: 64 * 1024, deltaBudgetBytes: 512 * 1024 },
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
    downstream: [],
    nodeNames: ["hq"],
    tree: null,
    startAlone: "always",
    ...change,
  };
}

function makeDisk(): MemoryDisk {
  const disk = new MemoryDisk();
  for (const folder of ["/nodes", "/vols"]) disk.makeFolder(folder);
  return disk;
}

function open(disk: MemoryDisk, change: Partial<NodeConfig> = {}): Promise<OpenedNode> {
  const network: Network = {
    dial: () => Promise.reject(new CascadeError("unreachable", "nobody")),
    listen: () => Promise.reject(new CascadeError("address-in-use", "taken")),
  };
  const ports = {
    disk,
    network,
    clock: new ManualClock(),
    random: new CountingRandom(),
    journal: new MemoryJournal(),
    hooks: noHooks,
  };
  return openNode(makeConfig(change), ports, EVENTS);
}

async function close(node: OpenedNode): Promise<void> {
  await node.log.close();
  for (const volume of node.volumes) volume.close();
  node.lock.close();
}

/** A node that ran: two writes of a first reign in its log. */
async function makeUsed(): Promise<MemoryDisk> {
  const disk = makeDisk();
  const node = await open(disk);
  for (const record of makeReign(makeEpoch(1, 0), 2)) node.log.append(record);
  node.log.requestFlush();
  await node.log.flushed();
  await close(node);
  return disk;
}

Deno.test("the first start makes folder, volume and state, and makes their names durable", async () => {
  const disk = makeDisk();
  const node = await open(disk);
  assertEquals(node.state.base, { data: "blank" });
  assertEquals([node.log.startLsn, node.log.endLsn, node.history.last], [0, 0, null]);
  const flushed = disk.events.filter((event) => event.startsWith("flush "));
  for (const folder of ["/nodes", DIR, "/vols", `${DIR}/log`]) {
    assertEquals(flushed.includes(`flush ${folder}`), true, folder);
  }
  await close(node);
  assertEquals(disk.openCount, 0);
});

Deno.test("the notes of the volumes' owner are durable before the state file tells of them", async () => {
  const disk = makeDisk();
  await close(await open(disk));
  const { events } = disk;
  const note = events.indexOf("flush /vols/data.cascade");
  const folder = events.indexOf("flush /vols", note);
  const state = events.indexOf(`rename ${DIR}/state.json.new ${DIR}/state.json`);
  assert(note >= 0 && note < folder && folder < state, events.join("\n"));
  // So later one is missed, and no other file is taken in its place.
  disk.remove("/vols/data.cascade");
  await assertRejectsCode(open(disk), "wrong-volume");
  assertEquals(disk.openCount, 0);
});

Deno.test("a node that ran comes back with its log and its history", async () => {
  const node = await open(await makeUsed());
  assertEquals(node.history.epochs, [makeEpoch(1, 0)]);
  assertEquals(node.log.durableLsn, node.log.endLsn);
  await close(node);
});

Deno.test("a second process on the same folder is refused", async () => {
  const disk = makeDisk();
  const node = await open(disk);
  await assertRejectsCode(open(disk), "locked");
  await close(node);
});

Deno.test("another cluster's, node's or role's folder is refused, and left closed", async () => {
  const disk = await makeUsed();
  const volumes = [{ name: "data", sizeBytes: 2 * 1024 * 1024, path: "/vols/data" }];
  const changes: Partial<NodeConfig>[] = [
    { cluster: "other" },
    { name: "dr" },
    { role: "secondary" },
    { volumes },
    { volumes: [] },
  ];
  for (const change of changes) {
    await assertRejectsCode(open(disk, change), "wrong-folder");
    assertEquals(disk.openCount, 0);
  }
});

Deno.test("a folder says who reigns, whatever the topology file says by now", async () => {
  const disk = await makeUsed();
  const other = treeOf({ hq: "dr" });
  const nodes = [
    { ...other.nodes[1]!, role: "secondary" as const },
    { ...other.nodes[0]!, name: "dr", role: "primary" as const },
  ];
  const tree = { nodes, links: other.links };
  const upstream = tree.links[0]!;
  const hq = await open(disk, { role: "secondary", upstream, tree });
  assertEquals([hq.config.role, hq.config.upstream, hq.state.view?.primary], [
    "primary",
    null,
    "hq",
  ]);
  assertEquals(hq.config.downstream.map(({ from, to, dial }) => [from, to, dial]), [
    ["hq", "dr", "from"],
  ]);
  await close(hq);
});

Deno.test("a log whose state file is gone is not taken for a new node's", async () => {
  const disk = await makeUsed();
  disk.remove(`${DIR}/state.json`);
  await assertRejectsCode(open(disk), "state-corrupt");
  assertEquals([disk.openCount, disk.exists(`${DIR}/state.json`)], [0, false]);
});

Deno.test("a crash before the first state was saved leaves a start that can be done again", async () => {
  const disk = makeDisk();
  disk.beforeFlush = (path) =>
    path.endsWith(".new")
      ? Promise.reject(new CascadeError("disk-failed", "no"))
      : Promise.resolve();
  await assertRejectsCode(open(disk), "disk-failed");
  assertEquals(disk.openCount, 0);
  disk.beforeFlush = () => Promise.resolve();
  await close(await open(disk));
});

Deno.test("an image that is adopted is durable before the page cache forgets it, and only once", async () => {
  const disk = makeDisk();
  const ofVolume = () => disk.events.filter((event) => event.endsWith(" /vols/data"));
  disk.place("/vols/data", new Uint8Array(1024 * 1024).fill(7));
  await close(await open(disk));
  assertEquals(ofVolume().slice(0, 2), ["flush /vols/data", "forget /vols/data"]);
  disk.events.length = 0;
  await close(await open(disk));
  assertEquals(ofVolume().filter((event) => event.startsWith("forget")), []);
});

Deno.test("whatever is in the way of a start, nothing stays open", async () => {
  const disk = await makeUsed();
  disk.beforeFlush = (path) =>
    path === DIR ? Promise.reject(new CascadeError("disk-failed", "no")) : Promise.resolve();
  await assertRejectsCode(open(disk), "disk-failed");
  assertEquals(disk.openCount, 0);
});

Deno.test("epochs whose records the log dropped come from the state file", async () => {
  const disk = await makeUsed();
  const state = new StateFile(disk, DIR);
  const saved = state.load();
  // An epoch that the log holds is taken from the log, whatever the state file says of it.
  await state.save({ ...saved!, history: [makeEpoch(1, 0, "other")] });
  const node = await open(disk);
  assertEquals(node.history.epochs, [makeEpoch(1, 0)]);
  await close(node);
});
