/**
 * A tree of a few simulated nodes for a scripted test: who is fed by whom, and each node's list of parents. The primary is `hq`,
 * and a client writes to whoever reigns.
 *
 * @module
 */
import type { LinkConfig, NodeConfig } from "../../core/config.ts";
import { describeError } from "../../core/errors.ts";
import type { CascadeNode } from "../../core/node.ts";
import { type ClusterTree, placeIn } from "../../core/tree/tree.ts";
import { firstView } from "../../core/tree/view.ts";
import { EpochOracle } from "./epoch_oracle.ts";
import { Prng } from "./prng.ts";
import { HOST_FOLDERS, SimHost } from "./sim_host.ts";
import { World } from "./world.ts";

/** `reparentAfter` of all nodes. */
export const AFTER_MS = 5_000;
const KIB = 1024;
const SEED = 7;
const PATIENCE_MS = 600_000;

/** See the module's text. */
export class SmallTree {
  readonly world: World;
  readonly #hosts: ReadonlyMap<string, SimHost>;
  readonly #oracle: EpochOracle;
  #isWriting = true;

  constructor(
    parents: Readonly<Record<string, string>>,
    lists: Readonly<Record<string, readonly string[]>>,
  ) {
    const prng = new Prng(SEED);
    this.world = new World(prng.fork("world"));
    this.#oracle = new EpochOracle(64 * KIB, prng.fork("writes"));
    const names = ["hq", ...Object.keys(parents)];
    const tree = treeOf(names, parents);
    this.#hosts = new Map(names.map((name) => {
      const config = this.#config(tree, name, lists[name] ?? []);
      const planned = { config, devices: [], isBlank: false };
      const host = new SimHost(this.world, planned, prng.fork(name), {
        onStarted: () => {},
        onReady: () => {},
        onWiped: () => {},
        onGone: () => {},
        onFailed: (_host, error) =>
          this.world.fail("correctness", error, `${name}: ${describeError(error)}: `),
      });
      for (const folder of HOST_FOLDERS) host.disk.placeFolder(folder);
      host.start();
      return [name, host];
    }));
    this.#write();
  }

  #config(tree: ClusterTree, name: string, parents: readonly string[]): NodeConfig {
    return {
      ...{ cluster: "sim", name, dir: "/srv/cascade", nbd: [], capture: "nbd", tls: null },
      listen: [`tcp://${name}:7420`],
      secret: new TextEncoder().encode("the secret of the simulation"),
      volumes: [{ name: "data", sizeBytes: this.#oracle.bytes, path: EpochOracle.volume }],
      log: { budgetBytes: 4096 * KIB, segmentBytes: 64 * KIB, deltaBudgetBytes: 4096 * KIB },
      ...{ beforeScan: null, afterScan: null, beforeInconsistent: null },
      ...{ allowInconsistent: false, applyDelayMs: 0, onMark: null, hookTimeoutMs: 60_000 },
      ...placeIn(tree, firstView("hq"), name),
      ...{ tree, parents, reparentAfterMs: AFTER_MS, startAlone: "ask" },
      nodeNames: tree.nodes.map((node) => node.name),
    };
  }

  #write(): void {
    if (!this.#isWriting) return;
    for (const { node } of this.#hosts.values()) {
      if (node !== null && node.pipeline.reigns && node.phase === "running") {
        this.#oracle.write(node);
      }
    }
    this.world.scheduler.after(400, null, () => this.#write());
  }

  stopWriting(): void {
    this.#isWriting = false;
  }

  host(name: string): SimHost {
    return this.#hosts.get(name)!;
  }

  /** The node of a host that is up. */
  node(name: string): CascadeNode {
    const { node } = this.host(name);
    if (node === null) throw new Error(`${name} does not run`);
    return node;
  }

  cut(a: string, b: string): void {
    this.world.fabric.cut(a, b);
    this.world.fabric.cut(b, a);
  }

  heal(): void {
    this.world.fabric.heal();
  }

  /** Whether a node is connected, and has all but the last moment of what the primary has. */
  isFed(name: string, primary = "hq"): boolean {
    const [node, reigning] = [this.host(name).node, this.host(primary).node];
    if (node === null || reigning === null || !reigning.pipeline.reigns) return false;
    const behind = reigning.pipeline.appendedLsn - node.pipeline.appliedLsn;
    return node.hub.upstream?.connected === true && behind < 64 * KIB &&
      node.pipeline.history.lastId === reigning.pipeline.history.lastId;
  }

  /** An operator has a node fed by another one. */
  async order(name: string, to: string): Promise<void> {
    const order = { order: "reparent", dryRun: false, to } as const;
    await this.done(this.node(name).orders.carryOut(order));
  }

  /** Something that takes time of the simulation is done. */
  async done(doing: Promise<unknown>): Promise<void> {
    let isDone = false;
    const done = doing.finally(() => isDone = true);
    done.catch(() => {/* told below */});
    await this.until(() => isDone, "what was begun is done");
    await done;
  }

  /** Time goes by. */
  async pass(ms: number): Promise<void> {
    await this.#run(() => false, ms);
  }

  /** Until something is so. Fails when it is not in due time. */
  async until(isSo: () => boolean, what: string): Promise<void> {
    if (await this.#run(isSo, PATIENCE_MS)) return;
    const states = [...this.#hosts].map(([name, { node }]) =>
      `${name}: ${node?.phase} ${node?.pipeline.appliedLsn} ${node?.config.upstream?.from} ` +
      `${node?.hub.upstream?.state()} ${JSON.stringify(node?.tree.parents.status())}`
    );
    throw new Error(`it never came to be so: ${what}\n${states.join("\n")}`);
  }

  async #run(isSo: () => boolean, ms: number): Promise<boolean> {
    const { scheduler } = this.world;
    const end = await scheduler.run({
      until: () => this.world.failure !== null || isSo(),
      timeMsMax: scheduler.nowMs + ms,
      stepsMax: Infinity,
    });
    if (this.world.failure !== null) throw new Error(this.world.failure.message);
    return end === "done";
  }
}

function treeOf(names: readonly string[], parents: Readonly<Record<string, string>>): ClusterTree {
  const links = Object.entries(parents).map(([to, from]): LinkConfig => ({
    ...{ name: `${from}-${to}`, from, to, mode: "async", onDisconnect: "degrade" },
    ...{ timeoutMs: 1000, onOverflow: "map", dial: "to", paused: false, verify: null },
    ...{ bandwidth: null, compress: "none", schedule: null },
    addresses: [`tcp://${from}:7420`],
  }));
  const feeds = (name: string) => links.some(({ from }) => from === name);
  return {
    nodes: names.map((name) => ({
      name,
      role: name === "hq" ? "primary" : feeds(name) ? "intermediate" : "secondary",
      addresses: [`tcp://${name}:7420`],
      hasVolumes: true,
    })),
    links,
  };
}
