import { assertEquals } from "@std/assert";
import type { DeltaHeader } from "../../core/delta/delta_format.ts";
import { CascadeError, isCascadeError } from "../../core/errors.ts";
import { NO_EPOCH } from "../../core/history.ts";
import { NodeDeltas } from "../../core/node_deltas.ts";
import { PrimaryClock } from "../../core/primary_clock.ts";
import { makeHost, makeState } from "../support/link_host.ts";
import { makeRig } from "../support/rig.ts";
import { MemoryJournal } from "../support/small.ts";

const HEADER: DeltaHeader = {
  id: "0".repeat(32),
  cluster: "payroll",
  epochId: NO_EPOCH,
  fromLsn: 0,
  source: "volume",
  toLsn: null,
  sinceLsn: 0,
  full: false,
  volumes: [{ name: "data", sizeBytes: 1024 * 1024 }],
};

Deno.test("a hook that fails is told to the node above, and nothing is taken in place", async () => {
  const rig = await makeRig({ reigns: false });
  const journal = new MemoryJournal();
  const { config, ports, pipeline, times } = makeHost(rig, journal);
  const unused = (): never => {
    throw new Error("the hook did not let it come to that");
  };
  const run = (name: string) =>
    Promise.reject(new CascadeError("hook-failed", `${name} ended with 3: no space`));
  const deltas = new NodeDeltas({
    config: { ...config, allowInconsistent: true, beforeInconsistent: ["snapshot"] },
    ports: { ...ports, hooks: { run } },
    pipeline,
    times,
    tide: new PrimaryClock(rig.clock, null),
    hub: unused,
    descendants: unused,
    state: makeState,
    save: unused,
    onFatal: unused,
  });
  const tooLarge = 2 * config.log.deltaBudgetBytes;
  const error = await deltas.taker.begin(HEADER, 0, tooLarge, null).catch((error) => error);
  assertEquals(isCascadeError(error, "refused"), true, String(error));
  assertEquals(error.message.includes("beforeInconsistent ended with 3: no space"), true);
  assertEquals(journal.lines, []);
});
