import { assert, assertEquals } from "@std/assert";
import { seedBar, seedSummary } from "../../cli/ui/seed_view.ts";
import { freshState } from "../../core/seed/seed.ts";

const GIB = 1024 ** 3;

Deno.test("the bar tells share, rate, time left and what was skipped, in any width", () => {
  const state = { ...freshState(0), doneBytes: GIB / 2, zeroBytes: GIB / 4 };
  const figures = { sizeBytes: GIB, start: 0, tookMs: 2000 };
  assertEquals(
    seedBar(state, figures, 100),
    "copying ████████████░░░░░░░░░░░░  50%  512MiB of 1GiB  256MiB/s  2s left  skipped 256MiB",
  );
  for (const width of [1, 20, 40, 60, 79]) assert(seedBar(state, figures, width).length <= width);
  assert(!seedBar({ ...state, phase: "flushing" }, figures, 100).includes("/s"));
  seedBar(freshState(0), { sizeBytes: 0, start: 0, tookMs: 0 }, 80);
});

Deno.test("the summary tells what was written, what was not, and what was done before", () => {
  const state = { ...freshState(GIB), writtenBytes: 4096, equalBytes: GIB };
  assertEquals(
    seedSummary(state, { start: GIB, tookMs: 1500, verified: true }),
    "seeded: 4KiB written, 1GiB equal, 1GiB done before, flushed, verified, in 2s",
  );
});
