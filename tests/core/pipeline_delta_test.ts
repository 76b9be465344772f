import { assertEquals, assertRejects } from "@std/assert";
import { writeRun } from "../../core/delta/delta_body.ts";
import type { Delta } from "../../core/delta/delta_shelf.ts";
import { CascadeError } from "../../core/errors.ts";
import { NO_EPOCH } from "../../core/history.ts";
import { recordBytes, RecordType } from "../../core/log/record.ts";
import { settle, until } from "../support/manual_clock.ts";
import { makeRig, type Rig } from "../support/rig.ts";

const RUN_BYTES = 4096;
const RUNS = 32;
const TO_LSN = 1024 * 1024;
const ID = "ab".repeat(16);

/** A delta from LSN 0 on that fills the first runs of the volume with ones, committed. */
async function commit(rig: Rig): Promise<Delta> {
  const volumes = rig.volumes.map(({ name, sizeBytes }) => ({ name, sizeBytes }));
  const incoming = rig.pipeline.shelf.begin({
    ...{ id: ID, cluster: "c", epochId: NO_EPOCH, fromLsn: 0, toLsn: null, sinceLsn: 0 },
    ...{ source: "volume", full: false, volumes },
  });
  const bytes = recordBytes(RecordType.WRITE, RUN_BYTES);
  const record = new Uint8Array(bytes);
  for (let i = 0; i < RUNS; i++) {
    const run = { type: RecordType.WRITE, flags: 0, volume: 0, offset: i * RUN_BYTES };
    const payload = new Uint8Array(RUN_BYTES).fill(1);
    const whole = { ...run, length: RUN_BYTES, source: null };
    writeRun(record, 0, whole, 1, incoming.position, payload);
    incoming.append(record);
  }
  return await rig.pipeline.shelf.commit({
    ...{ id: ID, toLsn: TO_LSN, bodyBytes: RUNS * bytes, records: RUNS, logBytes: TO_LSN },
    ...{ payloadBytes: RUNS * RUN_BYTES, history: [], timeMs: 0 },
  });
}

/** How many runs of the delta the volume holds. */
function runsHeld(rig: Rig): number {
  const { bytes } = rig.disk.file("/data");
  return Array.from({ length: RUNS }, (_, i) => bytes[i * RUN_BYTES]).filter((byte) => byte === 1)
    .length;
}

Deno.test("a node that stops while its log goes on behind a delta leaves all of it applied", async () => {
  const rig = await makeRig({ reigns: false });
  const delta = await commit(rig);
  const gate = Promise.withResolvers<void>();
  rig.disk.beforeFlush = () => gate.promise;
  const taken = rig.pipeline.takeDelta(delta);
  await settle();
  let isStopped = false;
  const stopped = rig.pipeline.stop(() => Promise.resolve()).then(() => isStopped = true);
  await settle();
  assertEquals(runsHeld(rig), 0);
  gate.resolve();
  await until(() => isStopped, "it stops", rig.clock);
  await Promise.all([taken, stopped]);
  assertEquals([rig.pipeline.appliedLsn, runsHeld(rig)], [TO_LSN, RUNS]);
  assertEquals(rig.checkpoints.at(-1), TO_LSN);
});

Deno.test("a node that stops takes no delta any more: its volumes stay as they are", async () => {
  const rig = await makeRig({ reigns: false });
  const delta = await commit(rig);
  const stopped = rig.pipeline.stop(() => Promise.resolve());
  await assertRejects(() => rig.pipeline.takeDelta(delta), CascadeError, "the node stops");
  for (let turn = 0; turn < 20; turn++) {
    rig.clock.advance(10);
    await settle();
  }
  await stopped;
  assertEquals([rig.pipeline.appliedLsn, runsHeld(rig)], [0, 0]);
});
