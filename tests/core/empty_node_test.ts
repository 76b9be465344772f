import { assertEquals } from "@std/assert";
import type { NodeConfig } from "../../core/config.ts";
import { emptyNode } from "../../core/empty_node.ts";
import { type NodeState, StateFile } from "../../core/state.ts";
import { makeHost, makeState } from "../support/link_host.ts";
import { MemoryDisk } from "../support/memory_disk.ts";
import { makeRig } from "../support/rig.ts";
import { assertRejectsCode, MemoryJournal } from "../support/small.ts";
import { quickClock } from "./delta/made_up_log.ts";

const SIZE = 4096;

/** The stopped node "b" with all that one has. */
async function makeNode(change: Partial<NodeState> = {}) {
  const disk = new MemoryDisk();
  for (const folder of ["/b", "/b/log", "/b/maps"]) disk.makeFolder(folder);
  for (const path of ["/b/log/1.segment", "/b/maps/b-c.map"]) {
    disk.place(path, new Uint8Array(10));
  }
  disk.place("/b.img", new Uint8Array(SIZE).fill(7));
  await new StateFile(disk, "/b").save({ ...makeState(), ...change });
  const base = makeHost(await makeRig(), new MemoryJournal()).config;
  const volumes = [{ name: "data", sizeBytes: SIZE, path: "/b.img" }];
  const config: NodeConfig = { ...base, volumes };
  return { disk, config };
}

Deno.test("an emptied node has blank volumes, and no log, maps or state", async () => {
  const { disk, config } = await makeNode();
  await emptyNode(config, disk, quickClock);
  assertEquals(disk.file("/b.img").bytes, new Uint8Array(SIZE));
  assertEquals([...disk.list("/b/log"), ...disk.list("/b/maps")], []);
  assertEquals(new StateFile(disk, "/b").load(), null);
});

Deno.test("the state goes before anything of the image does", async () => {
  const { disk, config } = await makeNode();
  const remove = disk.remove.bind(disk);
  disk.remove = (path) => {
    remove(path);
    if (path.endsWith("state.json")) throw new Error("the power is gone");
  };
  await emptyNode(config, disk, quickClock).catch(() => {/* as it should */});
  assertEquals(disk.file("/b.img").bytes, new Uint8Array(SIZE).fill(7));
  assertEquals(disk.list("/b/log").length, 1);
  disk.remove = remove;
  await emptyNode(config, disk, quickClock);
  assertEquals(disk.file("/b.img").bytes, new Uint8Array(SIZE));
});

for (const change of [{ node: "c" }, { cluster: "other" }, { reigned: true }]) {
  Deno.test(`the folder of another is not emptied: ${JSON.stringify(change)}`, async () => {
    const { disk, config } = await makeNode(change);
    await assertRejectsCode(emptyNode(config, disk, quickClock), "wrong-folder");
    assertEquals(disk.file("/b.img").bytes[0], 7);
  });
}

Deno.test("neither a node that runs nor the volume of another is emptied", async () => {
  const { disk, config } = await makeNode();
  const lock = disk.open("/b/lock", { create: true, lock: true });
  await assertRejectsCode(emptyNode(config, disk, quickClock), "locked");
  lock.close();
  const note = '{"cluster":"payroll","node":"x","volume":"data"}\n';
  disk.place("/b.img.cascade", new TextEncoder().encode(note));
  await assertRejectsCode(emptyNode(config, disk, quickClock), "wrong-volume");
  assertEquals(disk.file("/b.img").bytes[0], 7);
  assertEquals(disk.exists("/b/state.json"), true);
});
