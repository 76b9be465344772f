import { assert, assertEquals, assertThrows } from "@std/assert";
import fc from "fast-check";
import { CascadeError } from "../../../core/errors.ts";
import { applyPatch, makePatch, type Payload } from "../../../core/link/patch.ts";
import { recordBytes, RecordType, writeRecord } from "../../../core/log/record.ts";
import type { Bytes } from "../../../core/ports.ts";

const BLOCK = 4096;
const VOLUME_BYTES = 64 * BLOCK;

interface Part {
  readonly offset: number;
  readonly length: number;
  readonly isZero: boolean;
}

function recordsOf(parts: readonly Part[], contentAt: (offset: number, length: number) => Bytes) {
  const sizes = parts.map((part) => recordBytes(typeOf(part), part.length));
  const records = new Uint8Array(sizes.reduce((sum, size) => sum + size, 0));
  let at = 0;
  for (const part of parts) {
    const payload = part.isZero ? new Uint8Array(0) : contentAt(part.offset, part.length);
    const { offset, length } = part;
    at += writeRecord(records, at, typeOf(part), 0, 0, 1, at, offset, length, 0, payload);
  }
  return records;
}

function typeOf({ isZero }: Part): RecordType {
  return isZero ? RecordType.ZERO : RecordType.WRITE;
}

function volumeOf(content: Bytes) {
  return {
    sizeBytes: content.length,
    readApplied: (into: Bytes, offset: number) =>
      into.set(content.subarray(offset, offset + into.length)),
  };
}

/** As a peer that holds `theirs` would be compared with. */
function comparing(theirs: Bytes) {
  return ({ offset, bytes }: Payload) => {
    const lacks: number[] = [];
    for (let at = 0; at < bytes.length; at += BLOCK) {
      const mine = bytes.subarray(at, at + BLOCK);
      const own = theirs.subarray(offset + at, offset + at + mine.length);
      if (!mine.every((byte, i) => byte === own[i])) lacks.push(at / BLOCK);
    }
    return Promise.resolve(lacks);
  };
}

function fill(seed: number): Bytes {
  return Uint8Array.from({ length: VOLUME_BYTES }, (_, i) => (i * 7 + (i >> 8) + seed) % 251);
}

const partOf = fc.record({
  offset: fc.integer({ min: 0, max: 47 }).map((block) => block * BLOCK),
  length: fc.integer({ min: 1, max: 16 * BLOCK }),
  isZero: fc.boolean(),
});

Deno.test("a patch gives the very records, whatever the peer has of them", async () => {
  await fc.assert(fc.asyncProperty(
    fc.array(partOf, { minLength: 1, maxLength: 4 }),
    fc.array(fc.integer({ min: 0, max: VOLUME_BYTES - 1 }), { maxLength: 20 }),
    async (parts, changed) => {
      const mine = fill(1);
      const theirs = fill(1);
      for (const at of changed) theirs[at]! ^= 0xff;
      const records = recordsOf(parts, (at, length) => mine.slice(at, at + length));
      const patch = await makePatch(records, comparing(theirs));
      if (patch === null) return;
      assert(patch.length < records.length);
      assertEquals(applyPatch(patch, [volumeOf(theirs)]), records);
    },
  ));
});

Deno.test("of what the peer has, a bit for each block travels, and of what it lacks all", async () => {
  const content = fill(3);
  const part = { offset: 0, length: VOLUME_BYTES, isZero: false };
  const records = recordsOf([part], () => content);
  const theirs = content.slice();
  theirs[5 * BLOCK + 1]! ^= 1;
  const patch = await makePatch(records, comparing(theirs));
  assertEquals(patch?.length, 48 + 8 + BLOCK);
  assertEquals(await makePatch(records, comparing(fill(4))), null);
  assertEquals(await makePatch(records, () => Promise.resolve(null)), null);
});

Deno.test("a peer whose volumes are not what they were taken for stages nothing of it", async () => {
  const content = fill(3);
  const part = { offset: 0, length: VOLUME_BYTES, isZero: false };
  const patch = await makePatch(recordsOf([part], () => content), comparing(content));
  const other = content.slice();
  other[777]! ^= 1;
  const error = assertThrows(() => applyPatch(patch!, [volumeOf(other)]), CascadeError);
  assertEquals([error.code, error.retryable], ["refused", true]);
});

Deno.test("what is no patch is told apart from one, and costs no more than a frame's records", async () => {
  const content = fill(3);
  const part = { offset: 0, length: VOLUME_BYTES, isZero: false };
  const theirs = content.slice();
  theirs[0]! ^= 1;
  const patch = (await makePatch(recordsOf([part], () => content), comparing(theirs)))!;
  const refuses = (bytes: Uint8Array, volumes = [volumeOf(theirs)]) => {
    const error = assertThrows(() => applyPatch(bytes, volumes), CascadeError);
    assert(["protocol", "refused"].includes(error.code), error.code);
  };
  for (let end = 1; end < patch.length; end++) refuses(patch.subarray(0, end));
  refuses(patch, []);
  refuses(patch, [volumeOf(theirs.slice(0, BLOCK))]);
  for (let at = 0; at < 64; at++) {
    const damaged = patch.slice();
    damaged[at]! ^= 0x80;
    refuses(damaged);
  }
  const many = new Uint8Array(patch.length * 40);
  for (let i = 0; i < 40; i++) many.set(patch, i * patch.length);
  refuses(many);
});
