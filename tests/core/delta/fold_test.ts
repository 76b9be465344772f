import { assertEquals, assertRejects } from "@std/assert";
import { BlockSet } from "../../../core/delta/block_set.ts";
import type { DeltaShelf } from "../../../core/delta/delta_shelf.ts";
import { coversGap, visitExtents } from "../../../core/delta/fold.ts";
import { CascadeError } from "../../../core/errors.ts";
import type { Gap } from "../../../core/log/log.ts";
import { RecordType } from "../../../core/log/record.ts";
import { MadeUpLog, quickClock } from "./made_up_log.ts";

const LOG = new MadeUpLog([
  { type: RecordType.WRITE, volume: 0, offset: 5_000, length: 10 },
  { type: RecordType.MARK, volume: 0, offset: 0, length: 3 },
  { type: RecordType.ZERO, volume: 0, offset: 8_191, length: 2 },
  { type: RecordType.TRIM, volume: 1, offset: 4_999, length: 1 },
]);

/** A log with at most one gap, and no delta for it. */
function sourceOf(gap: Gap | null) {
  const log = {
    read: (lsn: number, into: Uint8Array, limit: number) => LOG.read(lsn, into, limit),
    gaps: gap === null ? [] : [gap],
    gapAt: (lsn: number) => gap !== null && gap.fromLsn <= lsn && lsn < gap.toLsn ? gap : null,
    nextGap: (lsn: number) => gap !== null && gap.fromLsn >= lsn ? gap : null,
  };
  const shelf = { covering: () => null } as unknown as DeltaShelf;
  return { log, shelf, clock: quickClock };
}

Deno.test("writes, zeroes and trims of a log range are visited, and nothing else", async () => {
  const set = new BlockSet([1_000_000, 5_000]);
  await visitExtents(sourceOf(null), 0, LOG.endLsn, (volume, offset, length) => {
    set.add(volume, offset, length);
  });
  const extents = [...set.extents()].map((e) => [e.volume, e.offset, e.length]);
  assertEquals(extents, [[0, 4096, 8192], [1, 4096, 904]]);
});

Deno.test("a gap that nothing tells of is told", async () => {
  const source = sourceOf({ fromLsn: 64, toLsn: LOG.endLsn });
  let visits = 0;
  await assertRejects(
    () => visitExtents(source, 0, LOG.endLsn, () => visits++),
    CascadeError,
    "gone",
  );
  assertEquals(visits, 1);
});

Deno.test("a gap is covered by deltas that lead over all of it, and by nothing less", () => {
  const deltas = [[0, 100], [100, 250]] as const;
  const covering = (lsn: number) => {
    const delta = deltas.find(([fromLsn, toLsn]) => fromLsn <= lsn && lsn < toLsn);
    return delta === undefined ? null : { toLsn: delta[1] };
  };
  const shelf = { covering } as unknown as DeltaShelf;
  // Where a log was cut back, a gap may end within a delta; or behind the last one that is left.
  assertEquals(
    [[0, 250], [50, 200], [100, 250], [250, 250]].map(([a, b]) => coversGap(shelf, a!, b!)),
    [
      true,
      true,
      true,
      true,
    ],
  );
  assertEquals([[0, 251], [200, 300], [250, 251]].map(([a, b]) => coversGap(shelf, a!, b!)), [
    false,
    false,
    false,
  ]);
});
