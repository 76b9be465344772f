import { assertEquals, assertRejects } from "@std/assert";
import { assert } from "../../../core/assert.ts";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { CascadeError } from "../../../core/errors.ts";
import type { Bytes, DataRange } from "../../../core/ports.ts";
import { blankDigests } from "../../../core/scan/digests.ts";
import { HashMap } from "../../../core/scan/hash_map.ts";
import { HashMapWriter } from "../../../core/scan/hash_map_writer.ts";
import { hashHere, type OpenHasher } from "../../../core/scan/hasher.ts";
import { dataPieces, PIECE_BYTES } from "../../../core/scan/plan.ts";
import { type ScanRequest, scanVolume } from "../../../core/scan/scan.ts";
import { DenoClock } from "../../../io/clock.ts";
import { Prng } from "../../sim/prng.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

const MIB = 1024 * 1024;
const clock = new DenoClock();
const position = { lsn: 16, epochId: "0".repeat(32) };

/** A volume in memory whose scans follow each other, each against the map of the one before. */
class Scans {
  readonly disk = new MemoryDisk();
  readonly volume: Bytes;
  readonly owner;
  readonly key;
  readonly progress = { doneBytes: 0, readBytes: 0 };

  constructor(sizeBytes: number, blockBytes = 4096) {
    this.volume = this.disk.place("/v", new Uint8Array(sizeBytes)).bytes;
    this.disk.makeFolder("/m");
    this.owner = { cluster: "c", node: "n", volume: "v", volumeBytes: sizeBytes };
    this.key = { seed: new Uint8Array(32).fill(1), blockBytes };
  }

  async scan(extra: Partial<ScanRequest> = {}): Promise<BlockSet | null> {
    const { disk, volume } = this;
    const changed = new BlockSet([volume.length]);
    const old = HashMap.open(disk, "/m/v.hashes", this.owner);
    const place = { disk, folder: "/m", name: "v.hashes" };
    const map = new HashMapWriter(place, this.owner, this.key);
    Object.assign(this.progress, { doneBytes: 0, readBytes: 0 });
    try {
      const whole = await scanVolume({
        ...{ disk, openHasher: hashHere({ disk, clock }), path: "/v", sizeBytes: volume.length },
        ...{ old: old ?? blankDigests(this.key), map, changed, volume: 0 },
        ...{ stopped: () => false, progress: this.progress },
        ...extra,
      });
      if (whole) await map.finish(position);
      else map.discard();
      return whole ? changed : null;
    } catch (error) {
      map.discard();
      throw error;
    } finally {
      old?.close();
    }
  }
}

/** The blocks of 4 KiB in which two images differ. */
function differing(one: Bytes, other: Bytes, blockBytes: number): BlockSet {
  const set = new BlockSet([one.length]);
  for (let at = 0; at < one.length; at += blockBytes) {
    const end = Math.min(one.length, at + blockBytes);
    for (let byte = at; byte < end; byte++) {
      if (one[byte] === other[byte]) continue;
      set.add(0, at, end - at);
      break;
    }
  }
  return set;
}

function scribble(prng: Prng, volume: Bytes): void {
  const start = prng.below(volume.length);
  const range = volume.subarray(start, start + 1 + prng.below(prng.chance(0.2) ? 5 * MIB : 9_000));
  if (prng.chance(0.4)) range.fill(0);
  else prng.fill(range);
}

for (const blockBytes of [4096, 16_384]) {
  Deno.test(`scans tell the blocks of ${blockBytes} bytes that changed, and no others`, async () => {
    const prng = new Prng(blockBytes);
    const scans = new Scans(26 * MIB + 700, blockBytes);
    for (let round = 0; round < 12; round++) {
      const before = round === 0 ? new Uint8Array(scans.volume.length) : scans.volume.slice();
      const writes = prng.below(6);
      for (let i = 0; i < writes; i++) scribble(prng, scans.volume);
      scans.disk.holes = prng.chance(0.7);
      const changed = await scans.scan();
      assert(changed !== null, "the scan went to its end");
      assertEquals(
        [...changed.extents()],
        [...differing(before, scans.volume, blockBytes).extents()],
      );
      assertEquals(scans.progress.doneBytes, scans.volume.length);
      assertEquals(scans.disk.openCount, 0);
    }
  });
}

