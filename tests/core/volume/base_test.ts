import { assertEquals, assertNotEquals } from "@std/assert";
import fc from "fast-check";
import { createHash } from "node:crypto";
import { BLANK, fingerprint } from "../../../core/volume/base.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

const BLOCK = 64 * 1024;

function fingerprintOf(bytes: Uint8Array, holes = true, sizeBytes = bytes.length): Promise<string> {
  const disk = new MemoryDisk();
  disk.holes = holes;
  disk.place("/data", bytes);
  return fingerprint(disk.open("/data"), sizeBytes, new ManualClock());
}

/** The definition, without slices or holes. */
function naive(bytes: Uint8Array): string {
  const hash = createHash("sha256");
  let blank = true;
  for (let at = 0; at < bytes.length; at += BLOCK) {
    const piece = bytes.subarray(at, at + BLOCK);
    if (piece.every((byte) => byte === 0)) continue;
    blank = false;
    const head = new Uint8Array(8);
    new DataView(head.buffer).setBigUint64(0, BigInt(at), true);
    hash.update(head).update(piece);
  }
  return blank ? BLANK : hash.digest("hex");
}

Deno.test("a blank volume is blank, whether it has holes or zeroes", async () => {
  for (const holes of [true, false]) {
    assertEquals(await fingerprintOf(new Uint8Array(3 * BLOCK + 100), holes), BLANK);
  }
});

Deno.test("a fingerprint is of the bytes, not of how they lie on the disk", async () => {
  const places = fc.array(fc.nat(5 * BLOCK + 99), { maxLength: 8 });
  await fc.assert(
    fc.asyncProperty(places, async (offsets) => {
      const bytes = new Uint8Array(5 * BLOCK + 100);
      for (const offset of offsets) bytes[offset] = 1 + offset % 200;
      const expected = naive(bytes);
      assertEquals(await fingerprintOf(bytes, true), expected);
      assertEquals(await fingerprintOf(bytes, false), expected);
    }),
    { numRuns: 50 },
  );
});

Deno.test("one byte, or its place, makes another fingerprint", async () => {
  const images = [0, BLOCK - 1, BLOCK, 2 * BLOCK].map((offset) => {
    const bytes = new Uint8Array(3 * BLOCK);
    bytes[offset] = 1;
    return bytes;
  });
  const found = await Promise.all(images.map((image) => fingerprintOf(image)));
  assertEquals(new Set(found).size, images.length);
  assertNotEquals(found[0], BLANK);
});

Deno.test("what lies past the volume on a larger device does not count", async () => {
  const bytes = new Uint8Array(3 * BLOCK);
  bytes[10] = 1;
  const expected = await fingerprintOf(bytes.slice(0, 2 * BLOCK));
  bytes[2 * BLOCK + 5] = 9;
  assertEquals(await fingerprintOf(bytes, true, 2 * BLOCK), expected);
});
