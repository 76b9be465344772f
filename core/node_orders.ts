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
import { Buffer } from "node:buffer";
import { CascadeError, describeError } from "./errors.ts";
import type { CascadeNode } from "./node.ts";
import {
  type Ask,
  type AskAnswer,
  heldSchema,
  HOLD_MS_MAX,
  offerSchema,
  type Order,
  type Standing,
  standingSchema,
  yieldedSchema,
} from "./tree/asks.ts";
import { awayOf, planPromotion } from "./tree/promotion_plan.ts";
import { promotedView } from "./tree/promotion.ts";
import { parentsIn, pathTo, placeIn } from "./tree/tree.ts";
import { type TreePlan, type TreeReport, treeReportSchema } from "./tree/tree_report.ts";
import { nextReign, withParent } from "./tree/view.ts";

/** How long the last bytes may take while clients are held, ms. */
const HOLD_MS = 20_000;
/** How long a node may take to reign that has records which the one to be promoted lacks, ms. */
const FETCH_MS = 120_000;
const LOOK_MS = 20;
const EPOCHS_TOLD = 100;

/** See the module's text. */
export class NodeOrders {
  readonly #node: CascadeNode;
  #isBusy = false;

  constructor(node: CascadeNode) {
    this.#node = node;
  }

  /** Carries an order out. Throws `refused`, `usage`, `unreachable`, `timed-out`, `not-found`, `locked`. */
  async carryOut(order: Order): Promise<TreeReport> {
    if (order.dryRun) return await this.#carryOut(order);
    if (this.#isBusy) {
      const message = `${this.#name} carries out another order`;
      throw new CascadeError("locked", message, { retryable: true });
    }
    this.#isBusy = true;
    try {
      return await this.#carryOut(order);
    } finally {
      this.#isBusy = false;
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
        return this.#promote(order.dryRun, order.force);
      case "migrate":
        return this.#migrate(order.dryRun, order.timeoutMs);
      case "reparent":
        return this.#reparent(order.to, order.dryRun);
      case "resolve":
        return this.#resolve(order.dryRun);
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

  /** How all nodes stand that answer. */
  async #standings(): Promise<Map<string, Standing | string>> {
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
    const plan = planPromotion(ground, false);
    if (dryRun) return { ...done(plan), isDone: false };
    if (node.pipeline.reigns && node.tree.seat.conflict === null) {
      node.tree.seat.allowAlone();
      return done(plan);
    }
    if (plan.blocked !== null && !(force && plan.isPrimaryReachable)) {
      throw new CascadeError("refused", plan.blocked);
    }
    if (plan.fetchBytes > 0 && !force) {
      const away = [...awayOf(ground)];
      await this.#tellTo(plan.furthest, { ask: "reign", away, holdMs: HOLD_MS_MAX });
      await this.#until(FETCH_MS, `${plan.furthest} did not begin to reign`, async () => {
        const { reigns, state } = await this.#standingOf(plan.furthest);
        return reigns && state === "running" && this.#view.primary === plan.furthest;
      });
      return { ...await this.#takeOver(FETCH_MS), plan };
    }
    const away = [...awayOf(ground)];
    await node.tree.promote({ away, expectLsn: null, force: false });
    return done(plan, node.pipeline.appendedLsn);
  }

