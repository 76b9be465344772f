/**
 * What a node does about its place in the tree: it is promoted, given another parent, or leaves an abandoned
 * epoch behind.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CascadeError, describeError } from "./errors.ts";
import type { CascadeNode } from "./node.ts";
import type { Refusal } from "./link/messages.ts";
import type { NodeParts } from "./node_deltas.ts";
import { leaveEpoch } from "./rejoin.ts";
import { isBelow, promotedView } from "./tree/promotion.ts";
import { canMeet, parentsIn, pathTo } from "./tree/tree.ts";
import { Seat } from "./tree/seat.ts";
import { isPromotedOver, nextReign, saidBy, type View, withParent } from "./tree/view.ts";
import { NodeParents } from "./node_parents.ts";
import { setAside } from "./node_past.ts";
import type { Moved, NodeState } from "./state.ts";

/** Time between two tries to leave an abandoned epoch that something is in the way of, ms. */
const LEAVE_RETRY_MS = 10_000;

/** How a node is to be promoted. */
export interface PromoteOptions {
  /** Nodes that do not answer, and feed nobody in the new tree. */
  readonly away: readonly string[];
  /** Only if its log ends here: what a hand-over counts on. Null: wherever. */
  readonly expectLsn: number | null;
  /** Also where this node is the primary already: of two that were promoted at once this one is kept. */
  readonly force: boolean;
  /** Only to hand on: it needs no volumes. */
  readonly isInterim?: boolean;
  /** What its log has beyond is set aside. Null: nothing is. */
  readonly atLsn?: number | null;
}

/** See the module's text. */
export class NodeTree {
  readonly seat: Seat;
  /** Nodes that did not answer when this one was last to become the primary. */
  away: ReadonlySet<string> = new Set();
  readonly #node: CascadeNode;
  readonly #parts: NodeParts;
  #leaving = false;
  /** A promotion as of an LSN: what goes into the state file with its view. */
  #cut: { readonly reignId: string; readonly state: Partial<NodeState> } | null = null;
  #nextLeaveMs = 0;
  /** Chooses among the parents that the topology lists. */
  readonly parents: NodeParents;
  /** What goes into the state file with the view that follows from it. */
  #moved: Moved | null = null;
  /** How often another node came to feed this one, by who had said so. */
  readonly moves = { operator: 0, promotion: 0, itself: 0 };

