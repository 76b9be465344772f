import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import type { Extent } from "../../../core/seed/blocks.ts";
import { alignExtents } from "../../../core/seed/pieces.ts";

Deno.test("extents moved to grains cover the same range, and call nothing zero that is not", () => {
  const lengths = fc.array(
    fc.record({ length: fc.integer({ min: 1, max: 40 }), zero: fc.boolean() }),
    {
      minLength: 1,
      maxLength: 20,
    },
  );
  fc.assert(fc.property(lengths, fc.constantFrom(1, 4, 8, 16), (runs, grain) => {
    let at = 0;
    const extents: Extent[] = runs.map(({ length, zero }) => ({
      start: at,
      end: at += length,
      zero,
    }));
    const aligned = alignExtents(extents, grain);
    let end = 0;
    for (const run of aligned) {
      assertEquals(run.start, end);
      assert(run.end > run.start && (run.end % grain === 0 || run.end === at));
      end = run.end;
      if (!run.zero) continue;
      for (const extent of extents) {
        assert(extent.zero || extent.end <= run.start || extent.start >= run.end);
      }
    }
    assertEquals(end, at);
    for (let i = 1; i < aligned.length; i++) assert(aligned[i]!.zero !== aligned[i - 1]!.zero);
  }));
});
