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
import { CascadeError, describeError, isCascadeError } from "./errors.ts";
import type { AsOf } from "./marks/views.ts";
import type { CascadeNode } from "./node.ts";
import { writeFiles } from "./node_files.ts";
import { findPast, planPast, sinceThen } from "./node_past.ts";
import { askStanding, standingOf, waitUntil } from "./node_standing.ts";
import { TakeOver } from "./take_over.ts";
import { HOLD_MS_MAX, offerSchema, type Order, type PlainAsk, type Standing } from "./tree/asks.ts";
import { planConflict } from "./tree/conflict_plan.ts";
import type { OrderProgress, OrderStep } from "./tree/order_progress.ts";
import { awayOf, planPromotion } from "./tree/promotion_plan.ts";
import type { TreePlan, TreeReport } from "./tree/tree_report.ts";

/** How long a node may take to say what it would send, ms. */
const OFFER_MS = 20_000;
/** How long a node may take to reign that has records which the one to be promoted lacks, ms. */
const FETCH_MS = 120_000;

/** So long a primary may be away that has only begun to reign, and how often it is asked meanwhile, ms. */
const BEGIN_MS = 5_000;
const ASK_AGAIN_MS = 200;
/** How often nodes are asked how they stand when the primary changes meanwhile. */
const ASK_TURNS = 3;

/** The order that is being carried out, what comes of it, and how far it is. */
interface Current {
  readonly order: ChangeOrder;
  readonly text: string;
  readonly report: Promise<TreeReport>;
  readonly sinceMs: number;
  readonly step: OrderStep;
  readonly from: string | null;
}

type ChangeOrder = Exclude<Order, { order: "write" }>;

/** See the module's text. */
export class NodeOrders {
  readonly #node: CascadeNode;
  #current: Current | null = null;
  #takingOver: TakeOver | null = null;

  constructor(node: CascadeNode) {
    this.#node = node;
  }

  /** Whether an order is being carried out that changes the tree. */
  get isBusy(): boolean {
    return this.#current !== null;
  }

  /** The order that is being carried out and decides who reigns; null: none. */
  get deciding(): "promote" | "migrate" | "resolve" | null {
    const order = this.#current?.order.order ?? null;
    return order === "reparent" ? null : order;
  }

