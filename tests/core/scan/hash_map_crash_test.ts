/** A crash at every step of replacing a hash map, on a disk that loses and tears what is not flushed. */
import { assertEquals } from "@std/assert";
import { assert } from "../../../core/assert.ts";
import { HashMap } from "../../../core/scan/hash_map.ts";
import { HashMapWriter } from "../../../core/scan/hash_map_writer.ts";
import { SECTION_DIGEST_BYTES } from "../../../core/scan/digests.ts";
import type { CrashKind } from "../../sim/life.ts";
import { FOLDER, LogWorld } from "../log/world.ts";

const OWNER = { cluster: "c", node: "n", volume: "v", volumeBytes: 64 * 1024 * 1024 };
const KEY = { seed: new Uint8Array(32).fill(3), blockBytes: 4096 };
const NAME = "v.hashes";

async function write(world: LogWorld, lsn: number): Promise<void> {
  const writer = new HashMapWriter({ disk: world.disk, folder: FOLDER, name: NAME }, OWNER, KEY);
  for (let section = 0; section < 4; section++) {
    writer.put(section, new Uint8Array(SECTION_DIGEST_BYTES).fill(lsn + section));
  }
  writer.note(4096, new Uint8Array(4096).fill(lsn));
  await writer.finish({ lsn, epochId: "0".repeat(32) });
}

async function crashIn(kind: CrashKind, operations: number, seed: number): Promise<boolean> {
  const world = new LogWorld(seed);
  await world.settle(write(world, 32));
  world.dieAfter(operations);
  let isSaved = false;
  try {
    await world.settle(write(world, 64));
    isSaved = true;
  } catch (error) {
    if (world.life.alive) throw error;
  }
  world.crash(kind);
  const found = HashMap.open(world.disk, `${FOLDER}/${NAME}`, OWNER);
  assert(found !== null, "there is a map after a crash");
  const { lsn } = found.position;
  assertEquals(isSaved ? lsn : [32, 64].includes(lsn), isSaved ? 64 : true);
  const digests = new Uint8Array(SECTION_DIGEST_BYTES);
  for (let section = 1; section < 4; section++) {
    found.read(section, digests);
    assertEquals(digests, new Uint8Array(SECTION_DIGEST_BYTES).fill(lsn + section));
  }
  found.close();
  return isSaved;
}

for (const kind of ["process", "power"] as const) {
  Deno.test(`a hash map is the old or the new one after any crash (${kind})`, async () => {
    for (let seed = 1; seed <= 5; seed++) {
      let operations = 1;
      while (!await crashIn(kind, operations, seed)) operations++;
      assert(operations > 5, "a save has several steps, and each was met");
    }
  });
}
