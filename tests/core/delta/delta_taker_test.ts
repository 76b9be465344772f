import { assertEquals, assertRejects } from "@std/assert";
import { writeRun } from "../../../core/delta/delta_body.ts";
import type { DeltaHeader } from "../../../core/delta/delta_format.ts";
import { DeltaShelf } from "../../../core/delta/delta_shelf.ts";
import { DeltaTaker, type TakerHost } from "../../../core/delta/delta_taker.ts";
import { CascadeError } from "../../../core/errors.ts";
import { recordBytes, RecordType } from "../../../core/log/record.ts";
import type { Pipeline } from "../../../core/pipeline.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";
import { quickClock } from "./made_up_log.ts";

const SIZE_BYTES = 1024 * 1024;
const BUDGET_BYTES = 64 * 1024;
const RUN_BYTES = 4096;

const HEADER: DeltaHeader = {
  id: "ab".repeat(16),
  cluster: "c",
  epochId: "cd".repeat(16),
  fromLsn: 0,
  source: "volume",
  toLsn: null,
  sinceLsn: 0,
  full: false,
  volumes: [{ name: "data", sizeBytes: SIZE_BYTES }],
};

/** As much of a node as staging asks for, with room for 64 KiB. */
async function makeTaker(): Promise<DeltaTaker> {
  const shelf = await DeltaShelf.open(new MemoryDisk(), "/delta", quickClock);
  const host: Partial<TakerHost> = {
    pipeline: { shelf, stableLsn: 0 } as unknown as Pipeline,
    cluster: "c",
    volumes: [{ name: "data", sizeBytes: SIZE_BYTES }],
    hasVolumes: true,
    budgetBytes: BUDGET_BYTES,
    allowInconsistent: false,
    isFresh: () => false,
    inPlace: () => null,
    isRejoining: () => false,
    trim: () => Promise.resolve(),
  };
  return new DeltaTaker(host as TakerHost);
}

/** Sends records until the taker has no room for them. */
async function outgrow(taker: DeltaTaker): Promise<void> {
  const bytes = recordBytes(RecordType.WRITE, RUN_BYTES);
  const record = new Uint8Array(bytes);
  for (let position = 0, offset = 0;; position += bytes, offset += RUN_BYTES) {
    const run = { type: RecordType.WRITE, flags: 0, volume: 0, offset, length: RUN_BYTES };
    const payload = new Uint8Array(RUN_BYTES).fill(1);
    writeRun(record, 0, { ...run, source: null }, 1, position, payload);
    await taker.take(position, record);
  }
}

Deno.test("a delta that is told to be larger than the room is refused, with what is missing", async () => {
  const taker = await makeTaker();
  const refused = await assertRejects(
    () => taker.begin(HEADER, 0, BUDGET_BYTES + 3 * SIZE_BYTES, null),
    CascadeError,
    "needs 3 MiB more",
  );
  assertEquals(refused.code, "refused");
  await taker.begin(HEADER, 0, 1000, null);
});

Deno.test("a delta that outgrows its word is not believed at once, but in the end", async () => {
  const taker = await makeTaker();
  await taker.begin(HEADER, 0, 1000, null);
  const refused = await assertRejects(() => outgrow(taker), CascadeError, "more than the node");
  assertEquals(refused.code, "refused");
  for (let tries = 0; tries < 2; tries++) {
    const begin = () => taker.begin(HEADER, 0, 1000, null);
    await assertRejects(begin, CascadeError, "more than the node");
  }
  await taker.begin(HEADER, 0, 1000, null);
});