  /** How far the order is that is being carried out; null: none is. */
  get progress(): OrderProgress | null {
    if (this.#current === null) return null;
    const { order: { order }, step, from, sinceMs } = this.#current;
    const bytes = this.#takingOver?.bytes ?? null;
    return {
      ...{ order, step, from },
      ...{ bytesTotal: bytes?.total ?? null, bytesLeft: bytes?.left ?? null },
      forMs: this.#node.ports.clock.monotonicMs() - sinceMs,
    };
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
    // Before anybody is asked: of two nodes that decide at once, one at least learns of the other.
    const { promise: begun, resolve: begin } = Promise.withResolvers<void>();
    const report = begun.then(() => this.#carryOut(order));
    const sinceMs = this.#node.ports.clock.monotonicMs();
    this.#current = { order, text, report, sinceMs, step: "asking", from: null };
    begin();
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
   * How all nodes stand that answer. A primary that began to reign just now is away for a moment, to begin in its new role: it
   * is waited for.
   */
  async #standings(): Promise<Map<string, Standing | string>> {
    for (;;) {
      const standings = await this.#standingsOfReign();
      const { view: { primary }, reignAgeMs } = this.#node.tree.seat;
      if (typeof standings.get(primary) === "object" || reignAgeMs > BEGIN_MS) return standings;
      await new Promise<void>((go) => this.#node.ports.clock.after(ASK_AGAIN_MS, go));
    }
  }

  /**
   * How all nodes stand that answer, under one reign. A node that does not answer is waited for: when another reign began
   * meanwhile, what was told before is no ground to act on, and all are asked anew. Throws `refused`.
   */
  async #standingsOfReign(): Promise<Map<string, Standing | string>> {
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
        standings.set(name, await askStanding(this.#node, name));
      } catch (error) {
        standings.set(name, describeError(error));
      }
    }));
    return standings;
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
    if (!force) checkAlone(standings);
    const away = [...awayOf(ground)];
    const { reignId } = ground.view;
    const { primary } = this.#view;
    if (isInterim(standings.get(primary))) {
      node.tree.away = new Set(away);
      // It may have been started again since, and wait for those that are gone.
      return { ...await this.#byWayOf(primary, { away, reignId }), plan };
    }
    if (plan.fetchBytes > 0 && !force) {
      this.#begin("fetching", plan.furthest);
      node.tree.away = new Set(away);
      return { ...await this.#byWayOf(plan.furthest, { away, reignId }), plan };
    }
    this.#begin("promoting");
    await node.tree.promote({ away, expectLsn: null, force: false });
    return done(plan, node.pipeline.appendedLsn);
  }

  /**
   * Makes another node reign for a while, so that what it has more comes here, and takes over from it. Throws what that
   * throws, and tells of that node where it reigns then.
   */
  async #byWayOf(interim: string, under: { away: string[]; reignId: string }): Promise<TreeReport> {
    try {
      await this.#tellTo(interim, { ask: "reign", ...under, holdMs: HOLD_MS_MAX });
      await waitUntil(this.#node, FETCH_MS, `${interim} did not begin to reign`, async () => {
        const { reigns, state } = await askStanding(this.#node, interim);
        return reigns && state === "running" && this.#view.primary === interim;
      });
      return await this.#takeOver(FETCH_MS);
    } catch (error) {
      if (this.#view.primary !== interim) throw error;
      const code = isCascadeError(error) ? error.code : "refused";
      const message = `${interim} was made the primary, so that what it had would come here, and ` +
        `still is; ${this.#name} was not promoted: ${describeError(error)}`;
      const isBunker = await askStanding(this.#node, interim).then(isInterim, () => false);
      const again = isBunker ? "`cascade promote` again" : "`cascade migrate`";
      throw new CascadeError(code, message, {
        hint: `Give ${again} for ${this.#name} once it gets what ${interim} has`,
        retryable: true,
        cause: error,
      });
    }
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
    if (!force) checkAlone(standings);
    const away = [...awayOf(ground)];
    this.#begin("promoting");
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
      await node.hub.ask(to, { ask: "offer", to: this.#name, lsn, epochId }, OFFER_MS),
    );
    if (!dryRun) await node.tree.reparent(to);
    return { ...done(null), isDone: !dryRun, reparent: { ...reparent, ...offer, isDone: !dryRun } };
  }

  /** Of two nodes that were promoted at once this one is kept: its history goes on under a later reign. */
  async #resolve(dryRun: boolean): Promise<TreeReport> {
    const node = this.#node;
    const isDecided = node.tree.seat.conflict === null;
    // What was decided is decided: whoever was cut off before the answer asks again.
    if (isDecided && node.pipeline.reigns) return { ...done(null), isDone: !dryRun };
    if (isDecided) {
      throw new CascadeError("usage", `${this.#name} knows of no conflict`, {
        hint: "To make it the primary, use `cascade promote`",
      });
    }
    const standings = await this.#standings();
    const ground = { tree: this.#tree, view: this.#view, node: this.#name, standings };
    const { plan, conflict } = planConflict(ground);
    if (dryRun) return { ...done(plan), isDone: false, conflict };
    if (plan.blocked !== null) throw new CascadeError("refused", plan.blocked);
    checkAlone(standings);
    this.#begin("promoting");
    await node.tree.promote({ away: [], expectLsn: null, force: true });
    return { ...done(plan, node.pipeline.appendedLsn), conflict };
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

  async #takeOver(timeoutMs: number): Promise<TreeReport> {
    const takeOver = new TakeOver(this.#node, (step, from) => this.#begin(step, from));
    this.#takingOver = takeOver;
    try {
      return done(null, await takeOver.run(timeoutMs));
    } finally {
      this.#takingOver = null;
    }
  }

  #begin(step: OrderStep, from: string | null = null): void {
    if (this.#current !== null) this.#current = { ...this.#current, step, from };
  }
}

/** It reigns only to hand on: whoever had it do so was cut off. */
function isInterim(primary: Standing | string | undefined): boolean {
  return typeof primary === "object" && primary.reigns && !primary.hasVolumes;
}

/** Two nodes that decided at once would both reign: whoever learns of the other lets it be. Throws `refused`. */
function checkAlone(standings: ReadonlyMap<string, Standing | string>): void {
  for (const standing of [...standings.values()].slice(1)) {
    if (typeof standing === "string" || standing.deciding === null) continue;
    const message = `${standing.node} carries out \`cascade ${standing.deciding}\` at this moment`;
    throw new CascadeError("refused", message, {
      hint:
        "See by `cascade status` what came of it, and give the order again if it is still wanted",
      retryable: true,
    });
  }
}

function done(plan: TreePlan | null, lsn: number | null = null): TreeReport {
  return { plan, reparent: null, isDone: true, lsn, durationMs: 0 };
}
