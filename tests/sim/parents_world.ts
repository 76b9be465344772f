/**
 * A cascade whose nodes choose among their parents, from a seed: trees of up to eight nodes and four levels, with random lists.
 *
 *  1. _Chaos_: nodes die and come back, lines are cut, an operator says who is to feed whom now and then.
 *  2. _Some are dead_: the faults have ended, and some intermediates stay dead. Every node that lives, and has a living node in
 *     its list that is fed, has to be fed, and to come to what the primary has.
 *  3. _All are back_: every node goes home, but for those that an operator has put elsewhere, and all images are the same.
 *
 * All the while each volume is an image of the primary's history, and no connections run in a circle for long.
 *
 * @module
 */
import type { LinkConfig, NodeConfig } from "../../core/config.ts";
import { describeError, isCascadeError } from "../../core/errors.ts";
import type { CascadeNode } from "../../core/node.ts";
import { type ClusterTree, parentsIn, pathTo, placeIn } from "../../core/tree/tree.ts";
import { digestOf, firstView, saidBy } from "../../core/tree/view.ts";
import { EpochOracle } from "./epoch_oracle.ts";
import { isDeath } from "./life.ts";
import { madeUpChoice } from "./parents_plan.ts";
import { Prng } from "./prng.ts";
import { HOST_FOLDERS, type HostEvents, SimHost } from "./sim_host.ts";
import { Violation, World } from "./world.ts";

const KIB = 1024;
const LEVELS_MAX = 4;
const CHAOS_MS = 30_000;
/** All that may be waited for is over by then: the longest `reparentAfter`, so many levels, all blocks, many returns. */
const SERVED_MS_MAX = 240_000;
const HOME_MS_MAX = 600_000;
const STEPS_MAX = 4_000_000;

/** How a run ended. */
export interface ParentsResult {
  readonly seed: number;
  readonly failure: string | null;
  readonly tail: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
}

