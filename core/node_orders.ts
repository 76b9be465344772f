/**
 * What an operator orders of the tree, as the node that is meant carries it out: it asks the others how they stand,
 * tells what would follow, and takes one step after the other. Each step is whole in itself, and what was begun is
 * completed, or undone, by ordering it again.
 *
 *  - A promotion: where another node has more of the history, that one reigns first, with its clients held, and
 *    hands over.
 *  - A hand-over: the primary holds its clients, the last byte comes through, and the primary itself hands its reign
 *    on: so there is no moment at which two could reign. If anything fails before that, its clients go on.
 *
 * @module
 */
import { CascadeError, describeError } from "./errors.ts";
import { NO_EPOCH, type Position } from "./history.ts";
import type { AsOf } from "./marks/views.ts";
import type { CascadeNode } from "./node.ts";
import { writeFiles } from "./node_files.ts";
import { findPast, planPast, sinceThen } from "./node_past.ts";
import { LOOK_MS, standingOf, waitUntil } from "./node_standing.ts";
import {
  heldSchema,
  HOLD_MS_MAX,
  offerSchema,
  type Order,
  type PlainAsk,
  type Standing,
  standingSchema,
  yieldedSchema,
} from "./tree/asks.ts";
import { awayOf, planPromotion } from "./tree/promotion_plan.ts";
import { parentsIn, pathTo, placeIn } from "./tree/tree.ts";
import type { TreePlan, TreeReport } from "./tree/tree_report.ts";

/** How long the last bytes may take while clients are held, ms. */
const HOLD_MS = 20_000;
/** How long a node may take to reign that has records which the one to be promoted lacks, ms. */
const FETCH_MS = 120_000;

/** How often nodes are asked how they stand when the primary changes meanwhile. */
const ASK_TURNS = 3;

/** See the module's text. */
export class NodeOrders {
  readonly #node: CascadeNode;
  /** The order that is being carried out, as text, and what comes of it. */
  #current: { readonly text: string; readonly report: Promise<TreeReport> } | null = null;

  constructor(node: CascadeNode) {
    this.#node = node;
  }

  /** Whether an order is being carried out that changes the tree. */
  get isBusy(): boolean {
    return this.#current !== null;
  }

  /** Carries an order out. Throws `refused`, `usage`, `unreachable`, `timed-out`, `not-found`, `locked`. */
  async carryOut(order: Order): Promise<TreeReport> {
    // Files are written as one by those that have them, whoever else is at it.
    if (order.dryRun || order.order === "write") return await this.#carryOut(order);
    const text = JSON.stringify(order);
    if (this.#current !== null) {
      // Given again, since whoever gave it was cut off.
      if (this.#current.text === text) return await this.#current.report;
      const message = `${this.#name} carries out another order`;
      throw new CascadeError("locked", message, { retryable: true });
    }
    const report = this.#carryOut(order);
    this.#current = { text, report };
    try {
      return await report;
    } finally {
      this.#current = null;
    }
  }

  async #carryOut(order: Order): Promise<TreeReport> {
    const { clock } = this.#node.ports;
    const sinceMs = clock.monotonicMs();
    const report = await this.#do(order);
    return { ...report, durationMs: clock.monotonicMs() - sinceMs };
  }

