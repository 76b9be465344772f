/**
 * A simulated machine with one node of the cascade on it: what starts it, what ends it.
 *
 * @module
 */
import { CascadeNode } from "../../core/node.ts";
import { following } from "../../core/node_life.ts";
import type { NodeEnd, StartOptions } from "../../core/node_types.ts";
import { CascadeError, describeError, isCascadeError } from "../../core/errors.ts";
import type { HookOptions } from "../../core/ports.ts";
import type { NodeConfig } from "../../core/config.ts";
import { failedOutcome } from "../../core/tree/file_report.ts";
import { settledTree } from "../../core/tree/settled.ts";
import { placeIn } from "../../core/tree/tree.ts";
import type { View } from "../../core/tree/view.ts";
import { SimClock } from "./clock.ts";
import { HostDisk, SimDisk } from "./disk.ts";
import { type CrashKind, Life } from "./life.ts";
import { SimNetwork } from "./network.ts";
import type { PlannedNode } from "./plan.ts";
import type { Prng } from "./prng.ts";
import { SimJournal, SimRandom } from "./random.ts";
import type { World } from "./world.ts";

/** What is there on every machine. */
export const HOST_FOLDERS = ["/srv", "/vol"] as const;

/** What the host tells of its node. */
export interface HostEvents {
  /** The node runs; its links may not. */
  onStarted(host: SimHost, node: CascadeNode): void;
  /** The node serves its clients. */
  onReady(host: SimHost, node: CascadeNode): void;
  /** The node is about to be gone; `node` is null when it had not started. */
  onGone(host: SimHost, node: CascadeNode | null, how: CrashKind | "stop" | "failure"): void;
  /** The node ended, to be started again in the same process. */
  onTurned?(host: SimHost): void;
  /** Its hook for a mark begins, or is about to end. */
  onHook?(host: SimHost, env: Readonly<Record<string, string>>): void;
  /** The disk of a host without a process is as of a new machine. */
  onWiped(host: SimHost): void;
  /** The node stopped by itself, or would not start; it is gone by now. */
  onFailed(host: SimHost, error: unknown): void;
}

/** See the module's text. */
export class SimHost {
  readonly name: string;
  readonly planned: PlannedNode;
  /** What the topology file says. */
  declared: NodeConfig;
  readonly disk: HostDisk;
  readonly wall = { originMs: 1_700_000_000_000 };
  readonly #world: World;
  readonly #prng: Prng;
  readonly #events: HostEvents;
  #life: Life | null = null;
  #lives = 0;
  #node: CascadeNode | null = null;
  #stopping = false;

  constructor(world: World, planned: PlannedNode, prng: Prng, events: HostEvents) {
    this.name = planned.config.name;
    this.planned = planned;
    this.declared = planned.config;
    this.#world = world;
    this.#prng = prng;
    this.#events = events;
    this.disk = new HostDisk(this.name, world.scheduler, world.trace, prng.fork("disk"));
    world.fabric.addHost(this.name);
  }

  /** The node, from when its start has settled until it is gone. */
  get node(): CascadeNode | null {
    return this.#node;
  }

  /** Processes that were started here so far. */
  get lives(): number {
    return this.#lives;
  }

  /** Whether a process runs, started or not. */
  get isAlive(): boolean {
    return this.#life !== null;
  }

  get isStopping(): boolean {
    return this.#stopping;
  }