Deno.test("holes are not read", async () => {
  const scans = new Scans(64 * MIB);
  scans.volume.fill(1, 40 * MIB, 40 * MIB + 10);
  assertEquals((await scans.scan())?.countBytes(), 4096);
  assertEquals(scans.progress.readBytes, 65_536);
});

Deno.test("a scan that is stopped or fails leaves the map before, and nothing open", async () => {
  const scans = new Scans(40 * MIB);
  scans.volume.fill(1);
  await scans.scan();
  scans.volume.fill(2, 0, 4096);
  const kept = scans.disk.file("/m/v.hashes").bytes.slice();
  for (const pieces of [0, 1, 3]) {
    let left = pieces;
    assertEquals(await scans.scan({ stopped: () => left-- <= 0 }), null);
  }
  for (const depth of [1, 4]) {
    const failing: OpenHasher = async (path, key) => {
      const hasher = await hashHere({ disk: scans.disk, clock })(path, key);
      return {
        ...hasher,
        depth,
        hash: (offset, length) =>
          offset === 2 * PIECE_BYTES
            ? Promise.reject(new CascadeError("disk-failed", "a bad sector"))
            : hasher.hash(offset, length),
      };
    };
    await assertRejects(() => scans.scan({ openHasher: failing }), CascadeError, "a bad sector");
  }
  await assertRejects(() => scans.scan({ path: "/other" }), CascadeError);
  assertEquals(scans.disk.openCount, 0);
  assertEquals(scans.disk.file("/m/v.hashes").bytes, kept);
  assertEquals((await scans.scan())?.countBytes(), 4096);
});

Deno.test("a file that became shorter reads as zeroes behind its end", async () => {
  const scans = new Scans(8 * MIB);
  scans.volume.fill(1);
  await scans.scan();
  scans.disk.file("/v").bytes = scans.volume.slice(0, 5 * MIB);
  const changed = await scans.scan();
  assertEquals([...changed!.extents()], [{ volume: 0, offset: 5 * MIB, length: 3 * MIB }]);
});

Deno.test("pieces cover all data once, in order, and lie within one stretch each", () => {
  const prng = new Prng(4);
  for (let round = 0; round < 200; round++) {
    const sizeBytes = 1 + prng.below(64 * MIB);
    const ranges: DataRange[] = [];
    // Now and then more than are asked for in one go.
    const gap = round % 20 === 0 ? 60_000 : 5 * MIB;
    for (let at = prng.below(3 * MIB); at < sizeBytes;) {
      const end = Math.min(sizeBytes, at + 1 + prng.below(prng.chance(0.3) ? 4 * gap : 70_000));
      ranges.push({ start: at, end });
      at = end + 1 + prng.below(prng.chance(0.5) ? 9_000 : gap);
    }
    const file = {
      dataRanges: (offset: number, length: number, rangesMax = Infinity) =>
        ranges.map(({ start, end }) => ({
          start: Math.max(start, offset),
          end: Math.min(end, offset + length),
        })).filter(({ start, end }) => start < end).slice(0, rangesMax),
    };
    let at = 0;
    const pieces = [...dataPieces(file, sizeBytes)];
    for (const { start, end } of pieces) {
      assert(start >= at && end > start && end <= sizeBytes, "in order");
      assert(start % 65_536 === 0 && (end % 65_536 === 0 || end === sizeBytes), "whole blocks");
      assert(Math.floor(start / PIECE_BYTES) === Math.floor((end - 1) / PIECE_BYTES), "a stretch");
      at = end;
    }
    for (const range of ranges) {
      let covered = range.start;
      for (const { start, end } of pieces) if (start <= covered && end > covered) covered = end;
      assert(covered >= range.end, `seed 4, round ${round}: all data is covered`);
    }
  }
});