  #do(order: Order): Promise<TreeReport> {
    switch (order.order) {
      case "promote":
        return order.at === null
          ? this.#promote(order.dryRun, order.force)
          : this.#promoteAt(order.at, order.dryRun, order.force);
      case "migrate":
        return this.#migrate(order.dryRun, order.timeoutMs);
      case "reparent":
        return this.#reparent(order.to, order.dryRun);
      case "resolve":
        return this.#resolve(order.dryRun);
      case "write":
        return this.#write(order.dryRun);
    }
  }

  get #name(): string {
    return this.#node.config.name;
  }

  get #tree() {
    const { tree } = this.#node.config;
    if (tree === null) throw new CascadeError("usage", `${this.#name} knows no tree`);
    return tree;
  }

  get #view() {
    return this.#node.tree.seat.view;
  }

  /**
   * How all nodes stand that answer, under one reign. A node that does not answer is waited for: when another reign began
   * meanwhile, what was told before is no ground to act on, and all are asked anew. Throws `refused`.
   */
  async #standings(): Promise<Map<string, Standing | string>> {
    for (let turn = 0; turn < ASK_TURNS; turn++) {
      const { reignId } = this.#view;
      const standings = await this.#askAll();
      if (this.#view.reignId === reignId) return standings;
    }
    throw new CascadeError("refused", "the primary changed while the nodes were asked", {
      hint: "Look at `cascade status`, and give the order again",
      retryable: true,
    });
  }

  async #askAll(): Promise<Map<string, Standing | string>> {
    const standings = new Map<string, Standing | string>([[this.#name, standingOf(this.#node)]]);
    await Promise.all(this.#tree.nodes.map(async ({ name }) => {
      if (name === this.#name) return;
      try {
        standings.set(name, await this.#standingOf(name));
      } catch (error) {
        standings.set(name, describeError(error));
      }
    }));
    return standings;
  }

  async #standingOf(node: string): Promise<Standing> {
    return standingSchema.parse(await this.#node.hub.ask(node, { ask: "standing" }));
  }

  async #promote(dryRun: boolean, force: boolean): Promise<TreeReport> {
    const node = this.#node;
    const standings = await this.#standings();
    const ground = { tree: this.#tree, view: this.#view, node: this.#name, standings };
    const plan = planPromotion(ground, false, !force);
    if (dryRun) return { ...done(plan), isDone: false };
    if (node.pipeline.reigns && node.tree.seat.conflict === null) {
      node.tree.serveWithout([...awayOf(ground)]);
      return done(plan);
    }
    if (plan.blocked !== null && !(force && plan.isPrimaryReachable)) {
      throw new CascadeError("refused", plan.blocked);
    }
    const away = [...awayOf(ground)];
    const { reignId } = ground.view;
    if (isInterim(standings.get(this.#view.primary))) {
      node.tree.away = new Set(away);
      // It may have been started again since, and wait for those that are gone.
      await this.#tellTo(this.#view.primary, { ask: "reign", away, holdMs: HOLD_MS_MAX, reignId });
      return { ...await this.#takeOver(FETCH_MS), plan };
    }
    if (plan.fetchBytes > 0 && !force) {
      node.tree.away = new Set(away);
      await this.#tellTo(plan.furthest, { ask: "reign", away, holdMs: HOLD_MS_MAX, reignId });
      await waitUntil(this.#node, FETCH_MS, `${plan.furthest} did not begin to reign`, async () => {
        const { reigns, state } = await this.#standingOf(plan.furthest);
        return reigns && state === "running" && this.#view.primary === plan.furthest;
      });
      return { ...await this.#takeOver(FETCH_MS), plan };
    }
    await node.tree.promote({ away, expectLsn: null, force: false });
    return done(plan, node.pipeline.appendedLsn);
  }

  /** As of an earlier moment: what others have more is of no use then. */
  async #promoteAt(at: AsOf, dryRun: boolean, force: boolean): Promise<TreeReport> {
    const node = this.#node;
    if (node.pipeline.reigns) return { ...done(null, await sinceThen(node, at)), isDone: !dryRun };
    const lsn = await findPast(node, at);
    const standings = await this.#standings();
    const ground = { tree: this.#tree, view: this.#view, node: this.#name, standings };
    const plan = planPast(ground, node, lsn);
    if (dryRun) return { ...done(plan, lsn), isDone: false };
    if (plan.blocked !== null && !(force && plan.isPrimaryReachable)) {
      throw new CascadeError("refused", plan.blocked);
    }
    const away = [...awayOf(ground)];
    await node.tree.promote({ away, expectLsn: null, force: false, atLsn: lsn });
    return done(plan, lsn);
  }

  async #migrate(dryRun: boolean, timeoutMs: number): Promise<TreeReport> {
    if (this.#view.primary === this.#name && !dryRun) return done(null);
    const standings = await this.#standings();
    const ground = { tree: this.#tree, view: this.#view, node: this.#name, standings };
    const plan = planPromotion(ground, true);
    if (dryRun) return { ...done(plan), isDone: false };
    if (plan.blocked !== null) throw new CascadeError("refused", plan.blocked);
    this.#node.tree.away = awayOf(ground);
    return { ...await this.#takeOver(timeoutMs), plan };
  }

  /** The primary answers: all that it has comes here, and then its reign. */
  async #takeOver(timeoutMs: number): Promise<TreeReport> {
    const node = this.#node;
    const { primary } = this.#view;
    const near = await this.#standingOf(primary);
    await this.#comeTo({ epochId: lastIdOf(near), lsn: near.endLsn }, timeoutMs);
    const { endLsn, epochId } = heldSchema.parse(
      await node.hub.ask(primary, { ask: "hold", leaseMs: HOLD_MS }, HOLD_MS),
    );
    try {
      await this.#comeTo({ epochId, lsn: endLsn }, HOLD_MS * 3 / 4);
    } catch (error) {
      await node.hub.ask(primary, { ask: "release" }).catch(() => {/* its lease ends by itself */});
      throw error;
    }
    await this.#receiveReign(primary, endLsn);
    return done(null, endLsn);
  }

  async #receiveReign(primary: string, endLsn: number): Promise<void> {
    const { hub, tree: { seat } } = this.#node;
    try {
      const answer = await hub.ask(primary, { ask: "yield", to: this.#name, endLsn });
      await seat.learn(yieldedSchema.parse(answer).view);
    } catch (error) {
      // It may have handed on, and been cut off before it could say so: then it tells everybody.
      for (let turn = 0; turn < 50 && this.#view.primary !== this.#name; turn++) {
        await hub.look(primary).catch(() => {});
        await this.#sleep(10 * LOOK_MS);
      }
      if (this.#view.primary !== this.#name) throw error;
    }
  }

  /**
   * Waits until this node has all below that position, durably: of that history, not of one of its own. Links on the way
   * that wait for their time ship now.
   */
  async #comeTo(position: Position, timeoutMs: number): Promise<void> {
    const { pipeline } = this.#node;
    const path = pathTo(parentsIn(this.#tree, this.#view), this.#name);
    const { lsn } = position;
    const isThere = () =>
      Math.min(pipeline.durableLsn, pipeline.stableLsn) >= lsn &&
      pipeline.history.holds(position, pipeline.appendedLsn);
    let shipping = Promise.resolve();
    let isShipping = false;
    await waitUntil(this.#node, timeoutMs, `${this.#name} did not come to LSN ${lsn}`, () => {
      if (isThere()) return true;
      if (!isShipping) {
        isShipping = true;
        shipping = this.#shipAlong(path).catch(() => {/* tried again */})
          .finally(() => isShipping = false);
      }
      return false;
    });
    await Promise.race([shipping, this.#sleep(LOOK_MS)]);
  }

  async #shipAlong(path: readonly string[]): Promise<void> {
    for (const [i, from] of path.slice(0, -1).entries()) {
      const to = path[i + 1] ?? this.#name;
      const { upstream } = placeIn(this.#tree, this.#view, to);
      if (upstream?.mode === "periodic") {
        await this.#node.hub.ask(from, { ask: "ship", to }, FETCH_MS);
      }
    }
    await this.#sleep(10 * LOOK_MS);
  }

  async #reparent(to: string, dryRun: boolean): Promise<TreeReport> {
    const node = this.#node;
    const { pipeline, config } = node;
    const from = config.upstream?.from ?? null;
    node.tree.checkParent(to);
    const reparent = {
      node: this.#name,
      from,
      to,
      by: "nothing" as const,
      bytes: 0,
      isDone: false,
    };
    if (from === to) {
      // Said by an operator it counts for more than as the choice of the node itself.
      if (!dryRun) await node.tree.reparent(to);
      return { ...done(null), reparent: { ...reparent, isDone: true } };
    }
    const lsn = pipeline.appendedLsn;
    const epochId = pipeline.history.idAt(lsn);
    const offer = offerSchema.parse(
      await node.hub.ask(to, { ask: "offer", to: this.#name, lsn, epochId }, HOLD_MS),
    );
    if (!dryRun) await node.tree.reparent(to);
    return { ...done(null), isDone: !dryRun, reparent: { ...reparent, ...offer, isDone: !dryRun } };
  }

  /** Of two nodes that were promoted at once this one is kept: its history goes on under a later reign. */
  async #resolve(dryRun: boolean): Promise<TreeReport> {
    const node = this.#node;
    const standings = await this.#standings();
    const plan = planPromotion(
      { tree: this.#tree, view: this.#view, node: this.#name, standings },
      false,
    );
    if (dryRun) return { ...done(plan), isDone: false };
    // What was decided is decided: whoever was cut off before the answer asks again.
    if (node.tree.seat.conflict === null && node.pipeline.reigns) return done(null);
    if (node.tree.seat.conflict === null) {
      throw new CascadeError("usage", `${this.#name} knows of no conflict`, {
        hint: "To make it the primary, use `cascade promote`",
      });
    }
    const unfit = plan.blocked !== null && !plan.isPrimaryReachable;
    if (unfit) throw new CascadeError("refused", plan.blocked ?? "");
    await node.tree.promote({ away: [], expectLsn: null, force: true });
    return done(plan, node.pipeline.appendedLsn);
  }

  async #write(dryRun: boolean): Promise<TreeReport> {
    if (dryRun) {
      throw new CascadeError("usage", "there is nothing to tell before files are written");
    }
    const files = await writeFiles(this.#node);
    return { ...done(null), files, view: this.#view };
  }

  /** Has another node, or this one, do something. */
  async #tellTo(name: string, question: PlainAsk): Promise<void> {
    await this.#node.hub.ask(name, question);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((go) => this.#node.ports.clock.after(ms, () => go()));
  }
}

/** It reigns only to hand on: whoever had it do so was cut off. */
function isInterim(primary: Standing | string | undefined): boolean {
  return typeof primary === "object" && primary.reigns && !primary.hasVolumes;
}

/** The epoch in which a node's log ends. */
function lastIdOf({ history, endLsn }: Standing): string {
  return history.findLast(({ firstLsn }) => firstLsn < endLsn)?.id ?? NO_EPOCH;
}

function done(plan: TreePlan | null, lsn: number | null = null): TreeReport {
  return { plan, reparent: null, isDone: true, lsn, durationMs: 0 };
}