/** Runs one seed to its end. */
export async function runParentsSeed(
  seed: number,
  print: ((line: string) => void) | null = null,
): Promise<ParentsResult> {
  const run = new ParentsWorld(seed);
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

type Phase = "chaos" | "some are dead" | "all are back";

/** See the module's text. */
class ParentsWorld {
  readonly #seed: number;
  readonly #prng: Prng;
  readonly world: World;
  readonly #hosts: SimHost[];
  readonly #oracle: EpochOracle;
  #phase: Phase = "chaos";
  /** They stay dead for a while. */
  readonly #dead = new Set<SimHost>();
  #isWriting = true;
  readonly #counts: Record<string, number> = {};

  constructor(seed: number) {
    this.#seed = seed;
    const prng = this.#prng = new Prng(seed).fork("parents");
    this.world = new World(prng.fork("world"));
    this.#oracle = new EpochOracle(prng.pick([64, 256]) * KIB, prng.fork("writes"));
    this.#hosts = this.#configs().map((config) => this.#host(config));
  }

  #count(what: string, by = 1): void {
    this.#counts[what] = (this.#counts[what] ?? 0) + by;
  }

  #links(names: readonly string[]): LinkConfig[] {
    const prng = this.#prng;
    const depths = [0];
    return names.slice(1).map((to, i): LinkConfig => {
      const fits = depths.flatMap((depth, above) => depth + 1 < LEVELS_MAX ? [above] : []);
      const above = fits.includes(i) && prng.chance(0.5) ? i : prng.pick(fits);
      depths.push((depths[above] ?? 0) + 1);
      const from = names[above] ?? "";
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
  }

  #configs(): NodeConfig[] {
    const prng = this.#prng;
    const names = Array.from({ length: prng.between(3, 8) }, (_, i) => `n${i + 1}`);
    const links = this.#links(names);
    const feeds = (name: string) => links.some(({ from }) => from === name);
    // Some only dial: nobody can choose those.
    const dialled = names.filter((name, i) => i === 0 || feeds(name) || prng.chance(0.6));
    const tree: ClusterTree = {
      nodes: names.map((name, i) => ({
        name,
        role: i === 0 ? "primary" : feeds(name) ? "intermediate" : "secondary",
        addresses: dialled.includes(name) ? [`tcp://${name}:7420`] : [],
        hasVolumes: true,
      })),
      links,
    };
    const budgetBytes = prng.pick([512, 1024, 4096]) * KIB;
    return names.map((name) => ({
      ...{ cluster: "sim", name, dir: "/srv/cascade", nbd: [], capture: "nbd" },
      listen: [`tcp://${name}:7420`],
      secret: new TextEncoder().encode("the secret of the simulation"),
      tls: null,
      volumes: [{ name: "data", sizeBytes: this.#oracle.bytes, path: EpochOracle.volume }],
      log: { budgetBytes, segmentBytes: 64 * KIB, deltaBudgetBytes: 64 * this.#oracle.bytes },
      ...{ beforeScan: null, afterScan: null, beforeInconsistent: null },
      ...{ allowInconsistent: false, applyDelayMs: 0, onMark: null, hookTimeoutMs: 60_000 },
      ...placeIn(tree, firstView("n1"), name),
      tree,
      ...madeUpChoice(prng, tree, name),
      startAlone: "ask",
      nodeNames: names,
    }));
  }

  #host(config: NodeConfig): SimHost {
    const events: HostEvents = {
      onStarted: (host) => this.#oracle.look(host),
      onReady: (_host, node) => this.#oracle.subscribe(node),
      onWiped: () => {},
      onGone: (_host, node) => this.#tally(node),
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

  #tally(node: CascadeNode | null): void {
    if (node === null) return;
    for (const [by, count] of Object.entries(node.tree.moves)) this.#count(`moves: ${by}`, count);
  }

  get #primary(): CascadeNode | null {
    const node = this.#hosts[0]?.node ?? null;
    return node !== null && node.phase === "running" ? node : null;
  }

  #write(): void {
    if (this.#primary !== null) this.#oracle.write(this.#primary);
    const everyMs = this.#phase === "chaos" ? 25 : 150;
    if (!this.#isWriting) return;
    this.world.scheduler.after(this.#prng.exponential(everyMs), null, () => this.#write());
  }

  #act(): void {
    const prng = this.#prng;
    const below = this.#hosts.slice(1);
    const host = prng.pick(below);
    const kind = prng.pick(["process", "power"] as const);
    const action = prng.below(20);
    if (action < 4) host.crash(kind);
    else if (action < 6) host.light(1 + prng.below(60), kind);
    else if (action === 6) host.stop();
    else if (action === 7) this.#hosts[0]?.crash(kind);
    else if (action < 10) {
      const other = prng.pick(this.#hosts);
      if (other === host) return;
      this.world.fabric.cut(host.name, other.name);
      if (prng.chance(0.8)) this.world.fabric.cut(other.name, host.name);
    } else if (action === 10) this.world.fabric.heal();
    else if (action === 11) this.#order(host);
    else if (action < 15) {
      for (const one of this.#hosts) if (!one.isAlive && prng.chance(0.3)) one.start();
    }
  }

  /** An operator says who is to feed a node, as often as not the one that it prefers. */
  #order(host: SimHost): void {
    const { node } = host;
    if (node === null) return;
    const [home] = node.config.parents ?? [];
    const to = home !== undefined && this.#prng.chance(0.5)
      ? home
      : this.#prng.pick(this.#hosts).name;
    node.tree.reparent(to).then(
      () => this.#count("orders"),
      () => this.#count("orders refused"),
    );
  }

  #drive(): void {
    try {
      if (this.#phase === "chaos") this.#act();
      else for (const one of this.#hosts) if (!one.isAlive && !this.#dead.has(one)) one.start();
      for (const host of this.#hosts) this.#oracle.look(host);
    } catch (error) {
      this.world.fail("correctness", error);
    }
    this.world.scheduler.after(this.#prng.exponential(200), null, () => this.#drive());
  }

  /**
   * Those that have to be fed: the primary, and whoever is fed by one of them or may choose one of them. Who was told by an
   * operator, and is told so still, waits for that node.
   */
  #served(): Set<string> {
    const served = new Set(["n1"]);
    for (let before = 0; before !== served.size;) {
      before = served.size;
      for (const { name, node } of this.#hosts) {
        if (node === null || served.has(name)) continue;
        const above = node.config.upstream?.from ?? "";
        const isTold = saidBy(node.tree.seat.view, name) === "operator" && this.#lives(above);
        const list = isTold ? [] : node.config.parents ?? [];
        if ([above, ...list].some((one) => served.has(one) && this.#lives(one))) served.add(name);
      }
    }
    return served;
  }

  #lives(name: string): boolean {
    return this.#hosts.some((host) => host.name === name && host.isAlive);
  }

  /** Whoever has to be fed has all that the primary had at that LSN, and is connected. */
  #isServed(lsn: number): boolean {
    const alive = this.#hosts.filter((host) => !this.#dead.has(host));
    if (this.#primary === null || alive.some(({ node }) => node?.phase !== "running")) return false;
    const served = this.#served();
    return alive.every(({ name, node }) =>
      node === null || !served.has(name) || node.pipeline.reigns ||
      (node.pipeline.appliedLsn >= lsn && node.hub.upstream?.connected === true &&
        node.pipeline.history.lastId === this.#primary?.pipeline.history.lastId)
    ) && this.#circle() === null;
  }

  /** Nodes that feed each other in a circle, by the connections that there are. */
  #circle(): string | null {
    const above = (name: string) => {
      const upstream = this.#hosts.find((host) => host.name === name)?.node?.hub.upstream;
      return upstream?.connected === true ? upstream.peerName : undefined;
    };
    for (const { name } of this.#hosts) {
      const way = [name];
      for (let at = above(name); at !== undefined; at = above(at)) {
        if (way.includes(at)) return [...way, at].join(" by ");
        way.push(at);
      }
    }
    return null;
  }

  /** All know the same tree, every node that chooses is at home, and all have the same image. */
  #isHome(): boolean {
    const primary = this.#primary;
    const nodes = this.#hosts.flatMap(({ node }) => node === null ? [] : [node]);
    if (primary === null || nodes.length < this.#hosts.length) return false;
    const { appendedLsn, history } = primary.pipeline;
    return new Set(nodes.map(({ tree }) => digestOf(tree.seat.view))).size === 1 &&
      nodes.every((node) => this.#awayFromHome(node) === null) && this.#circle() === null &&
      nodes.every(({ pipeline }) =>
        pipeline.appliedLsn === appendedLsn && pipeline.history.lastId === history.lastId
      );
  }

  #awayFromHome({ config, tree: { seat } }: CascadeNode): string | null {
    const [home] = config.parents ?? [];
    const { tree, name, upstream } = config;
    if (home === undefined || tree === null || saidBy(seat.view, name) === "operator") return null;
    // An operator has put its home below it: it cannot go there.
    const isBelow = pathTo(parentsIn(tree, seat.view), home).includes(name);
    return upstream?.from === home || isBelow ? null : `${name} is fed by ${upstream?.from}`;
  }

  async #until(isSo: () => boolean, withinMs: number, what: string): Promise<void> {
    const { scheduler } = this.world;
    let lookMs = 0;
    const isDue = () => scheduler.nowMs >= lookMs && (lookMs = scheduler.nowMs + 100) > 0;
    const end = await scheduler.run({
      until: () => this.world.failure !== null || (isDue() && isSo()),
      timeMsMax: scheduler.nowMs + withinMs,
      stepsMax: STEPS_MAX,
    });
    if (end === "done") return;
    const states = this.#hosts.map(({ name, node, isAlive }) => {
      const status = node?.status();
      const upstream = status?.links.find(({ to }) => to === name);
      return `${name}: ${
        isAlive ? node?.phase : "dead"
      } ${node?.pipeline.appliedLsn}/${node?.pipeline.appendedLsn} ` +
        `${upstream?.name} ${upstream?.state} ${upstream?.reason} ${
          JSON.stringify(status?.tree?.choice)
        } ${JSON.stringify(node?.tree.seat.view.parents)}`;
    });
    const served = [...this.#served()].join();
    this.world.fail(
      "liveness",
      new Violation(
        `${what}: ${end} at ${scheduler.nowMs} ms; to be fed: ${served}\n${states.join("\n")}`,
      ),
    );
  }

  async #someAreDead(): Promise<void> {
    const prng = this.#prng;
    this.world.fabric.heal();
    for (const host of this.#hosts.slice(1)) if (prng.chance(0.35)) this.#dead.add(host);
    for (const host of this.#dead) host.crash(prng.pick(["process", "power"]));
    this.#phase = "some are dead";
    for (const host of this.#hosts) if (!this.#dead.has(host)) host.start();
    const { scheduler } = this.world;
    // They have to come to what is written after the last fault.
    let lsn: number | null = null;
    const isServed = () => {
      if (scheduler.nowMs > CHAOS_MS + 2_000) lsn ??= this.#primary?.pipeline.appendedLsn ?? null;
      return lsn !== null && this.#isServed(lsn);
    };
    await this.#until(isServed, SERVED_MS_MAX, "some are dead");
    this.#count("served without the dead", this.#served().size - 1);
    this.#count("dead", this.#dead.size);
  }

  async #allAreBack(): Promise<void> {
    this.#phase = "all are back";
    this.#dead.clear();
    for (const host of this.#hosts) host.start();
    await this.#until(
      () => {
        const nodes = this.#hosts.flatMap(({ node }) => node === null ? [] : [node]);
        return nodes.length === this.#hosts.length &&
          nodes.every((node) => this.#awayFromHome(node) === null);
      },
      HOME_MS_MAX,
      "all are back",
    );
    this.#isWriting = false;
    await this.#until(() => this.#isHome(), HOME_MS_MAX, "all are home");
  }

  async run(): Promise<ParentsResult> {
    const { scheduler, trace } = this.world;
    for (const host of this.#hosts) host.start();
    this.#write();
    this.#drive();
    await scheduler.run({
      until: () => this.world.failure !== null,
      timeMsMax: CHAOS_MS,
      stepsMax: STEPS_MAX,
    });
    if (this.world.failure === null) await this.#someAreDead();
    if (this.world.failure === null) await this.#allAreBack();
    if (this.world.failure === null) this.#judgeEnd();
    for (const { node } of this.#hosts) this.#tally(node);
    for (const [what, count] of Object.entries(this.#oracle.counts)) this.#count(what, count);
    const { failure } = this.world;
    return {
      seed: this.#seed,
      failure: failure === null ? null : `${failure.kind}: ${failure.message}`,
      tail: trace.tail(80),
      figures: this.#counts,
    };
  }

  #judgeEnd(): void {
    try {
      for (const host of this.#hosts) this.#oracle.look(host);
      if (this.#primary !== null) this.#oracle.judgePromises(this.#primary);
    } catch (error) {
      this.world.fail("correctness", error);
    }
  }
}
