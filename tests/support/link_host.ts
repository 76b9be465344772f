/**
 * What links ask of their node, over a rig: what tests of whole links stand on.
 *
 * @module
 */
import type { LinkConfig, NodeConfig } from "../../core/config.ts";
import { Descendants } from "../../core/link/descendants.ts";
import type { LinkHost } from "../../core/link/host.ts";
import { ByHand } from "../../core/link/by_hand.ts";
import { TimeIndex } from "../../core/link/time_index.ts";
import { NodeDeltas } from "../../core/node_deltas.ts";
import type { Journal, Network, Ports } from "../../core/ports.ts";
import { PrimaryClock } from "../../core/primary_clock.ts";
import { type NodeState, STATE_FORMAT } from "../../core/state.ts";
import { firstView } from "../../core/tree/view.ts";
import type { Rig } from "./rig.ts";
import { CountingRandom, makeLink, noHooks } from "./small.ts";

const VOLUME_BYTES = 1024 * 1024;

/** A network with nobody on it. */
const NOBODY: Network = {
  dial: () => Promise.reject(new Error("nobody")),
  listen: () => Promise.reject(new Error("nobody")),
};

function unused(): never {
  throw new Error("no test of links alone needs it");
}

/** A node that has an image. */
export function makeState(): NodeState {
  return {
    format: STATE_FORMAT,
    cluster: "payroll",
    node: "b",
    reigned: false,
    volumes: [],
    base: { data: "blank" },
    checkpointLsn: 0,
    inPlace: null,
    paused: [],
    limited: [],
    runs: [],
    scan: null,
    verified: [],
    view: null,
    rejoin: null,
    cutLsn: null,
    cutKept: null,
    fed: false,
    history: [],
    taken: [],
    clean: true,
  };
}

/** A node "b" below "a", as its links see it. */
export function makeHost(
  rig: Rig,
  journal: Journal,
  network: Network = NOBODY,
  downstream: readonly LinkConfig[] = [],
): LinkHost {
  const { pipeline, disk, clock } = rig;
  const none = () => {};
  const times = new TimeIndex();
  const tide = new PrimaryClock(clock, null);
  const config: NodeConfig = {
    cluster: "payroll",
    name: "b",
    role: "secondary",
    dir: "/b",
    secret: new Uint8Array(8),
    tls: null,
    listen: ["tcp://b:1"],
    volumes: [{ name: "data", sizeBytes: VOLUME_BYTES, path: "/data" }],
    log: { budgetBytes: 1024 * 1024, segmentBytes: 64 * 1024, deltaBudgetBytes: 1024 * 1024 },
    nbd: [],
    capture: "nbd",
    beforeScan: null,
    afterScan: null,
    allowInconsistent: false,
    beforeInconsistent: null,
    applyDelayMs: 0,
    onMark: null,
    hookTimeoutMs: 60_000,
    upstream: makeLink(),
    downstream,
    nodeNames: ["a", "b"],
    tree: null,
    startAlone: "always",
  };
  const ports: Ports = {
    disk,
    clock,
    journal,
    random: new CountingRandom(),
    network,
    hooks: noHooks,
  };
  const view = firstView("a");
  const descendants = new Descendants({ config, pipeline, tree: { seat: { view } } }, []);
  const deltas = new NodeDeltas({
    descendants: () => descendants,
    config,
    ports,
    pipeline,
    times,
    tide,
    hub: unused,
    state: () => makeState(),
    save: unused,
    onFatal: unused,
  });
  return {
    config,
    ports,
    pipeline,
    descendants,
    deltas,
    alone: (work) => work(),
    scans: null,
    advance: () => Promise.resolve(),
    times,
    tide,
    onRequest: false,
    byHand: new ByHand({ paused: [], limited: [] }, () => Promise.resolve()),
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
    view: null,
    isLeaving: false,
    answer: unused,
    markFed: () => Promise.resolve(),
    meet: () => Promise.resolve(null),
    subtree: () => [],
    onFatal: (error) => rig.fatal.push(error),
  };
}
