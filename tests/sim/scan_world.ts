/**
 * A cascade whose primary scans a volume that something else writes, through crashes and cuts, from a seed.
 *
 * The oracle knows every image that a snapshot was taken of: whatever a node below holds at a moment when
 * it says that its image is whole is one of these. Without snapshots only the end counts: once the volume
 * is left alone, a sync makes all equal.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import type { LinkConfig, NodeConfig } from "../../core/config.ts";
import { describeError } from "../../core/errors.ts";
import type { CascadeNode } from "../../core/node.ts";
import { type CrashKind, isDeath } from "./life.ts";
import { Prng } from "./prng.ts";
import { type HostEvents, SimHost } from "./sim_host.ts";
import { Violation, World } from "./world.ts";

const KIB = 1024;
const VOLUME = "/vol/data";
const SNAPSHOT = "/vol/snapshot";
const CHAOS_MS = 30_000;
const END_MS_MAX = 400_000;
const STEPS_MAX = 600_000;

/** How a run ended. */
export interface ScanResult {
  readonly seed: number;
  readonly failure: string | null;
  readonly tail: readonly string[];
  readonly syncs: number;
  readonly scans: number;
  /** Images of nodes below that were looked at. */
  readonly looks: number;
}

/** Runs one seed to its end. */
export async function runScanSeed(
  seed: number,
  print: ((line: string) => void) | null = null,
): Promise<ScanResult> {
  const run = new ScanWorld(seed);
  run.world.trace.print = print;
  const onUnhandled = (event: PromiseRejectionEvent) => {
    event.preventDefault();
    if (!isDeath(event.reason)) run.world.fail("correctness", event.reason, "nobody handles: ");
  };
  globalThis.addEventListener("unhandledrejection", onUnhandled);
  try {
    return await run.run();
  } finally {
    globalThis.removeEventListener("unhandledrejection", onUnhandled);
  }
}

/** See the module's text. */
class ScanWorld {
  readonly #seed: number;
  readonly #prng: Prng;
  readonly world: World;
  readonly #hosts: SimHost[];
  readonly #bytes: number;
  readonly #hasSnapshots: boolean;
  readonly #images = new Set<number>();
  /** The same few blocks are written over and over, also while they are scanned and sent. */
  readonly #isNarrow: boolean;
  #isCalm = false;
  #isSyncing = false;
  #isDone = false;
  #counts = { syncs: 0, scans: 0, looks: 0 };

  constructor(seed: number) {
    this.#seed = seed;
    const prng = this.#prng = new Prng(seed).fork("scan");
    this.world = new World(prng.fork("world"));
    this.#bytes = prng.pick([64, 256, 1024]) * KIB + prng.pick([0, 512]);
    this.#hasSnapshots = prng.chance(0.6);
    this.#isNarrow = prng.chance(0.4);
    this.#images.add(crc32(new Uint8Array(this.#bytes)));
    const configs = this.#configs();
    this.#hosts = configs.map((config) => this.#host(config));
  }

