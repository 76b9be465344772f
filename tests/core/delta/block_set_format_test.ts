import { assertEquals, assertThrows } from "@std/assert";
import { crc32 } from "node:zlib";
import fc from "fast-check";
import { BlockSet } from "../../../core/delta/block_set.ts";
import { decodeBlockSet, encodeBlockSet, sourceOf } from "../../../core/delta/block_set_format.ts";
import { CascadeError } from "../../../core/errors.ts";
import { GOLDEN_SET_SIZES, goldenSet, joined } from "../../golden/delta_list.ts";

const GOLDEN = Deno.readFileSync(
  new URL("../../golden/delta/block-set-v1.bin", import.meta.url),
);
const decode = (bytes: Uint8Array, sizes: readonly number[]) =>
  decodeBlockSet(sourceOf(bytes), sizes);

function sealed(bytes: Uint8Array): Uint8Array {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  view.setUint32(bytes.length - 4, crc32(bytes.subarray(0, -4)), true);
  return bytes;
}

Deno.test("a block set of version 1 is the golden bytes, and is read from them", () => {
  assertEquals(joined(encodeBlockSet(goldenSet())), GOLDEN);
  const set = decode(GOLDEN, GOLDEN_SET_SIZES);
  assertEquals([...set.extents()], [...goldenSet().extents()]);
});

Deno.test("a flipped bit, a cut or something behind is always found", () => {
  const set = new BlockSet([50_000, 9]);
  set.add(0, 3, 9_000);
  set.add(1, 8, 1);
  const bytes = joined(encodeBlockSet(set));
  for (let bit = 0; bit < bytes.length * 8; bit++) {
    const damaged = Uint8Array.from(bytes);
    damaged[bit >>> 3]! ^= 1 << (bit & 7);
    assertThrows(() => decode(damaged, set.sizes), CascadeError, "damaged");
  }
  for (let end = 0; end < bytes.length; end++) {
    assertThrows(() => decode(bytes.subarray(0, end), set.sizes), CascadeError, "damaged");
  }
  assertThrows(() => decode(joined([bytes, new Uint8Array(1)]), set.sizes), CascadeError, "behind");
});

Deno.test("a set of other volumes is refused", () => {
  assertThrows(() => decode(GOLDEN, [1]), CascadeError, "3 volumes");
  assertThrows(() => decode(GOLDEN, [2 ** 50, 10_001, 0]), CascadeError, "volume 0 has");
});

Deno.test("what is read is what was written, and has one form", () => {
  const sizes = [2 ** 28 + 1, 3 * 512 * 32_768 + 700];
  const range = fc.record({
    volume: fc.constantFrom(0, 1),
    place: fc.double({ min: 0, max: 1, noNaN: true }),
    length: fc.oneof(fc.integer({ min: 0, max: 9_000 }), fc.integer({ min: 0, max: 40_000_000 })),
  });
  fc.assert(
    fc.property(fc.constantFrom(512, 4096), fc.array(range), (blockBytes, ranges) => {
      const set = new BlockSet(sizes, blockBytes);
      for (const { volume, place, length } of ranges) {
        const offset = Math.floor(place * sizes[volume]!);
        set.add(volume, offset, Math.min(length, sizes[volume]! - offset));
      }
      const bytes = joined(encodeBlockSet(set));
      const read = decode(bytes, sizes);
      assertEquals([...read.extents()], [...set.extents()]);
      assertEquals(joined(encodeBlockSet(read)), bytes);
    }),
    { numRuns: 40 },
  );
});

Deno.test("any bytes are refused, or are the one form of what they say", () => {
  const sizes = [512 * 40_000, 100];
  const start = new BlockSet(sizes, 512);
  start.add(0, 0, 2_000);
  start.add(0, 512 * 32_768, 512 * 7_232);
  const good = joined(encodeBlockSet(start));
  const change = fc.tuple(fc.nat(good.length - 5), fc.integer({ min: 0, max: 255 }));
  fc.assert(
    fc.property(fc.array(change, { maxLength: 4 }), fc.uint8Array(), (changes, noise) => {
      const bytes = Uint8Array.from(good);
      for (const [at, value] of changes) bytes[at] = value;
      for (const candidate of [sealed(bytes), Uint8Array.from(noise)]) {
        let read: BlockSet;
        try {
          read = decode(candidate, sizes);
        } catch (error) {
          assertEquals(error instanceof CascadeError && error.code, "state-corrupt");
          continue;
        }
        assertEquals(joined(encodeBlockSet(read)), Uint8Array.from(candidate));
      }
    }),
    { numRuns: 500 },
  );
});