  /** Switches the machine on and starts the node. */
  start(): void {
    if (this.#life !== null) return;
    this.#world.fabric.boot(this.name);
    const life = this.#life = new Life(this.name, ++this.#lives);
    this.#stopping = false;
    this.#world.trace.note(life.name, "starts");
    // As an event of its own, so that nothing of it runs within whoever asked for it.
    this.#world.scheduler.after(0, life, () => this.#run(life));
  }

  #run(life: Life, turn = 0, options: StartOptions = {}): void {
    const { scheduler, fabric, trace } = this.#world;
    const prng = this.#prng.fork(`life ${life.number}` + (turn === 0 ? "" : ` turn ${turn}`));
    const ports = {
      disk: new SimDisk(this.disk, life),
      network: new SimNetwork(fabric, life),
      clock: new SimClock(scheduler, life, prng.fork("clock"), this.wall),
      random: new SimRandom(life, prng.fork("random")),
      journal: new SimJournal(life, trace),
      hooks: {
        run: (name: string, _command: readonly string[], _ms: number, more: HookOptions = {}) =>
          this.#runHook(name, life, more),
      },
      topologyKeeper: {
        write: (view: View) => {
          this.#world.trace.note(life.name, "writes its file", view.primary);
          this.declare(view);
          const { tree } = this.declared;
          if (this.#node !== null) this.#node.config = { ...this.#node.config, tree };
          return Promise.resolve({ ...failedOutcome(null, ""), outcome: "written" as const });
        },
      },
    };
    CascadeNode.start(this.declared, ports, options).then(
      (node) => this.#started(life, node, turn),
      (error) => this.#failed(life, error),
    ).catch((error) => this.#world.fail("correctness", error));
  }

  /** The topology file says what is so under a view. */
  declare(view: View): void {
    const { tree, name } = this.declared;
    if (tree === null) return;
    const now = settledTree(tree, view);
    this.declared = { ...this.declared, ...placeIn(now, view, name), tree: now };
  }

  /** Takes a while, as commands do. */
  #runHook(
    name: string,
    life: Life,
    { env = {}, cancelled }: HookOptions,
  ): Promise<readonly string[]> {
    const isMark = name === "onMark";
    const ms = this.#prng.fraction() * (isMark ? 400 : 20);
    if (isMark) this.#events.onHook?.(this, env);
    return new Promise((end, fail) => {
      let isOver = false;
      cancelled?.then((why) => {
        isOver = true;
        fail(new CascadeError("hook-failed", why));
      });
      this.#world.scheduler.after(ms, life, () => {
        if (isMark && !isOver) this.#events.onHook?.(this, env);
        end(this.planned.hook?.(name) ?? []);
      });
    });
  }

  #started(life: Life, node: CascadeNode, turn: number): void {
    if (this.#life !== life) return;
    this.#node = node;
    this.#world.trace.note(life.name, "started", node.pipeline.appendedLsn);
    node.done.then(
      (end) => this.#stopped(life, end, turn, node),
      (error) => this.#failed(life, error),
    )
      .catch((error) => this.#world.fail("correctness", error));
    node.ready.then(() => {
      if (this.#life === life) this.#events.onReady(this, node);
    }).catch((error) => {
      // A node that fails before it is ready is told of by `done`.
      if (this.#life === life && node.phase === "running") this.#world.fail("correctness", error);
    });
    this.#events.onStarted(this, node);
  }

  #failed(life: Life, error: unknown): void {
    if (this.#life !== life) return;
    const code = isCascadeError(error) ? error.code : "";
    this.#world.trace.note(life.name, "failed", code, describeError(error));
    this.#end("process", "failure");
    this.#events.onFailed(this, error);
  }

  #stopped(life: Life, end: NodeEnd, turn: number, node: CascadeNode): void {
    if (this.#life !== life) return;
    if (end === "turned") {
      // The same process goes on with a node of another role.
      this.#world.trace.note(life.name, "turned");
      this.#events.onTurned?.(this);
      this.#node = null;
      this.#run(life, turn + 1, following(node));
      return;
    }
    this.#world.trace.note(life.name, "stopped");
    this.#end("process", "stop");
  }

  /** Asks the node to stop in order. False when there is none that could. */
  stop(): boolean {
    const node = this.#node;
    if (node === null || this.#stopping) return false;
    this.#world.trace.note(this.name, "is asked to stop");
    this.#stopping = true;
    // Whatever goes wrong, `done` tells.
    node.stop().catch(() => {});
    return true;
  }

  /** The process, or the whole machine, dies now. */
  crash(kind: CrashKind): void {
    if (this.#life === null) {
      // A machine without a process can lose power all the same.
      if (kind === "power") {
        this.#events.onGone(this, null, kind);
        this.disk.crash(kind);
      }
      return;
    }
    this.#world.trace.note(this.#life.name, `loss of ${kind}`);
    this.#end(kind, kind);
  }

  /** All that was on the machine is lost: it comes back as a new one would. */
  wipe(): void {
    this.crash("power");
    this.disk.wipe(HOST_FOLDERS);
    this.planned.isBlank = true;
    this.#events.onWiped(this);
  }

  /** Crashes in the midst of the `operations`-th change of the disk from now. */
  light(operations: number, kind: CrashKind): void {
    this.#life?.light(operations, () => this.crash(kind));
  }

  #end(kind: CrashKind, how: CrashKind | "stop" | "failure"): void {
    const life = this.#life;
    if (life === null) return;
    this.#events.onGone(this, this.#node, how);
    life.end();
    this.#life = null;
    this.#node = null;
    this.#world.fabric.died(life, kind);
    this.disk.crash(kind);
  }
}
