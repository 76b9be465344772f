import { assert, assertEquals } from "@std/assert";
import { Buffer } from "node:buffer";
import fc from "fast-check";
import { PageWriter } from "../../../core/log/page_writer.ts";
import { SegmentFile, SegmentFolder } from "../../../core/log/segment_file.ts";
import { PAGE_BYTES } from "../../../core/limits.ts";
import type { Disk, DiskFile } from "../../../core/ports.ts";

/** A file in memory that notes where it was written and read. */
class NotedFile {
  readonly bytes: Uint8Array;
  readonly writes: { offset: number; length: number }[] = [];
  reads = 0;

  constructor(length: number) {
    this.bytes = new Uint8Array(length).fill(0xee);
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    assert(offset + bytes.length <= this.bytes.length, "nothing is written past the end");
    this.bytes.set(bytes, offset);
    this.writes.push({ offset, length: bytes.length });
  }

  readAt(into: Uint8Array, offset: number): void {
    into.set(this.bytes.subarray(offset, offset + into.length));
    if (into.length > 0) this.reads++;
  }

  close(): void {}
}

function segmentOver(file: NotedFile): SegmentFile {
  const disk = { open: () => file as unknown as DiskFile } as unknown as Disk;
  return new SegmentFile(new SegmentFolder(disk, "/log"), "000001.seg");
}

Deno.test("what is appended in any pieces stands in the file, with zeroes up to the next page", () => {
  const lengths = fc.array(
    fc.oneof(
      fc.integer({ min: 1, max: 9000 }),
      fc.constantFrom(4096, 8192, 65536, 65537, 61440, 200_000),
    ),
    { minLength: 1, maxLength: 20 },
  );
  fc.assert(fc.property(lengths, fc.nat(2), (lengths, forgetAt) => {
    const file = new NotedFile(6 * 1024 * 1024);
    const segment = segmentOver(file);
    const writer = new PageWriter();
    let at = PAGE_BYTES;
    const expected = new Uint8Array(file.bytes.length);
    for (const [index, length] of lengths.entries()) {
      if (index === forgetAt) writer.forget();
      const piece = Uint8Array.from({ length }, (_, i) => (i * 7 + index + 1) & 0xff);
      writer.append(segment, piece, at, file.bytes.length);
      expected.set(piece, at);
      at += length;
      const padding = (PAGE_BYTES - at % PAGE_BYTES) % PAGE_BYTES;
      assert(file.bytes.subarray(at, at + padding).every((byte) => byte === 0));
    }
    const found = Buffer.from(file.bytes.buffer, PAGE_BYTES, at - PAGE_BYTES);
    assert(found.equals(expected.subarray(PAGE_BYTES, at)), "the file holds what was appended");
    for (const { offset, length } of file.writes) {
      assertEquals([offset % PAGE_BYTES, length % PAGE_BYTES], [0, 0], "whole pages alone");
    }
  }));
});

Deno.test("the file is read once at the most, for what a page holds already", () => {
  const file = new NotedFile(1024 * 1024);
  const segment = segmentOver(file);
  file.bytes.fill(9, PAGE_BYTES, PAGE_BYTES + 100);
  const writer = new PageWriter();
  for (let i = 0; i < 20; i++) {
    writer.append(segment, new Uint8Array(1000).fill(5), PAGE_BYTES + 100 + i * 1000, 1024 * 1024);
  }
  assertEquals(file.reads, 1);
  assertEquals(
    file.bytes.subarray(PAGE_BYTES, PAGE_BYTES + 101),
    new Uint8Array(101).fill(9).fill(5, 100),
  );
});

Deno.test("a segment that does not end on a page is not made longer", () => {
  const file = new NotedFile(3 * PAGE_BYTES + 512);
  const segment = segmentOver(file);
  const writer = new PageWriter();
  writer.append(
    segment,
    new Uint8Array(2 * PAGE_BYTES + 100).fill(3),
    PAGE_BYTES,
    file.bytes.length,
  );
  assertEquals(file.bytes.at(-1), 0);
  assertEquals(file.bytes[3 * PAGE_BYTES + 99], 3);
});
