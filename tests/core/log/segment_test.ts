import { crc32 } from "node:zlib";
import { assertEquals } from "@std/assert";
import fc from "fast-check";
import { assert } from "../../../core/assert.ts";
import { SECTOR_BYTES } from "../../../core/limits.ts";
import {
  decodeHeaderPage,
  encodeHeader,
  encodeWatermark,
  HEADER_PAGE_READ_BYTES,
  SegmentState,
} from "../../../core/log/segment.ts";
import { SegmentFolder } from "../../../core/log/segment_file.ts";
import { recover } from "../../../core/log/recovery.ts";
import {
  GOLDEN_BASE_LSN,
  GOLDEN_END_LSN,
  GOLDEN_EPOCH,
  GOLDEN_JUMP_FROM_LSN,
  GOLDEN_LOG,
  GOLDEN_SEGMENT_BYTES,
  GOLDEN_WATERMARKS,
} from "../../golden/log_list.ts";
import { FOLDER, LogWorld } from "./world.ts";

function goldenFile(name: string): Uint8Array {
  return Deno.readFileSync(new URL(`../../golden/log/${name}`, import.meta.url));
}

Deno.test("segment files of version 1 are the golden bytes", () => {
  for (const { name, make } of GOLDEN_LOG.filter(({ name }) => name.startsWith("segment"))) {
    assertEquals(make(), goldenFile(name), name);
  }
});

Deno.test("golden header pages are read back as what they say", () => {
  assertEquals(decodeHeaderPage(goldenFile("segment-v1-stream.seg")), {
    header: {
      kind: "whole",
      value: {
        state: SegmentState.STREAM,
        baseLsn: GOLDEN_BASE_LSN,
        fileBytes: GOLDEN_SEGMENT_BYTES,
      },
    },
    slots: GOLDEN_WATERMARKS.map((value) => ({ kind: "whole", value })),
  });
  assertEquals(decodeHeaderPage(goldenFile("segment-v1-jump.seg")).header, {
    kind: "whole",
    value: {
      state: SegmentState.STREAM,
      baseLsn: GOLDEN_BASE_LSN,
      fileBytes: GOLDEN_SEGMENT_BYTES,
      jumpFromLsn: GOLDEN_JUMP_FROM_LSN,
    },
  });
  assertEquals(decodeHeaderPage(goldenFile("segment-v1-free.seg")), {
    header: {
      kind: "whole",
      value: { state: SegmentState.FREE, baseLsn: 0, fileBytes: GOLDEN_SEGMENT_BYTES },
    },
    slots: [{ kind: "blank" }, { kind: "blank" }],
  });
});

Deno.test("a golden log is recovered", async () => {
  const world = new LogWorld();
  world.host.place(`${FOLDER}/000007.seg`, goldenFile("segment-v1-stream.seg"));
  world.host.place(`${FOLDER}/000001.seg`, goldenFile("segment-v1-free.seg"));
  const folder = new SegmentFolder(world.disk, FOLDER, true);
  const found = await world.settle(recover(folder, world.clock, GOLDEN_BASE_LSN));
  assertEquals(found.endLsn, GOLDEN_END_LSN);
  assertEquals(found.watermark, GOLDEN_WATERMARKS[0]);
  assertEquals(found.report.epochs, [GOLDEN_EPOCH]);
  assertEquals([found.report.records, found.report.lastTimeMs], [5, 2 ** 53 - 1]);
  assertEquals(found.survey.free.map(({ name }) => name), ["000001.seg"]);
});

const number = fc.integer({ min: 0, max: Number.MAX_SAFE_INTEGER });

Deno.test("headers and watermarks are read back as they were written", () => {
  fc.assert(fc.property(number, number, number, (a, b, c) => {
    const header = { state: SegmentState.STREAM, baseLsn: a, fileBytes: b };
    const mark = { sequence: a, durableLsn: b, upstreamMark: c };
    const page = new Uint8Array(HEADER_PAGE_READ_BYTES);
    page.set(encodeHeader(header), 0);
    page.set(encodeWatermark(mark), 2 * SECTOR_BYTES);
    assertEquals(decodeHeaderPage(page), {
      header: { kind: "whole", value: header },
      slots: [{ kind: "blank" }, { kind: "whole", value: mark }],
    });
  }));
});

Deno.test("the header of a jump is read back, and makes no sense unless it leads ahead", () => {
  fc.assert(fc.property(number, number, (a, b) => {
    const header = { state: SegmentState.STREAM, baseLsn: a, fileBytes: 0, jumpFromLsn: b };
    const page = new Uint8Array(HEADER_PAGE_READ_BYTES);
    page.set(encodeHeader(header), 0);
    const found = decodeHeaderPage(page).header;
    assertEquals(found, b < a ? { kind: "whole", value: header } : { kind: "damaged" });
  }));
});

Deno.test("flags that this version does not know are foreign, not damage", () => {
  const page = goldenFile("segment-v1-jump.seg").slice(0, HEADER_PAGE_READ_BYTES);
  for (let bit = 0; bit < 32; bit++) {
    page.set(goldenFile("segment-v1-jump.seg").subarray(0, SECTOR_BYTES));
    page[28 + (bit >> 3)]! ^= 1 << (bit & 7);
    const view = new DataView(page.buffer);
    view.setUint32(SECTOR_BYTES - 4, crc32(page.subarray(0, SECTOR_BYTES - 4)), true);
    const { header } = decodeHeaderPage(page);
    const flags = (1 ^ (1 << bit)) >>> 0;
    // Without its flag, where the log before it ended has no meaning.
    const wanted = bit === 0 ? { kind: "damaged" } : { kind: "foreign", version: 1, flags };
    assertEquals<unknown>(header, wanted);
  }
});

for (const name of ["stream", "jump"]) {
  Deno.test(`a flipped bit in any byte of a header page (${name}) is found where it is`, () => {
    const page = goldenFile(`segment-v1-${name}.seg`).slice(0, HEADER_PAGE_READ_BYTES);
    for (let bit = 0; bit < page.length * 8; bit++) {
      page[bit >> 3]! ^= 1 << (bit & 7);
      const { header, slots } = decodeHeaderPage(page);
      const kinds = [header, ...slots].map(({ kind }) => kind);
      const wanted = ["whole", "whole", "whole"];
      wanted[Math.floor(bit / 8 / SECTOR_BYTES)] = "damaged";
      assertEquals(kinds, wanted, `bit ${bit}`);
      page[bit >> 3]! ^= 1 << (bit & 7);
    }
  });
}

Deno.test("any bytes of a header page are judged without a crash", () => {
  const bytes = fc.uint8Array({
    minLength: HEADER_PAGE_READ_BYTES,
    maxLength: HEADER_PAGE_READ_BYTES,
  });
  fc.assert(fc.property(bytes, (page) => {
    assert(decodeHeaderPage(page).header.kind !== "whole", "noise is no header");
  }));
});
