import { assert, assertEquals } from "@std/assert";
import { RECORD_BYTES_MAX } from "../../../core/limits.ts";
import { SEGMENT_BYTES_MIN } from "../../../core/topology/lint.ts";
import { makeRig } from "../../support/rig.ts";

Deno.test("a node with the smallest segments takes every record that any other node can make", async () => {
  const rig = await makeRig({ segmentBytes: SEGMENT_BYTES_MIN });
  assertEquals(rig.log.recordBytesMax, RECORD_BYTES_MAX);
  assert(rig.pipeline.batchBytesMax >= RECORD_BYTES_MAX);
  await rig.pipeline.stop(null);
});
