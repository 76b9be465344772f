import { assertEquals, assertThrows } from "@std/assert";
import { assert } from "../../../core/assert.ts";
import { CascadeError } from "../../../core/errors.ts";
import { BlockDigester } from "../../../core/scan/block_digest.ts";
import { SECTION_DIGEST_BYTES } from "../../../core/scan/digests.ts";
import { HashMap } from "../../../core/scan/hash_map.ts";
import { HashMapWriter } from "../../../core/scan/hash_map_writer.ts";
import {
  GOLDEN_MAP_KEY,
  GOLDEN_MAP_OWNER,
  GOLDEN_MAP_POSITION,
  goldenMap,
} from "../../golden/scan_list.ts";
import { Prng } from "../../sim/prng.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

const GOLDEN = await Deno.readFile(new URL("../../golden/scan/hash-map-v1.bin", import.meta.url));
const PATH = "/m/data.hashes";

function open(bytes: Uint8Array, owner = GOLDEN_MAP_OWNER): HashMap | null {
  const disk = new MemoryDisk();
  disk.place(PATH, bytes);
  return HashMap.open(disk, PATH, owner);
}

function readAll(map: HashMap): Map<number, string> {
  const found = new Map<number, string>();
  const digests = new Uint8Array(SECTION_DIGEST_BYTES);
  for (let section = map.next(0); section !== null; section = map.next(section + 1)) {
    map.read(section, digests);
    found.set(section, digests.toHex());
  }
  return found;
}

Deno.test("a hash map of version 1 is the golden bytes, and is read from them", async () => {
  assertEquals(await goldenMap(), GOLDEN);
  const map = open(GOLDEN);
  assert(map !== null, "there is a map");
  assertEquals(map.position, GOLDEN_MAP_POSITION);
  assertEquals(map.key, GOLDEN_MAP_KEY);
  assertEquals([...readAll(map).keys()], [0, 1, 1536]);
  const digester = new BlockDigester(GOLDEN_MAP_KEY);
  digester.room.set(Uint8Array.from({ length: 4096 }, (_, i) => i % 251));
  const block = digester.digest(4096).toHex();
  const blank = "0".repeat(32);
  assertEquals(readAll(map).get(0), block + blank.repeat(1022) + block);
  assertEquals(readAll(map).get(1), block + blank.repeat(1023));
  const digests = new Uint8Array(SECTION_DIGEST_BYTES).fill(1);
  map.read(7, digests);
  assertEquals(digests, new Uint8Array(SECTION_DIGEST_BYTES));
});

Deno.test("a map of another volume or size is refused", () => {
  for (
    const other of [{ cluster: "x" }, { node: "x" }, { volume: "x" }, { volumeBytes: 4096 }]
  ) {
    const error = assertThrows(
      () => open(GOLDEN, { ...GOLDEN_MAP_OWNER, ...other } as typeof GOLDEN_MAP_OWNER),
      CascadeError,
    );
    assertEquals(error.code, "wrong-volume");
  }
  assertEquals(HashMap.open(new MemoryDisk(), PATH, GOLDEN_MAP_OWNER), null);
});

Deno.test("no flipped bit and no cut is believed", () => {
  const whole = open(GOLDEN);
  assert(whole !== null, "there is a map");
  const wanted = readAll(whole);
  const prng = new Prng(1);
  const refused = (bytes: Uint8Array) => {
    const error = assertThrows(() => {
      const map = open(bytes);
      assert(map !== null, "there is a map");
      readAll(map);
    }, CascadeError);
    assertEquals(error.code, "state-corrupt");
    assert(error.where["file"] === PATH, "the error names the file");
  };
  for (let round = 0; round < 600; round++) {
    const bytes = GOLDEN.slice();
    // The head has most to go wrong; it is met as often as all the rest.
    const at = prng.below(round % 2 === 0 ? 128 : bytes.length);
    bytes[at]! ^= 1 << prng.below(8);
    refused(bytes);
  }
  for (let round = 0; round < 100; round++) refused(GOLDEN.slice(0, prng.below(GOLDEN.length)));
  refused(Uint8Array.of(...GOLDEN, 0));
  assertEquals(readAll(whole), wanted);
});

Deno.test("any bytes are refused as damage, and as nothing else", () => {
  const prng = new Prng(2);
  for (let round = 0; round < 300; round++) {
    const bytes = new Uint8Array(prng.below(20_000));
    prng.fill(bytes);
    if (round % 3 === 0) bytes.set(GOLDEN.subarray(0, Math.min(prng.below(200), bytes.length)));
    const error = assertThrows(() => open(bytes), CascadeError);
    assertEquals(error.code, "state-corrupt");
  }
});

Deno.test("blocks that are noted again replace what a scan had found, across sections", async () => {
  const prng = new Prng(3);
  const volumeBytes = 12 * 1024 * 1024 + 100;
  const owner = { ...GOLDEN_MAP_OWNER, volumeBytes };
  const blocks = Math.ceil(volumeBytes / 4096);
  const volume = new Uint8Array(volumeBytes);
  const disk = new MemoryDisk();
  disk.makeFolder("/m");
  const writer = new HashMapWriter(
    { disk, folder: "/m", name: "data.hashes" },
    owner,
    GOLDEN_MAP_KEY,
  );
  for (let round = 0; round < 60; round++) {
    const first = prng.below(blocks);
    const end = Math.min(blocks, first + 1 + prng.below(prng.chance(0.2) ? 2_000 : 8));
    const range = volume.subarray(first * 4096, end * 4096);
    if (prng.chance(0.3)) {
      range.fill(0);
      writer.noteZeroes(first * 4096, range.length);
    } else {
      prng.fill(range);
      writer.note(first * 4096, range.slice());
    }
  }
  await writer.finish(GOLDEN_MAP_POSITION);
  assertEquals(disk.openCount, 0);
  const map = HashMap.open(disk, PATH, owner);
  assert(map !== null, "there is a map");
  const digester = new BlockDigester(GOLDEN_MAP_KEY);
  const digests = new Uint8Array(SECTION_DIGEST_BYTES);
  for (let block = 0; block < blocks; block++) {
    if (block % 1024 === 0) map.read(block / 1024, digests);
    const bytes = volume.subarray(block * 4096, (block + 1) * 4096);
    digester.room.set(bytes);
    const at = block % 1024 * 16;
    assertEquals(digests.slice(at, at + 16), digester.digest(bytes.length).slice());
  }
});

Deno.test("a map that is given up leaves the one before", async () => {
  const disk = new MemoryDisk();
  disk.makeFolder("/m");
  disk.place(PATH, GOLDEN);
  const place = { disk, folder: "/m", name: "data.hashes" };
  const writer = new HashMapWriter(place, GOLDEN_MAP_OWNER, GOLDEN_MAP_KEY);
  writer.note(0, new Uint8Array(4096).fill(1));
  writer.discard();
  assertEquals(disk.list("/m"), ["data.hashes"]);
  assertEquals(disk.file(PATH).bytes, GOLDEN);
  assertEquals(disk.openCount, 0);
  await new HashMapWriter(place, GOLDEN_MAP_OWNER, GOLDEN_MAP_KEY).finish(GOLDEN_MAP_POSITION);
  assertEquals(HashMap.open(disk, PATH, GOLDEN_MAP_OWNER)?.sections, 0);
});