  async #migrate(dryRun: boolean, timeoutMs: number): Promise<TreeReport> {
    if (this.#view.primary === this.#name && !dryRun) return done(null);
    const standings = await this.#standings();
    const ground = { tree: this.#tree, view: this.#view, node: this.#name, standings };
    const plan = planPromotion(ground, true);
    if (dryRun) return { ...done(plan), isDone: false };
    if (plan.blocked !== null) throw new CascadeError("refused", plan.blocked);
    return { ...await this.#takeOver(timeoutMs), plan };
  }

  /** The primary answers: all that it has comes here, and then its reign. */
  async #takeOver(timeoutMs: number): Promise<TreeReport> {
    const node = this.#node;
    const { primary } = this.#view;
    const { endLsn: nearLsn } = await this.#standingOf(primary);
    await this.#comeTo(nearLsn, timeoutMs);
    const { endLsn } = heldSchema.parse(
      await node.hub.ask(primary, { ask: "hold", leaseMs: HOLD_MS }, HOLD_MS),
    );
    try {
      await this.#comeTo(endLsn, HOLD_MS * 3 / 4);
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

  /** Waits until this node has all below `lsn`, durably. Links on the way that wait for their time ship now. */
  async #comeTo(lsn: number, timeoutMs: number): Promise<void> {
    const { pipeline } = this.#node;
    const path = pathTo(parentsIn(this.#tree, this.#view), this.#name);
    const isThere = () => Math.min(pipeline.durableLsn, pipeline.stableLsn) >= lsn;
    let shipping = Promise.resolve();
    let isShipping = false;
    await this.#until(timeoutMs, `${this.#name} did not come to LSN ${lsn}`, () => {
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
    if (from === to) return { ...done(null), reparent: { ...reparent, isDone: true } };
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

  /** Has another node, or this one, do something. */
  async #tellTo(name: string, question: Ask): Promise<void> {
    await this.#node.hub.ask(name, question);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((go) => this.#node.ports.clock.after(ms, () => go()));
  }

  async #until(
    timeoutMs: number,
    otherwise: string,
    isSo: () => boolean | Promise<boolean>,
  ): Promise<void> {
    const { clock } = this.#node.ports;
    const endMs = clock.monotonicMs() + timeoutMs;
    for (;;) {
      const { phase } = this.#node;
      if (phase === "stopped" || phase === "failed") {
        throw new CascadeError("refused", `${this.#name} is ${phase}`, { retryable: true });
      }
      let why: unknown = null;
      try {
        if (await isSo()) return;
      } catch (error) {
        why = error;
      }
      if (clock.monotonicMs() >= endMs) {
        const reason = why === null ? "" : `: ${describeError(why)}`;
        const message = `${otherwise} within ${timeoutMs / 1000} s${reason}`;
        throw new CascadeError("timed-out", message, { retryable: true });
      }
      await this.#sleep(LOOK_MS);
    }
  }

  /** Answers what another node asks; never rejects. */
  async answer(question: Ask): Promise<AskAnswer> {
    try {
      return { ok: true, value: await this.#answer(question) };
    } catch (error) {
      const known = error instanceof CascadeError ? error : null;
      if (known === null || known.code === "bug") this.#node.onFatal(error);
      return {
        ok: false,
        code: known?.code ?? "bug",
        message: (error instanceof Error ? error.message : String(error)).slice(0, 2000),
        hint: known?.hint?.slice(0, 2000) ?? null,
        retryable: known?.retryable ?? false,
      };
    }
  }

  async #answer(question: Ask): Promise<unknown> {
    const node = this.#node;
    switch (question.ask) {
      case "standing":
        return standingOf(node);
      case "hold":
        return await this.#hold(question.leaseMs);
      case "release":
        node.front.release();
        return null;
      case "yield":
        return await this.#yield(question.to, question.endLsn);
      case "reign":
        node.heldForMs = question.holdMs;
        await node.tree.promote({
          away: question.away,
          expectLsn: null,
          force: false,
          isInterim: true,
        });
        return null;
      case "ship":
        await node.sync.sync([this.#linkTo(question.to)], { dryRun: false, full: false });
        return null;
      case "offer":
        return await this.#offer(question);
      case "order":
        return treeReportSchema.parse(await this.carryOut(question.order));
    }
  }

  #linkTo(to: string): string {
    const link = this.#node.hub.downstream.find(({ config }) => config.to === to);
    if (link !== undefined) return link.config.name;
    throw new CascadeError("not-found", `${this.#name} does not feed ${to}`, { retryable: true });
  }

  #offer({ to, lsn, epochId }: Extract<Ask, { ask: "offer" }>): Promise<unknown> {
    const { hub, pipeline } = this.#node;
    if (!pipeline.history.holds({ epochId, lsn }, Infinity)) {
      throw new CascadeError("refused", `what ${to} holds is not of the history of ${this.#name}`);
    }
    const { upstream } = placeIn(this.#tree, withParent(this.#view, to, this.#name), to);
    if (upstream === null) throw new CascadeError("usage", `${to} is the primary: nobody feeds it`);
    return hub.offer(upstream, lsn);
  }

  async #hold(leaseMs: number): Promise<{ endLsn: number }> {
    const { front, pipeline } = this.#node;
    this.#needReign();
    front.hold(leaseMs);
    front.commit();
    await this.#until(leaseMs / 2, "what clients wrote did not become durable", () => {
      pipeline.flushNow();
      this.#node.hub.onAppended();
      return Math.min(front.flushedLsn, pipeline.stableLsn) >= pipeline.appendedLsn;
    }).catch((error) => {
      front.release();
      throw error;
    });
    return { endLsn: pipeline.appendedLsn };
  }

  async #yield(to: string, endLsn: number): Promise<{ view: unknown }> {
    const { front, pipeline, tree: { seat }, ports } = this.#node;
    this.#needReign();
    if (!front.isHeld || pipeline.appendedLsn !== endLsn) {
      const message = "its clients went on meanwhile: the hand-over took too long";
      throw new CascadeError("refused", message, { retryable: true });
    }
    const number = nextReign(Math.max(pipeline.history.lastNumber, this.#view.reign));
    const id = Buffer.from(ports.random.bytes(16)).toString("hex");
    await seat.learn(promotedView(this.#tree, this.#view, to, { number, id }, new Set()));
    return { view: seat.view };
  }

  #needReign(): void {
    const { pipeline, phase } = this.#node;
    if (pipeline.reigns && phase === "running") return;
    const message = pipeline.reigns ? `${this.#name} is ${phase}` : `${this.#name} does not reign`;
    throw new CascadeError("refused", message, { retryable: true });
  }
}

/** How a node stands. */
export function standingOf(node: CascadeNode): Standing {
  const { pipeline, deltas, tree: { seat }, tide, times } = node;
  const isKnown = tide.known;
  const endLsn = pipeline.appendedLsn;
  const behind = isKnown ? Math.max(0, tide.endLsn() - endLsn) : 0;
  const lagSeconds = pipeline.reigns || behind === 0
    ? 0
    : times.ageSeconds(endLsn, tide.timeMs() - tide.silenceMs(), tide.caughtUpTimeMs);
  return {
    node: node.config.name,
    state: node.phase,
    reigns: pipeline.reigns,
    isWaiting: seat.isWaiting,
    hasVolumes: node.config.volumes.some(({ path }) => path !== null),
    isWhole: !deltas.isFresh && !deltas.isInPlace && !deltas.isRejoining,
    view: seat.view,
    history: pipeline.history.epochs.slice(-EPOCHS_TOLD),
    endLsn,
    stableLsn: pipeline.stableLsn,
    appliedLsn: pipeline.appliedLsn,
    primaryEndLsn: isKnown ? tide.endLsn() : 0,
    primaryTimeMs: isKnown && !pipeline.reigns ? tide.timeMs() : 0,
    silenceMs: isKnown ? tide.silenceMs() : 0,
    lagSeconds: lagSeconds === null ? null : Math.max(0, lagSeconds),
  };
}

function done(plan: TreePlan | null, lsn: number | null = null): TreeReport {
  return { plan, reparent: null, isDone: true, lsn, durationMs: 0 };
}