  get #primary(): SimHost {
    return this.#hosts[0]!;
  }

  #configs(): NodeConfig[] {
    const prng = this.#prng;
    const link = (from: string, to: string, mode: "async" | "periodic"): LinkConfig => ({
      ...{ name: `${from}-${to}`, from, to, mode, onDisconnect: "degrade", timeoutMs: 1000 },
      ...{ onOverflow: "map", dial: prng.pick(["to", "from"] as const), paused: false },
      addresses: [],
      schedule: mode === "async" ? null : {
        ...{ everyMs: prng.pick([2_000, 10_000]), cron: null, window: null, jitterMs: 0 },
        timezone: null,
      },
      verify: null,
      bandwidth: null,
      compress: "none",
    });
    const modes = () => prng.pick(["async", "periodic"] as const);
    const links = [link("a", "b", modes()), link("b", "c", modes()), link("a", "d", modes())]
      .map((one) => ({
        ...one,
        addresses: [`tcp://${one.dial === "to" ? one.from : one.to}:7420`],
      }));
    const names = ["a", "b", "c", "d"];
    // Too little room for any, for some, or for all that the scans find.
    const room = prng.pick([0, 0.1, 1, 4]) * this.#bytes;
    return names.map((name) => ({
      ...{ cluster: "sim", name, dir: "/srv/cascade", listen: [`tcp://${name}:7420`], nbd: [] },
      role: name === "a" ? "primary" : name === "b" ? "intermediate" : "secondary",
      secret: new TextEncoder().encode("the secret of the simulation"),
      tls: null,
      volumes: [{ name: "data", sizeBytes: this.#bytes, path: VOLUME }],
      log: {
        budgetBytes: 1024 * KIB,
        segmentBytes: 64 * KIB,
        deltaBudgetBytes: name === "a" ? room : 64 * this.#bytes,
      },
      capture: name === "a" ? "scan" : "nbd",
      beforeScan: name === "a" && this.#hasSnapshots ? ["snapshot"] : null,
      afterScan: name === "a" && this.#hasSnapshots ? ["remove"] : null,
      ...{
        allowInconsistent: false,
        beforeInconsistent: null,
        applyDelayMs: 0,
        onMark: null,
        hookTimeoutMs: 60_000,
      },
      upstream: links.find(({ to }) => to === name) ?? null,
      downstream: links.filter(({ from }) => from === name),
      nodeNames: names,
      tree: null,
      startAlone: "always",
    }));
  }

  #host(config: NodeConfig): SimHost {
    const events: HostEvents = {
      onStarted: () => {},
      onReady: () => {},
      onWiped: () => {},
      onGone: (host) => {
        if (host === this.#primary) this.#isSyncing = false;
      },
      onFailed: (host, error) => {
        this.world.fail("correctness", new Violation(`${host.name}: ${describeError(error)}`));
      },
    };
    const hook = (name: string) => this.#snapshot(name);
    const planned = { config, devices: [], isBlank: false, hook };
    const host = new SimHost(this.world, planned, this.#prng.fork(config.name), events);
    for (const folder of ["/", "/vol", "/srv"]) host.disk.placeFolder(folder);
    host.disk.place(VOLUME, new Uint8Array(this.#bytes));
    return host;
  }

  #read(host: SimHost): Uint8Array<ArrayBuffer> {
    const bytes = new Uint8Array(this.#bytes);
    host.disk.image(VOLUME)?.read(bytes, 0);
    return bytes;
  }

  #snapshot(name: string): readonly string[] {
    if (name !== "beforeScan") return [];
    const bytes = this.#read(this.#primary);
    this.#images.add(crc32(bytes));
    this.#primary.disk.place(SNAPSHOT, bytes);
    return [SNAPSHOT];
  }

  /** Something else writes the volume. */
  #scribble(): void {
    const prng = this.#prng;
    const image = this.#primary.disk.image(VOLUME);
    const offset = this.#isNarrow ? 4096 * prng.below(8) : prng.below(this.#bytes);
    const most = prng.chance(0.1) ? this.#bytes : 12 * KIB;
    const length = this.#isNarrow ? 4096 : 1 + prng.below(most);
    const bytes = new Uint8Array(Math.min(length, this.#bytes - offset));
    // Often what was there before: a block that goes back must not be missed.
    if (this.#isNarrow || prng.chance(0.7)) bytes.fill(prng.below(3));
    else prng.fill(bytes);
    image?.write(bytes, offset);
    image?.settleAll();
  }

  #sync(): void {
    const node = this.#primary.node;
    if (node === null || node.phase !== "running" || this.#isSyncing) return;
    this.#isSyncing = true;
    const wasCalm = this.#isCalm;
    const full = !this.#isCalm && this.#prng.chance(0.1);
    const dryRun = !full && !this.#isCalm && this.#prng.chance(0.1);
    node.sync.sync(null, { full, dryRun }).then((report) => {
      if (this.#primary.node !== node) return;
      this.#isSyncing = false;
      this.#counts.syncs++;
      const isDone = report.links.every(({ outcome }) =>
        outcome === "done" || outcome === "nothing"
      );
      this.world.trace.note("driver", "synced", ...report.links.map(({ outcome }) => outcome));
      if (wasCalm && isDone) this.#isDone = true;
    }, (error) => {
      if (this.#primary.node === node) this.#isSyncing = false;
      this.world.trace.note("driver", "sync failed", describeError(error));
    });
  }

  /** What a node below holds when its image is whole. */
  #look(host: SimHost): void {
    const { node } = host;
    if (node === null || host === this.#primary || !isWhole(node)) return;
    this.#counts.looks++;
    if (!this.#hasSnapshots || this.#images.has(crc32(this.#read(host)))) return;
    const { appliedLsn } = node.pipeline;
    throw new Violation(`${host.name} holds at LSN ${appliedLsn} an image that never existed`);
  }

  #act(): void {
    const prng = this.#prng;
    const host = prng.pick(this.#hosts);
    const kind: CrashKind = prng.pick(["process", "power"]);
    const action = prng.below(20);
    if (action < 12) this.#sync();
    else if (action === 12) host.crash(kind);
    else if (action === 13 || action === 14) host.light(1 + prng.below(40), kind);
    else if (action === 15) {
      const other = prng.pick(this.#hosts);
      if (other !== host) this.world.fabric.breakBetween(host.name, other.name);
    } else if (action === 16) host.stop();
    else for (const one of this.#hosts) if (!one.isAlive) one.start();
    for (const one of this.#hosts) this.#look(one);
  }

  /** At a pace of its own. */
  #write(): void {
    const { scheduler } = this.world;
    if (scheduler.nowMs >= CHAOS_MS) return;
    this.#scribble();
    const everyMs = this.#isNarrow ? 3 : 150;
    scheduler.after(this.#prng.exponential(everyMs), null, () => this.#write());
  }

  #drive(): void {
    const { scheduler } = this.world;
    try {
      if (scheduler.nowMs < CHAOS_MS) this.#act();
      else this.#calm();
    } catch (error) {
      this.world.fail("correctness", error);
    }
    scheduler.after(this.#prng.exponential(this.#isCalm ? 50 : 60), null, () => this.#drive());
  }

  #calm(): void {
    if (!this.#isCalm) this.#isSyncing = false;
    this.#isCalm = true;
    for (const one of this.#hosts) {
      if (!one.isAlive) one.start();
      this.#look(one);
    }
    if (this.#isDone) return;
    this.#sync();
  }

  /** All have what the primary has, and it is the volume. */
  #isEqual(): boolean {
    const end = this.#primary.node?.pipeline.appendedLsn;
    if (!this.#isDone || end === undefined) return false;
    return this.#hosts.slice(1).every(({ node }) =>
      node !== null && node.pipeline.appliedLsn === end && isWhole(node)
    );
  }

  async run(): Promise<ScanResult> {
    const { scheduler, trace } = this.world;
    for (const host of this.#hosts) host.start();
    this.#write();
    this.#drive();
    const end = await scheduler.run({
      until: () => this.world.failure !== null || this.#isEqual(),
      timeMsMax: END_MS_MAX,
      stepsMax: STEPS_MAX,
    });
    if (end !== "done") {
      const states = this.#hosts.map(({ name, node }) =>
        `${name}: ${node?.phase} at ${node?.pipeline.appliedLsn} ` +
        node?.status().links.map(({ name, state, reason }) => `${name} ${state} ${reason}`).join(
          "; ",
        )
      );
      this.world.fail(
        "liveness",
        new Violation(`${end} at ${scheduler.nowMs} ms\n${states.join("\n")}`),
      );
    }
    if (this.world.failure === null) {
      const want = crc32(this.#read(this.#primary));
      const wrong = this.#hosts.filter((host) => crc32(this.#read(host)) !== want);
      const names = wrong.map(({ name }) => name).join(", ");
      if (names !== "") this.world.fail("correctness", new Violation(`${names} ended otherwise`));
    }
    const { failure } = this.world;
    return {
      seed: this.#seed,
      failure: failure === null ? null : `${failure.kind}: ${failure.message}`,
      tail: trace.tail(60),
      ...this.#counts,
    };
  }
}

function isWhole({ pipeline, deltas }: CascadeNode): boolean {
  const { appliedLsn, stableLsn } = pipeline;
  return !deltas.isInPlace && !pipeline.isInDelta && appliedLsn <= stableLsn;
}