  constructor(node: CascadeNode, parts: NodeParts) {
    this.#node = node;
    this.#parts = parts;
    const { ports } = parts;
    this.seat = new Seat({
      // With what a reload has changed of it.
      get config() {
        return node.config;
      },
      clock: ports.clock,
      journal: ports.journal,
      view: parts.state().view,
      epochs: () => node.pipeline.history.epochs,
      save: (view) =>
        parts.save({
          view,
          ...(view.reignId === this.#cut?.reignId ? this.#cut.state : {}),
          ...(saidBy(view, parts.config.name) === "itself" ? { moved: this.#moved } : {}),
        }),
      look: (other) => node.hub.look(other),
      isConnected: (other) => node.hub.isConnected(other),
      fence: () => node.front.fence(),
      turn: (why) => void node.turn(why),
      rewire: async (place) => {
        const isOther = place.upstream?.from !== node.config.upstream?.from;
        if (isOther) this.moves[saidBy(this.seat.view, node.config.name) ?? "operator"]++;
        node.config = { ...node.config, ...place };
        await node.hub.rewire(place);
      },
    });
    this.#moved = parts.state().moved ?? null;
    this.parents = new NodeParents(node, (make, moved) =>
      this.seat.change((view) => {
        const next = make(view);
        if (next !== null) this.#moved = moved;
        return next;
      }), () => this.#moved);
  }

  /** An abandoned epoch is being left: nothing is to be added to it. */
  get isLeaving(): boolean {
    return this.#leaving;
  }

  tick(): void {
    const { pipeline, hub } = this.#node;
    this.seat.tick(pipeline.reigns || (hub.upstream?.connected ?? false));
    this.parents.tick();
  }

  /**
   * Makes this node the primary: settles when that is durable; the node turns then. A primary that waits
   * for word of others serves without. Throws `usage`, `refused`.
   */
  async promote(options: PromoteOptions): Promise<void> {
    const { away, expectLsn, force, isInterim = false, atLsn = null } = options;
    const { pipeline, config, deltas, ports, phase } = this.#node;
    if (pipeline.reigns && !force) return this.serveWithout(away);
    const { tree } = config;
    if (tree === null) throw new CascadeError("usage", "this node knows no tree");
    const isUp = phase === "running" || (pipeline.reigns && phase === "starting");
    if (!isUp && phase !== "abandoned-tail") {
      throw refused(`${config.name} is ${phase}`, true);
    }
    if (deltas.isFresh || deltas.isInPlace || deltas.isRejoining || this.#leaving) {
      throw refused(`${config.name} has no whole image to serve`, false);
    }
    if (pipeline.volumes.length === 0 && !isInterim) {
      throw refused(`${config.name} has no volumes to serve`, false);
    }
    if (config.capture === "scan") throw refused(`${config.name} is one that scans`, false);
    if (expectLsn !== null && pipeline.appendedLsn !== expectLsn) {
      const message = `${config.name} ends at LSN ${pipeline.appendedLsn}, not at ${expectLsn}`;
      throw refused(message, true);
    }
    this.away = new Set(away);
    const { view } = this.seat;
    const number = nextReign(Math.max(pipeline.history.lastNumber, view.reign));
    const id = Buffer.from(ports.random.bytes(16)).toString("hex");
    const next = promotedView(tree, view, config.name, { number, id }, new Set(away));
    if (atLsn === null || atLsn === pipeline.appendedLsn) return await this.#reignBy(next);
    await this.#promoteAt(atLsn, next);
  }

  /** A primary that waits, for word of others or for peers, serves without those that are known to be away. */
  serveWithout(away: readonly string[]): void {
    const { hub, front, recovery } = this.#node;
    this.seat.allowAlone();
    for (const { config: { name, to } } of hub.downstream) {
      if (away.includes(to)) recovery?.heard(name);
    }
    hub.doWithout(away);
    front.progress();
  }

  /**
   * The log beyond `lsn` is kept in a folder of its own, and goes at the start that follows: view and cut are in one
   * state file, so that there is no crash after which the one is so and the other not.
   */
  async #promoteAt(lsn: number, view: View): Promise<void> {
    const { pipeline, marks, deltas } = this.#node;
    const { config, ports: { journal } } = this.#parts;
    marks.cap(lsn);
    try {
      const { folder, cutKept } = await setAside(this.#node, lsn);
      if (deltas.isInPlace) throw refused(`${config.name} has no whole image to serve`, false);
      journal.write("warn", "promoted as of an earlier LSN: what lies beyond was kept", {
        lsn,
        end: pipeline.appendedLsn,
        ...(folder === null ? {} : { folder }),
      });
      this.#cut = { reignId: view.reignId, state: { cutLsn: lsn, cutKept } };
      await this.#reignBy(view);
    } catch (error) {
      this.#cut = null;
      marks.cap(Infinity);
      throw error;
    }
  }

  /** Settles when that view is durable. Throws `refused` where another one came before it. */
  async #reignBy(view: View): Promise<void> {
    await this.seat.reign(view);
    const { view: { reign, reignId, primary } } = this.seat;
    if (reignId === view.reignId) return;
    throw refused(`${primary} was promoted meanwhile, in epoch ${reign}`, true);
  }

  /** Throws `usage` or `not-found` when that node cannot feed this one. */
  checkParent(to: string): void {
    const { config, pipeline } = this.#node;
    const { tree, name } = config;
    if (tree === null) throw new CascadeError("usage", "this node knows no tree");
    if (pipeline.reigns) throw new CascadeError("usage", `${name} is the primary: nobody feeds it`);
    if (!tree.nodes.some((node) => node.name === to)) {
      throw new CascadeError("not-found", `the topology has no node "${to}"`);
    }
    if (to === name || isBelow(tree, this.seat.view, to, name)) {
      throw new CascadeError("usage", `${to} is fed by ${name} itself`);
    }
    if (!canMeet(tree, to, name)) {
      throw new CascadeError("usage", `neither ${to} nor ${name} has an address to dial`, {
        hint: `Give ${to} a \`listen:\` address`,
      });
    }
  }

  /**
   * Another node feeds this one from now on, as an operator says: settles when it dials there. Where the node chooses its
   * parents, that it stays is said as well. Throws `usage`, `not-found`.
   */
  async reparent(to: string): Promise<void> {
    this.checkParent(to);
    await this.seat.change((view) => {
      const { config } = this.#node;
      const isThere = config.upstream?.from === to;
      const isSaid = (config.parents ?? []).length === 0 ||
        saidBy(view, config.name) === "operator";
      return isThere && isSaid ? null : withParent(view, config.name, to);
    });
  }

  /** The node above does not go on with what is here. */
  refused(refusal: Refusal): void {
    if (refusal.code === "delta-needed") this.#climb();
    if (refusal.code !== "abandoned-tail") return;
    const { history } = this.#node.pipeline;
    const { forkLsn, wonBy } = refusal;
    // Only what this node has heard of itself can win.
    const isOver = forkLsn !== undefined && wonBy !== undefined &&
      isPromotedOver(wonBy, history.lastNumber) && !isPromotedOver(wonBy, this.seat.view.reign);
    if (isOver) return this.#leave(forkLsn);
    if (this.#node.phase !== "running") return;
    this.#node.phase = "abandoned-tail";
    this.#node.reason = refusal.message;
    this.#parts.ports.journal.write("error", "this node holds an abandoned tail", {
      reason: refusal.message,
    });
  }

  /** A node above without volumes cannot give more than its log: one further up can, or else any that it can meet. */
  #climb(): void {
    const { tree, name, upstream } = this.#node.config;
    if (tree === null || upstream === null) return;
    const parents = parentsIn(tree, this.seat.view);
    const path = pathTo(parents, name).reverse().slice(2);
    const hasVolumes = (other: string) =>
      tree.nodes.find((node) => node.name === other)?.hasVolumes === true;
    const others = hasVolumes(upstream.from) ? [] : tree.nodes.map((node) => node.name)
      .filter((other) => !pathTo(parents, other).includes(name));
    const isFit = (other: string) => hasVolumes(other) && canMeet(tree, other, name);
    const to = [...path, ...others].find(isFit);
    if (to === undefined) return;
    const [home] = this.#node.config.parents ?? [];
    this.seat.change((view) => {
      if (this.#node.config.upstream?.from !== upstream.from || view.primary === name) return null;
      const reason = `${upstream.from} has not the log any more that this node needs`;
      if (home !== undefined) {
        this.#moved = { to, reason, atMs: this.#parts.ports.clock.nowMs() };
      }
      return withParent(view, name, to, home);
    }).catch((error) => this.#parts.onFatal(error));
  }

  #leave(forkLsn: number): void {
    const { ports: { clock } } = this.#parts;
    if (this.#leaving || clock.monotonicMs() < this.#nextLeaveMs) return;
    this.#leaving = true;
    this.#leaveEpoch(forkLsn).catch((error) => {
      const { phase } = this.#node;
      if (phase !== "running" && phase !== "abandoned-tail") return;
      if (!(error instanceof CascadeError)) return this.#parts.onFatal(error);
      this.#node.reason = `cannot leave the abandoned epoch: ${describeError(error)}`;
      this.#nextLeaveMs = clock.monotonicMs() + LEAVE_RETRY_MS;
    }).finally(() => this.#leaving = false);
  }

  async #leaveEpoch(forkLsn: number): Promise<void> {
    const { pipeline, deltas } = this.#node;
    const { config, ports, save } = this.#parts;
    ports.journal.write("warn", "leaving an abandoned epoch", {
      epoch: pipeline.history.lastNumber,
      fork: forkLsn,
      end: pipeline.appendedLsn,
    });
    const rejoin = await leaveEpoch({
      dir: config.dir,
      disk: ports.disk,
      clock: ports.clock,
      pipeline,
      segmentBytes: config.log.segmentBytes,
      ground: deltas.ground,
      before: deltas.isRejoining ? deltas.touched() : null,
      chain: deltas.chain,
    }, forkLsn);
    if (rejoin.kept !== null) {
      ports.journal.write("warn", "kept the records of the abandoned epoch", {
        folder: rejoin.kept,
      });
    }
    await save({ rejoin });
    this.#node.turn("it leaves an abandoned epoch");
  }
}

function refused(message: string, retryable: boolean): CascadeError {
  return new CascadeError("refused", message, { retryable });
}
