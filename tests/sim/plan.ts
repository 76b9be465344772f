/**
 * What a seed stands for: a cascade, its volumes, the work its clients do and the faults it meets.
 * Plain data, so that a failing seed can be shown before it is replayed.
 *
 * @module
 */
import type { LinkConfig, NodeConfig, Schedule, VolumeConfig } from "../../core/config.ts";
import { withMarks } from "./marking.ts";
import type { Prng } from "./prng.ts";

const KIB = 1024;

/** All of the volumes several times over. */
const DELTA_BUDGET_BYTES = 16 * 1024 * KIB;

/** One node of the plan. */
export interface PlannedNode {
  readonly config: NodeConfig;
  /** Volumes that are block devices here, by name; others are regular files. */
  readonly devices: readonly string[];
  /** Its volumes are blank before its first start, whatever those of the others hold. */
  isBlank: boolean;
  /** What its hooks do, by their names; returns what they print. */
  readonly hook?: (name: string) => readonly string[];
}

/** How often what goes wrong, and how the clients work. */
export interface Weather {
  /** Virtual time during which faults happen, ms. */
  readonly chaosMs: number;
  /** Mean time between two faults, ms. */
  readonly faultEveryMs: number;
  /** Nothing happens to the primary itself, only to what is below it. */
  readonly sparesPrimary: boolean;
  /** Kinds of faults that may happen in this run. */
  readonly faults: readonly FaultKind[];
  /** Mean time between two batches of the clients, ms. */
  readonly batchEveryMs: number;
  /** How likely a batch is followed by a flush. */
  readonly flushChance: number;
  /** Longest payload of a write, bytes. */
  readonly payloadBytesMax: number;
  /**
   * Only writes, whose records are as long as an epoch record: wherever a log is cut back, old
   * records then stand at the very places where new ones would.
   */
  readonly isUniform: boolean;
  /** The clients stop after about so much log, bytes. */
  readonly workBytesMax: number;
  /** Whether a failed flush leaves phantoms in the cache. */
  readonly phantom: boolean;
}

/** See tests/sim/faults.ts. */
export const FAULT_KINDS = [
  "kill",
  "power",
  "fuse",
  "blackout",
  "ambush",
  "stop",
  "flush-fails",
  "disk-full",
  "disk-slow",
  "cut",
  "cut-one-way",
  "break",
  "line-slow",
  "clock-jump",
  "rot",
  "pause",
] as const;
/** The same, and what operators ask for. Drawn apart, so that older seeds meet what they met before. */
const LATER_KINDS = ["wipe", "exile", "sync", "aim"] as const;
export type FaultKind = (typeof FAULT_KINDS)[number] | (typeof LATER_KINDS)[number];

/** See the module's text. */
export interface Plan {
  readonly seed: number;
  readonly nodes: readonly PlannedNode[];
  /** Content of the volumes before LSN 0; empty: blank. */
  readonly images: ReadonlyMap<string, Uint8Array>;
  readonly weather: Weather;
  /** Marks are set meanwhile. */
  readonly isMarked: boolean;
}

/** Makes the plan of a seed. */
export function makePlan(seed: number, prng: Prng): Plan {
  const shape = prng.fork("tree");
  const count = shape.between(3, 6);
  const syncChance = shape.pick([0.2, 0.5, 0.9]);
  const names = Array.from({ length: count }, (_, i) => `n${i + 1}`);
  const tidal = prng.fork("tidal");
  const isTidal = tidal.chance(0.25);
  const links = names.slice(1).map((to, i): LinkConfig => {
    // Chains and bushes: the parent is any node above.
    const from = names[shape.chance(0.5) ? i : shape.below(i + 1)] ?? "n1";
    const link = makeLink(shape, from, to, syncChance);
    if (!isTidal || link.mode !== "async") return link;
    return { ...link, mode: "periodic", schedule: makeSchedule(tidal) };
  });
  const lines = prng.fork("lines");
  const tuned = links.map((link) => ({ ...link, ...makeLine(lines) }));
  const sizes = makeVolumes(prng.fork("volumes"));
  const segmentBytes = shape.pick([64, 128, 256]) * KIB;
  // Where the log is short for what is written, whoever is away for long overflows.
  const isTight = prng.fork("tight").chance(0.3);
  const segments = shape.pick([12, 24, 48]);
  const budgetBytes = segmentBytes * (isTight ? 8 : segments);
  const log = { segmentBytes, budgetBytes, deltaBudgetBytes: DELTA_BUDGET_BYTES };
  const images = makeImages(prng.fork("images"), sizes);
  const nodes = names.map((name) => {
    const isLeaf = !links.some((link) => link.from === name);
    return makeNode(prng.fork(`node ${name}`), {
      name,
      names,
      links: tuned,
      sizes,
      log,
      isLeaf,
      images,
    });
  });
  const hasVolumes = (name: string | undefined) =>
    nodes.some(({ config }) =>
      config.name === name && config.volumes.every(({ path }) => path !== null)
    );
  for (const node of nodes) {
    // Nobody but a node with volumes can give a first copy.
    node.isBlank &&= hasVolumes(node.config.upstream?.from);
  }
  const weather = makeWeather(prng.fork("weather"), log, isTight);
  const marked = withMarks(prng.fork("marks"), nodes, weather);
  return { seed, nodes: marked ?? nodes, images, weather, isMarked: marked !== null };
}

