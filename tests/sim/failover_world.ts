/**
 * A cascade in which the primary changes: nodes die, are promoted, come back and are given other parents,
 * from a seed.
 *
 * The oracle keeps what was written in each epoch. A node's history is a list of epochs, so it knows the one
 * image that the node must hold at the LSN that it has applied, on whatever branch that is. What clients were
 * told to be flushed is there at the end, unless a promotion left it behind that did not have it.
 *
 * @module
 */
import type { LinkConfig, NodeConfig } from "../../core/config.ts";
import { describeError, isCascadeError } from "../../core/errors.ts";
import type { Epoch } from "../../core/history.ts";
import type { CascadeNode } from "../../core/node.ts";
import { type ClusterTree, placeIn } from "../../core/tree/tree.ts";
import { firstView, isPromotedOver } from "../../core/tree/view.ts";
import { Ledger } from "./failover_ledger.ts";
import { type Op, Past, withPast } from "./failover_past.ts";
import { type CrashKind, isDeath } from "./life.ts";
import { hotOffset, rescue } from "./long_deaths.ts";
import { MovedBytes } from "./moved_bytes.ts";
import { Prng } from "./prng.ts";
import { madeUpChoice } from "./parents_plan.ts";
import { HOST_FOLDERS, type HostEvents, SimHost } from "./sim_host.ts";
import { Violation, World } from "./world.ts";

const KIB = 1024;
const VOLUME = "/vol/data";
/** Between two hand-overs. */
const MIGRATION_MS = 3_000;
const CHAOS_MS = 40_000;
/** Seeds from here on have operators who write topology files, too. */
export const FILES_SEED = 1_000_000;
/** From here on there are marks, nodes that apply late, and promotions as of the past, instead. */
export const PAST_SEED = 2_000_000;
/** From here on there are files, and nodes that choose among their parents. */
export const PARENTS_SEED = 3_000_000;
/** From here on nodes stay dead for long, logs are small, and writes leave most of the volume alone. */
export const LONG_DEATHS_SEED = 4_000_000;
/** Between two of them. */
const WRITE_MS = 2_000;
const END_MS_MAX = 600_000;
const STEPS_MAX = 3_000_000;

/** How a run ended. */
export interface FailoverResult {
  readonly seed: number;
  readonly failure: string | null;
  readonly tail: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
}

