/**
 * A node through all its roles: it is started again, within the same process, each time that its role changes. What is
 * declared stays the same; what it is by now is in its folder.
 *
 * @module
 */
import type { NodeConfig } from "./config.ts";
import { CascadeError } from "./errors.ts";
import { CascadeNode } from "./node.ts";
import type { StartOptions } from "./node_types.ts";
import type { Ports } from "./ports.ts";
import type { Order } from "./tree/asks.ts";
import { type OrderProgress, orderProgressSchema } from "./tree/order_progress.ts";
import { type TreeReport, treeReportSchema } from "./tree/tree_report.ts";

/** How long a node that was given another role may take to serve in it before it is told as it is, ms. */
const SERVE_MS = 30_000;
/** How long a node that is asked for may take to turn. */
const TURN_MS = 60_000;

/** What a life tells. */
export interface LifeEvents {
  /** A node was started: the first one, or the same in another role. */
  readonly onStarted: (node: CascadeNode) => unknown;
}

/** See the module's text. */
export class NodeLife {
  #node: CascadeNode;
  readonly #config: () => NodeConfig;
  readonly #ports: Ports;
  readonly #events: LifeEvents;
  /** Settles when the node has stopped for good; rejects with the fatal error when it had to. */
  readonly done: Promise<void>;
  #turning: Promise<void> = Promise.resolve();
  #isStopping = false;

  /** Starts it; `config`: as declared now. Throws what {@linkcode CascadeNode.start} throws. */
  static async start(
    config: () => NodeConfig,
    ports: Ports,
    events: LifeEvents = { onStarted: () => {} },
  ): Promise<NodeLife> {
    const node = await CascadeNode.start(config(), ports);
    return new NodeLife(node, config, ports, events);
  }

  private constructor(
    node: CascadeNode,
    config: () => NodeConfig,
    ports: Ports,
    events: LifeEvents,
  ) {
    this.#node = node;
    this.#config = config;
    this.#ports = ports;
    this.#events = events;
    this.done = this.#run();
    this.done.catch(() => {/* whoever awaits it is told */});
    events.onStarted(node);
  }

  /** The node, in the role that it has now. */
  get node(): CascadeNode {
    return this.#node;
  }

  async #run(): Promise<void> {
    while (await this.#node.done === "turned") {
      if (this.#isStopping) return;
      const { promise, resolve } = Promise.withResolvers<void>();
      this.#turning = promise;
      try {
        this.#node = await CascadeNode.start(this.#config(), this.#ports, following(this.#node));
      } finally {
        resolve();
      }
      this.#events.onStarted(this.#node);
    }
  }

  /** Drains clients and peers, makes everything durable and applied, and stops. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    await this.#turning;
    await this.#node.stop();
  }

  onFatal(error: unknown): void {
    this.#node.onFatal(error);
  }

  /**
   * Carries out what is ordered of this node, or passes it on to the one that is meant, and settles once that serves in
   * its new role. Throws what {@linkcode CascadeNode.orders} throws.
   */
  async order(target: string, order: Order): Promise<TreeReport> {
    const { name } = this.#config();
    if (target !== name) return await this.#passOn(target, order);
    const report = await this.#node.orders.carryOut(order);
    const isOfReign = order.order !== "reparent" && order.order !== "write";
    if (report.isDone && isOfReign) await this.#untilServed();
    return report;
  }

  /** How far the order is that this node, or another one, carries out; null: none. Throws what asking throws. */
  async progress(target: string): Promise<OrderProgress | null> {
    const { orders, hub } = this.#node;
    if (target === this.#config().name) return orders.progress;
    return orderProgressSchema.nullable().parse(await hub.ask(target, { ask: "progress" }));
  }

  async #passOn(target: string, order: Order): Promise<TreeReport> {
    const { tree } = this.#config();
    if (tree !== null && !tree.nodes.some(({ name }) => name === target)) {
      throw new CascadeError("not-found", `the topology has no node "${target}"`);
    }
    const patienceMs = order.order === "migrate" ? order.timeoutMs : 2 * TURN_MS;
    const answer = await this.#node.hub.ask(target, { ask: "order", order }, patienceMs);
    return treeReportSchema.parse(answer);
  }

  /** The view says that this node reigns: until it does. */
  async #untilServed(): Promise<void> {
    const { clock } = this.#ports;
    const endMs = clock.monotonicMs() + SERVE_MS;
    while (clock.monotonicMs() < endMs) {
      const { phase, pipeline } = this.#node;
      if (phase === "failed" || (phase === "running" && pipeline.reigns)) return;
      await new Promise<void>((go) => clock.after(5, go));
    }
  }
}

/** How the node is started that follows one that turned, in the same process: what that one knows goes on. */
export function following({ heldForMs, pipeline, tree }: CascadeNode): StartOptions {
  return { heldForMs, exactLsn: pipeline.exactLsn(), away: [...tree.away] };
}
