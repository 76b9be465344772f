/**
 * What links ask of their node, over a rig: what tests of whole links stand on.
 *
 * @module
 */
import type { LinkHost } from "../../core/link/host.ts";
import { Pauses } from "../../core/link/pauses.ts";
import { TimeIndex } from "../../core/link/time_index.ts";
import type { Journal, Network } from "../../core/ports.ts";
import { PrimaryClock } from "../../core/primary_clock.ts";
import type { Rig } from "./rig.ts";
import { CountingRandom, makeLink } from "./small.ts";

const VOLUME_BYTES = 1024 * 1024;

/** A network with nobody on it. */
const NOBODY: Network = {
  dial: () => Promise.reject(new Error("nobody")),
  listen: () => Promise.reject(new Error("nobody")),
};

/** A node "b" below "a", as its links see it. */
export function makeHost(rig: Rig, journal: Journal, network: Network = NOBODY): LinkHost {
  const { pipeline, disk, clock } = rig;
  const none = () => {};
  return {
    config: {
      cluster: "payroll",
      name: "b",
      role: "secondary",
      dir: "/b",
      secret: new Uint8Array(8),
      listen: ["tcp://b:1"],
      volumes: [{ name: "data", sizeBytes: VOLUME_BYTES, path: "/data" }],
      log: { budgetBytes: 1024 * 1024, segmentBytes: 64 * 1024, deltaBudgetBytes: 1024 * 1024 },
      nbd: [],
      capture: "nbd",
      beforeScan: null,
      afterScan: null,
      allowInconsistent: false,
      beforeInconsistent: null,
      upstream: makeLink(),
      downstream: [],
      nodeNames: ["a", "b"],
    },
    ports: {
      disk,
      clock,
      journal,
      random: new CountingRandom(),
      network,
    },
    pipeline,
    times: new TimeIndex(),
    tide: new PrimaryClock(clock, null),
    pauses: new Pauses([], () => Promise.resolve()),
    instance: "1",
    base: { data: "blank" },
    adoptBase: () => Promise.resolve(),
    groupReceivedLsn: () => Infinity,
    groupDurableLsn: () => Infinity,
    onAppended: none,
    onLinkProgress: none,
    onTide: none,
    room: () => Promise.resolve(),
    onCutBack: none,
    onRefusedForGood: none,
    recovery: null,
    subtree: () => [],
    onFatal: (error) => rig.fatal.push(error),
  };
}