/** Runs one seed to its end. */
export async function runFailoverSeed(
  seed: number,
  print: ((line: string) => void) | null = null,
): Promise<FailoverResult> {
  const run = new FailoverWorld(seed);
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
class FailoverWorld {
  readonly #seed: number;
  readonly #prng: Prng;
  readonly #orders: Prng;
  readonly #files: Prng;
  readonly #lists: Prng;
  readonly world: World;
  readonly #hosts: SimHost[];
  readonly #bytes: number;
  readonly #ops = new Map<string, Op[]>();
  readonly #ledger: Ledger;
  readonly #past: Past | null;
  #isCalm = false;
  #stamp = 0;
  readonly #counts: Record<string, number> = {};
  readonly #budget: number;
  readonly #isLong: boolean;
  readonly #moved: MovedBytes;

  constructor(seed: number) {
    this.#seed = seed;
    const prng = this.#prng = new Prng(seed).fork("failover");
    this.#orders = prng.fork("orders");
    this.#files = prng.fork("files");
    this.#lists = prng.fork("lists");
    this.world = new World(prng.fork("world"));
    this.#ledger = new Ledger(() => this.world.scheduler.nowMs);
    this.#isLong = seed >= LONG_DEATHS_SEED;
    this.#bytes = this.#isLong ? 4096 * KIB : prng.pick([64, 256]) * KIB;
    this.#budget = this.#isLong ? 512 * KIB : prng.pick([512, 1024, 4096]) * KIB;
    const count = (what: string, by = 1) =>
      void (this.#counts[what] = (this.#counts[what] ?? 0) + by);
    this.#moved = new MovedBytes(this.world, () => this.#hosts, this.#ops, [this.#bytes], count);
    const past = prng.fork("past");
    const configs = this.#configs();
    const isPast = seed >= PAST_SEED && seed < PARENTS_SEED;
    this.#hosts = (isPast ? withPast(past, configs) : configs).map((config) => this.#host(config));
    this.#past = !isPast ? null : new Past(past, {
      ...{ world: this.world, hosts: this.#hosts, ledger: this.#ledger },
      opsOf: (epochId) => this.#ops.get(epochId) ?? [],
      reigning: () => this.#reigning(),
      isCalm: () => this.#isCalm,
      count: (what) => this.#count(what),
      look: (host) => this.#look(host),
    });
  }

  #count(what: string): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + 1;
  }

  #configs(): NodeConfig[] {
    const prng = this.#prng;
    const names = Array.from({ length: prng.between(2, 8) }, (_, i) => `n${i + 1}`);
    const links = names.slice(1).map((to, i): LinkConfig => {
      const from = names[prng.chance(0.5) ? i : prng.below(i + 1)] ?? "n1";
      const mode = prng.pick(["sync", "async", "async", "periodic"] as const);
      return {
        ...{ name: `${from}-${to}`, from, to, mode, onDisconnect: "degrade" },
        ...{ timeoutMs: 1000, onOverflow: "map", dial: "to", paused: false, verify: null },
        ...{ bandwidth: null, compress: "none" },
        addresses: [`tcp://${from}:7420`],
        schedule: mode !== "periodic"
          ? null
          : { everyMs: 1000, cron: null, window: null, jitterMs: 0, timezone: null },
      };
    });
    const isBunker = names.map((name, i) =>
      i > 0 && links.some(({ from }) => from === name) && prng.chance(0.15)
    );
    const tree: ClusterTree = {
      nodes: names.map((name, i) => ({
        name,
        role: i === 0
          ? "primary"
          : links.some(({ from }) => from === name)
          ? "intermediate"
          : "secondary",
        addresses: i === 0 || prng.chance(0.8) || links.some(({ from }) => from === name)
          ? [`tcp://${name}:7420`]
          : [],
        hasVolumes: !isBunker[i],
      })),
      links,
    };
    return names.map((name, i) => ({
      ...{ cluster: "sim", name, dir: "/srv/cascade", nbd: [], capture: "nbd" },
      listen: [`tcp://${name}:7420`],
      secret: new TextEncoder().encode("the secret of the simulation"),
      tls: null,
      volumes: [{ name: "data", sizeBytes: this.#bytes, path: isBunker[i] ? null : VOLUME }],
      log: {
        budgetBytes: this.#budget,
        segmentBytes: 64 * KIB,
        deltaBudgetBytes: 64 * this.#bytes,
      },
      ...{ beforeScan: null, afterScan: null, beforeInconsistent: null },
      ...{ allowInconsistent: false, applyDelayMs: 0, onMark: null, hookTimeoutMs: 60_000 },
      ...placeIn(tree, firstView("n1"), name),
      tree,
      ...(this.#seed < PARENTS_SEED ? {} : madeUpChoice(this.#lists, tree, name)),
      startAlone: "ask",
      nodeNames: names,
    }));
  }

  #host(config: NodeConfig): SimHost {
    const events: HostEvents = {
      onStarted: (host) => this.#look(host),
      onReady: (_host, node) => this.#subscribe(node),
      onWiped: () => {},
      onGone: () => {},
      onHook: (host, env) => this.#past?.onHook(host, env),
      onFailed: (host, error) => {
        if (isCascadeError(error, "disk-full")) return;
        this.world.fail("correctness", error, `${host.name}: ${describeError(error)}: `);
      },
    };
    const planned = { config, devices: [], isBlank: false };
    const host = new SimHost(this.world, planned, this.#prng.fork(config.name), events);
    for (const folder of HOST_FOLDERS) host.disk.placeFolder(folder);
    return host;
  }

  /** Whoever serves writes now, as far as it knows itself. */
  #reigning(): SimHost[] {
    return this.#hosts.filter(({ node }) =>
      node !== null && node.pipeline.reigns && node.phase === "running"
    );
  }

  #subscribe(node: CascadeNode): void {
    if (!node.pipeline.reigns) return;
    let flushedLsn = node.front.flushedLsn;
    node.front.subscribe({
      onProgress: () => {
        if (node.front.flushedLsn <= flushedLsn) return;
        flushedLsn = node.front.flushedLsn;
        // Another was promoted already: whoever did that knew that this one may not have heard.
        if (isPromotedOver(this.#ledger.reign, node.pipeline.history.lastNumber)) return;
        const { history } = node.pipeline;
        this.#ledger.promise(history.epochs, history.idAt(flushedLsn), flushedLsn);
        this.#count("promises");
      },
      onRefused: () => {},
    });
  }

  /** A client of every node that reigns: two may, for a while. */
  #write(): void {
    for (const { node } of this.#reigning()) {
      if (node === null || node.front.refusal !== null || !node.front.accepting) continue;
      const volume = node.exports[0];
      if (volume === undefined) continue;
      const epochId = node.pipeline.history.lastId;
      const ops = this.#ops.get(epochId) ?? [];
      this.#ops.set(epochId, ops);
      for (let i = this.#prng.between(1, 5); i > 0; i--) {
        const offset = this.#isLong
          ? hotOffset(this.#prng, this.world.scheduler.nowMs, this.#bytes)
          : 512 * this.#prng.below(this.#bytes / 512 - 16);
        const length = 512 * this.#prng.between(1, 16);
        if (this.#prng.chance(0.15)) {
          ops.push({ offset, length, payload: null, endLsn: volume.zero(offset, length, true) });
          continue;
        }
        const payload = new Uint8Array(length).fill(++this.#stamp % 251 + 1);
        new DataView(payload.buffer).setUint32(0, this.#stamp);
        ops.push({ offset, length, payload, endLsn: volume.write(payload, offset) });
      }
      node.front.commit();
      if (this.#prng.chance(0.4)) node.front.requestFlush();
    }
    const { scheduler } = this.world;
    if (!this.#isCalm) scheduler.after(this.#prng.exponential(25), null, () => this.#write());
  }

  /** The one image at `lsn` of a history. */
  #imageAt(epochs: readonly Epoch[], lsn: number): Uint8Array {
    const image = new Uint8Array(this.#bytes);
    for (const [i, { id }] of epochs.entries()) {
      const end = Math.min(lsn, epochs[i + 1]?.firstLsn ?? Infinity);
      for (const { offset, length, payload, endLsn } of this.#ops.get(id) ?? []) {
        if (endLsn > end) break;
        if (payload === null) image.fill(0, offset, offset + length);
        else image.set(payload, offset);
      }
    }
    return image;
  }

  /** What a node holds is the image of its history. */
  #look(host: SimHost): void {
    const { node } = host;
    if (node === null || node.pipeline.volumes.length === 0 || node.deltas.isInPlace) return;
    const { pipeline } = node;
    if (pipeline.isInDelta || pipeline.blocked !== null || node.deltas.isRejoining) return;
    this.#count("looks");
    const { appliedLsn, history } = pipeline;
    // Until that is applied the volumes are still the image of the epoch that was left.
    if (pipeline.shelf.following(appliedLsn)?.header.mends === true) return;
    const at = host.disk.image(VOLUME)?.differsAt(this.#imageAt(history.epochs, appliedLsn)) ?? -1;
    if (at < 0) return;
    throw new Violation(
      `${host.name} at LSN ${appliedLsn} is no image of its history, at byte ${at}`,
    );
  }

  /** The furthest of those that run, as an operator is advised. */
  #best(): SimHost | null {
    let best: SimHost | null = null;
    for (const host of this.#hosts) {
      const { node } = host;
      if (node === null || node.phase !== "running" || node.pipeline.volumes.length === 0) continue;
      const isBetter = best?.node === null || best === null ||
        node.pipeline.history.lastNumber > best.node.pipeline.history.lastNumber ||
        (node.pipeline.history.lastNumber === best.node.pipeline.history.lastNumber &&
          node.pipeline.appendedLsn > best.node.pipeline.appendedLsn);
      if (isBetter) best = host;
    }
    return best;
  }

  #promote(host: SimHost | null, force: boolean): void {
    const node = host?.node ?? null;
    if (host === null || node === null) return;
    const away = this.#hosts.filter((other) => other.node === null).map(({ name }) => name);
    const { history, appendedLsn } = node.pipeline;
    const reigned = node.pipeline.reigns;
    const epochs = [...history.epochs];
    this.world.trace.note("driver", "promotes", host.name, appendedLsn, away.join());
    const ordered = this.#ledger.ordered(host);
    node.tree.promote({ away, expectLsn: null, force }).then(() => {
      ordered.known();
      this.#ledger.noteReign(node.tree.seat.view.reign);
      this.#count(reigned ? "promotions of the primary" : "promotions");
      // What it does not have is left behind, knowingly.
      this.#ledger.giveUp(epochs, appendedLsn);
    }, (error) => {
      ordered.known();
      this.#count("promotions refused");
      this.world.trace.note("driver", "promotion refused", describeError(error));
    });
  }

  /** Somebody hands over in order, to whomever; it may be cut off at any point. */
  #migrate(): void {
    const { node } = this.#orders.pick(this.#hosts);
    const { scheduler } = this.world;
    if (this.#isCalm) return;
    scheduler.after(this.#orders.exponential(MIGRATION_MS), null, () => this.#migrate());
    if (node === null) return;
    if (this.#reigning().length === 0) return this.#advised(node);
    const order = { order: "migrate", dryRun: false, timeoutMs: 2_000 } as const;
    node.orders.carryOut(order).then(({ plan }) => {
      this.#ledger.noteReign(node.tree.seat.view.reign);
      this.#count(plan === null ? "hand-overs to itself" : "hand-overs");
    }, (error) => {
      this.#count("hand-overs that failed");
      this.world.trace.note("driver", "hand-over failed", describeError(error));
    });
  }

  /**
   * Somebody has the files of all nodes that are reached written, or brings that of a node that is down up to what
   * another one knows: files of all ages meet.
   */
  #writeFiles(): void {
    const prng = this.#files;
    this.world.scheduler.after(prng.exponential(WRITE_MS), null, () => this.#writeFiles());
    const [host, other] = [prng.pick(this.#hosts), prng.pick(this.#hosts)];
    const { node } = host;
    if (node === null) return;
    if (!other.isAlive) {
      other.declare(node.tree.seat.view);
      this.#count("files changed while a node was down");
      return;
    }
    node.orders.carryOut({ order: "write", dryRun: false }).then(({ files = [] }) => {
      for (const { outcome } of files) this.#count(`files ${outcome}`);
    }, (error) => {
      this.#count("files not written");
      this.world.trace.note("driver", "files not written", describeError(error));
    });
  }

  /** The primary is gone: a promotion that first fetches what any node has that answers. */
  #advised(node: CascadeNode): void {
    const order = { order: "promote", dryRun: false, force: false, at: null } as const;
    const host = this.#hosts.find((one) => one.node === node);
    const ordered = host === undefined ? null : this.#ledger.ordered(host);
    node.orders.carryOut(order).then(({ plan }) => {
      ordered?.known();
      this.#ledger.noteReign(node.tree.seat.view.reign);
      this.#count(plan === null || plan.fetchBytes === 0 ? "advised promotions" : "after a fetch");
      const { history: { epochs }, appendedLsn } = node.pipeline;
      try {
        if (plan !== null) this.#ledger.checkAdvice(plan, this.#hosts, epochs, appendedLsn);
      } catch (error) {
        this.world.fail("correctness", error);
      }
      this.#ledger.giveUp(epochs, appendedLsn);
    }, (error) => {
      ordered?.failed();
      this.#count("advised promotions that failed");
      this.world.trace.note("driver", "promotion failed", describeError(error));
    });
  }

  #act(): void {
    const prng = this.#prng;
    const host = prng.pick(this.#hosts);
    const kind: CrashKind = prng.pick(["process", "power"]);
    const action = prng.below(24);
    const [reigning = null] = this.#reigning();
    if (action < 3) host.crash(kind);
    else if (action === 3) reigning?.crash(kind);
    else if (action < 6) host.light(1 + prng.below(60), kind);
    else if (action === 6) host.stop();
    else if (action === 7) {
      const other = prng.pick(this.#hosts);
      if (other === host) return;
      this.world.fabric.cut(host.name, other.name);
      this.world.fabric.cut(other.name, host.name);
    } else if (action < 10) this.world.fabric.heal();
    else if (action < 13) {
      const to = prng.pick(this.#hosts);
      const { node } = host;
      if (node === null) return;
      node.tree.reparent(to.name).then(
        () => this.#count("new parents"),
        () => this.#count("new parents refused"),
      );
    } else if (action === 13 && this.#isLong) {
      rescue(this.#hosts, () => this.#count("new parents in place of dead ones"));
    } else if (action === 13) {
      // Somebody is hasty.
      this.#promote(host, false);
    } else if (action < 17 && reigning === null) this.#promote(this.#best(), false);
    else {
      const chance = this.#isLong ? 0.1 : 0.5;
      for (const one of this.#hosts) if (!one.isAlive && prng.chance(chance)) one.start();
    }
  }

  #drive(): void {
    const { scheduler } = this.world;
    try {
      if (scheduler.nowMs < CHAOS_MS) this.#act();
      else this.#calm();
      for (const host of this.#hosts) this.#look(host);
      this.#ledger.look(this.#hosts);
    } catch (error) {
      this.world.fail("correctness", error);
    }
    const everyMs = this.#isCalm ? 200 : 250;
    scheduler.after(this.#prng.exponential(everyMs), null, () => this.#drive());
  }

  #calm(): void {
    if (!this.#isCalm) this.world.fabric.heal();
    this.#isCalm = true;
    for (const host of this.#hosts) if (!host.isAlive) host.start();
    const nodes = this.#hosts.flatMap(({ node }) => node === null ? [] : [node]);
    if (nodes.length < this.#hosts.length) return;
    const isDecided = nodes.every(({ tree: { seat } }) => seat.conflict === null);
    if (!isDecided && this.#prng.chance(0.1)) {
      const kept = this.#best();
      this.#count("conflicts resolved");
      this.#promote(kept, true);
    }
  }

  /** One primary, and all at its end. */
  #isEqual(): boolean {
    const [primary, ...more] = this.#reigning();
    const node = primary?.node;
    if (!this.#isCalm || node === undefined || node === null || more.length > 0) return false;
    const { appendedLsn, history } = node.pipeline;
    return this.#hosts.every(({ node: other }) =>
      other !== null && other.pipeline.appliedLsn === appendedLsn && !other.pipeline.isInDelta &&
      other.pipeline.history.lastId === history.lastId && !other.deltas.isRejoining
    );
  }

  async run(): Promise<FailoverResult> {
    const over = this.#isLong ? this.#moved.watch() : () => {};
    try {
      return await this.#run();
    } finally {
      over();
    }
  }

  async #run(): Promise<FailoverResult> {
    const { scheduler, trace } = this.world;
    for (const host of this.#hosts) host.start();
    this.#write();
    this.#drive();
    this.#migrate();
    const hasFiles = this.#seed >= FILES_SEED && this.#seed < PAST_SEED;
    if (hasFiles || this.#seed >= PARENTS_SEED) this.#writeFiles();
    this.#past?.begin();
    const end = await scheduler.run({
      until: () => this.world.failure !== null || this.#isEqual(),
      timeMsMax: END_MS_MAX,
      stepsMax: STEPS_MAX,
    });
    if (end !== "done") this.#failUnequal(end);
    if (this.world.failure === null) this.#judgeEnd();
    const { failure } = this.world;
    return {
      seed: this.#seed,
      failure: failure === null ? null : `${failure.kind}: ${failure.message}`,
      tail: trace.tail(80),
      figures: this.#counts,
    };
  }

  #failUnequal(end: string): void {
    const endLsn = this.#reigning()[0]?.node?.pipeline.appendedLsn;
    const odd = this.#hosts.filter(({ node }) => node?.pipeline.appliedLsn !== endLsn);
    const states = (odd.length > 0 ? odd : this.#hosts).map(({ name, node }) => {
      const links = node?.status().links.filter(({ from, to }) => from === name || to === name)
        .map(({ name, state, reason }) => `${name} ${state} ${reason}`).join("; ");
      const { appendedLsn, appliedLsn, stableLsn } = node?.pipeline ?? {};
      return `${name}: ${node?.phase} ${node?.config.role} ${stableLsn}/${appliedLsn}/${appendedLsn} ` +
        `${node?.reason} [${
          node?.pipeline.history.epochs.map(({ number, firstLsn }) => `${number}@${firstLsn}`)
        }] ${JSON.stringify(node?.tree.seat.view)} ${links}`;
    });
    const violation = new Violation(
      `${end} at ${this.world.scheduler.nowMs} ms\n${states.join("\n")}`,
    );
    this.world.fail("liveness", violation);
  }

  #judgeEnd(): void {
    const node = this.#reigning()[0]?.node;
    if (node === undefined || node === null) return;
    try {
      for (const host of this.#hosts) this.#look(host);
      const { epochs } = node.pipeline.history;
      this.#ledger.check(epochs, node.pipeline.appendedLsn);
      this.#past?.judge();
    } catch (error) {
      this.world.fail("correctness", error);
    }
  }
}