function makeLink(prng: Prng, from: string, to: string, syncChance: number): LinkConfig {
  const dial = prng.chance(0.75) ? "to" : "from";
  const mode = prng.chance(syncChance) ? "sync" : prng.chance(0.3) ? "periodic" : "async";
  return {
    name: `${from}-${to}`,
    from,
    to,
    mode,
    schedule: mode === "periodic" ? makeSchedule(prng) : null,
    onDisconnect: prng.chance(0.7) ? "degrade" : "fail",
    timeoutMs: prng.pick([500, 2000, 5000]),
    onOverflow: prng.pick(["map", "map", "stall", "fail"]),
    dial,
    addresses: [`tcp://${dial === "to" ? from : to}:7420`],
    paused: false,
    bandwidth: null,
    compress: "none",
    verify: null,
  };
}

/** Drawn apart, so that older seeds meet what they met before. */
function makeLine(prng: Prng): Pick<LinkConfig, "bandwidth" | "compress"> {
  const rate = prng.chance(0.4) ? prng.pick([128, 512, 2048, 16384]) * KIB : null;
  const window = { fromMinute: 0, toMinute: 12 * 60 };
  // By the clock of a simulation the rate changes only where its clock jumps.
  const windows = prng.chance(0.3) ? [{ window, rate: 4096 * KIB }] : [];
  return {
    bandwidth: rate === null ? null : { otherwise: rate, windows, timezone: "UTC" },
    compress: prng.pick(["none", "auto", { zstd: 1 }] as const),
  };
}

function makeSchedule(prng: Prng): Schedule {
  return {
    everyMs: prng.pick([300, 1000, 4000]),
    cron: null,
    window: null,
    jitterMs: prng.pick([0, 0, 500]),
    timezone: null,
  };
}

function makeVolumes(prng: Prng): VolumeConfig[] {
  return ["data", "wal"].slice(0, prng.between(1, 2)).map((name) => ({
    name,
    sizeBytes: prng.pick([128 * KIB, 300 * KIB + 512, 1024 * KIB]),
    path: null,
  }));
}

function makeImages(prng: Prng, volumes: readonly VolumeConfig[]): Map<string, Uint8Array> {
  const images = new Map<string, Uint8Array>();
  for (const { name, sizeBytes } of volumes) {
    if (!prng.chance(0.3)) continue;
    const image = new Uint8Array(sizeBytes);
    prng.fill(image.subarray(0, prng.below(sizeBytes)));
    images.set(name, image);
  }
  return images;
}

interface NodeShape {
  readonly name: string;
  readonly names: readonly string[];
  readonly links: readonly LinkConfig[];
  readonly sizes: readonly VolumeConfig[];
  readonly log: NodeConfig["log"];
  readonly isLeaf: boolean;
  readonly images: ReadonlyMap<string, Uint8Array>;
}

function makeNode(prng: Prng, shape: NodeShape): PlannedNode {
  const { name, names, links, sizes, log, isLeaf } = shape;
  const upstream = links.find((link) => link.to === name) ?? null;
  const isLogOnly = upstream !== null && prng.chance(isLeaf ? 0.1 : 0.25);
  // Only with volumes that may be inconsistent for a while can a node do with little room for deltas.
  const allowInconsistent = !isLogOnly && prng.chance(0.5);
  const deltaBudgetBytes = allowInconsistent
    ? log.budgetBytes * prng.pick([0.02, 0.5, 4])
    : DELTA_BUDGET_BYTES;
  const devices = sizes.filter(() => prng.chance(0.25)).map((volume) => volume.name);
  const config: NodeConfig = {
    cluster: "sim",
    name,
    role: upstream === null ? "primary" : isLeaf ? "secondary" : "intermediate",
    dir: "/srv/cascade",
    secret: new TextEncoder().encode("the secret of the simulation"),
    tls: null,
    listen: [`tcp://${name}:7420`],
    volumes: sizes.map((volume) => ({
      ...volume,
      path: isLogOnly ? null : `/vol/${volume.name}`,
    })),
    log: { ...log, deltaBudgetBytes },
    nbd: [],
    capture: "nbd",
    beforeScan: null,
    afterScan: null,
    allowInconsistent,
    beforeInconsistent: null,
    applyDelayMs: 0,
    onMark: null,
    hookTimeoutMs: 60_000,
    upstream,
    downstream: links.filter((link) => link.from === name),
    nodeNames: names,
    tree: null,
    startAlone: "always",
  };
  return { config, devices, isBlank: upstream !== null && prng.chance(0.25) };
}

function makeWeather(prng: Prng, log: NodeConfig["log"], isTight: boolean): Weather {
  // Each run leaves some kinds of faults out, so that the others are met in pure form too.
  const later = prng.fork("later kinds");
  const faults = [
    ...FAULT_KINDS.filter(() => prng.chance(0.5)),
    ...LATER_KINDS.filter((kind) => later.chance(kind === "aim" ? 0.8 : 0.4)),
  ];
  const chaosMs = prng.between(5_000, 40_000);
  // A quarter of a segment: the log counts on any record to fit many times.
  const payloadBytesMax = Math.min(prng.pick([2, 8, 32]) * KIB, log.segmentBytes / 4 - KIB);
  // Beyond the budget a log must forget, and links may overflow.
  const budgets = prng.pick([0.2, 0.5, 2]);
  const workBytesMax = log.budgetBytes * (isTight ? 4 : budgets);
  const batches = Math.min(2_000, workBytesMax / (payloadBytesMax + 4 * KIB));
  return {
    chaosMs,
    faultEveryMs: prng.pick([150, 400, 1500, 4000]),
    sparesPrimary: prng.chance(0.1),
    faults,
    batchEveryMs: chaosMs / batches,
    flushChance: prng.pick([0.05, 0.3, 0.9]),
    payloadBytesMax,
    isUniform: prng.chance(0.2),
    workBytesMax,
    phantom: prng.chance(0.5),
  };
}
