/**
 * A node that was given a list of parents chooses among them: it goes to another one when its upstream stays away, and to
 * a better one when that is well again.
 *
 * | it is at                    | and                                                    | then                        |
 * | --------------------------- | ------------------------------------------------------ | --------------------------- |
 * | any of them                 | that was away for `reparentAfter`                      | to the first that is fit    |
 * | one that an operator typed  | that is there                                          | it stays                    |
 * | any other                   | the primary was not heard through it for longer        | to the first that hears it  |
 * | any other                   | a better one has been well for `reparentAfter`         | to that one                 |
 *
 * A node has patience with an upstream that is cut off itself: for as many times as long as there are links up to the primary, so
 * that those further up go first, and their children come along. What an operator has typed counts until the operator
 * types again, or that parent was away for so long.
 *
 * @module
 */
import { describeError } from "./errors.ts";
import type { CascadeNode } from "./node.ts";
import type { Moved } from "./state.ts";
import type { ParentChoiceStatus } from "./status.ts";
import { offerSchema, type PlainAsk, type Standing, standingSchema } from "./tree/asks.ts";
import {
  ALL_BLOCKS_FACTOR,
  type Answer,
  type Candidate,
  HEARD_MS,
  isBetter,
  judgeCandidate,
  preferredTo,
  replacement,
  whyNot,
} from "./tree/parent_choice.ts";
import { parentsIn, pathTo } from "./tree/tree.ts";
import { saidBy, type View, withParent } from "./tree/view.ts";

/** A connection that ended sooner was none: the upstream counts as away all the while, ms; or a quarter of `reparentAfter`. */
const STEADY_MS_MAX = 1_000;
/** Who has not answered by then is not reachable, ms. */
const ANSWER_MS = 5_000;
/** Others are asked this often at the most, and at the least, ms: a quarter of `reparentAfter` in between. */
const ASK_MS_MIN = 500;
const ASK_MS_MAX = 15_000;
/** A home that is lost again soon is gone back to later each time: so many times as long, at the most. */
const RETURN_FACTOR_MAX = 32;
/** It is not lost soon when it has lasted for so many times `reparentAfter`. */
const RETURN_LASTS = 10;

/** Since when one of the list is well, and where this node was then. */
interface Well {
  readonly sinceMs: number;
  readonly lsn: number;
}

/** See the module's text. */
export class NodeParents {
  readonly #node: CascadeNode;
  readonly #change: (make: (view: View) => View | null, moved: Moved | null) => Promise<void>;
  readonly #moved: () => Moved | null;
  /** Since when the upstream is away; null: it is there. */
  #awaySinceMs: number | null = null;
  #thereSinceMs: number | null = null;
  #upstream: string | null = null;
  #nextAskMs = 0;
  #isAsking = false;
  #candidates: readonly Candidate[] = [];
  readonly #well = new Map<string, Well>();
  #returnFactor = 1;
  #returnedMs = -Infinity;
  #told = "";

  /** `change`: another view, and why, into one state file. */
  constructor(
    node: CascadeNode,
    change: (make: (view: View) => View | null, moved: Moved | null) => Promise<void>,
    moved: () => Moved | null,
  ) {
    this.#node = node;
    this.#change = change;
    this.#moved = moved;
  }

  get #list(): readonly string[] {
    return this.#node.config.parents ?? [];
  }

  get #afterMs(): number {
    return this.#node.config.reparentAfterMs ?? 0;
  }

  get #nowMs(): number {
    return this.#node.ports.clock.monotonicMs();
  }

  /** Whether this node chooses at all just now. */
  get #chooses(): boolean {
    const { pipeline, phase, config, tree, orders } = this.#node;
    return this.#list.length > 0 && config.tree !== null && !pipeline.reigns &&
      phase === "running" && !tree.isLeaving && tree.seat.conflict === null && !orders.isBusy;
  }

  /** Time passes. */
  tick(): void {
    if (!this.#chooses) return this.#rest();
    this.#look();
    if (this.#isAsking || this.#nowMs < this.#nextAskMs) return;
    const names = this.#wanted();
    if (names.length === 0) {
      this.#candidates = [];
      this.#well.clear();
      return;
    }
    this.#isAsking = true;
    this.#ask(names).catch((error) => this.#node.onFatal(error)).finally(() => {
      this.#isAsking = false;
      const everyMs = Math.min(ASK_MS_MAX, Math.max(ASK_MS_MIN, this.#afterMs / 4));
      this.#nextAskMs = this.#nowMs + everyMs;
    });
  }

  /** Nothing is chosen: whatever was measured begins anew. */
  #rest(): void {
    this.#awaySinceMs = this.#thereSinceMs = null;
    this.#candidates = [];
    this.#well.clear();
  }

  /** Is the upstream there? A paused link is never left by itself. */
  #look(): void {
    const { hub, config } = this.#node;
    const nowMs = this.#nowMs;
    const upstream = config.upstream?.from ?? null;
    if (upstream !== this.#upstream) {
      this.#upstream = upstream;
      this.#awaySinceMs = nowMs;
      this.#thereSinceMs = null;
    }
    if (hub.upstream?.state() === "paused") {
      this.#awaySinceMs = this.#thereSinceMs = null;
    } else if (hub.upstream?.connected === true) {
      this.#thereSinceMs ??= nowMs;
      const isSteady = nowMs - this.#thereSinceMs >= Math.min(STEADY_MS_MAX, this.#afterMs / 4);
      if (isSteady) this.#awaySinceMs = null;
    } else {
      this.#thereSinceMs = null;
      this.#awaySinceMs ??= nowMs;
    }
  }

  /** For how long the upstream is away. */
  get #awayMs(): number {
    return this.#awaySinceMs === null ? 0 : this.#nowMs - this.#awaySinceMs;
  }

  /** For how long it is there, and the primary is not heard. */
  get #unheardMs(): number {
    const { hub: { upstream }, tide } = this.#node;
    if (this.#thereSinceMs === null || upstream?.state() === "delta") return 0;
    return Math.min(tide.silenceMs(), this.#nowMs - this.#thereSinceMs);
  }

  /** Why the node is to leave its upstream; null: it is not. */
  #whyLeave(): string | null {
    const seconds = (ms: number) => `${Math.round(ms / 1000)} s`;
    if (this.#awayMs >= this.#afterMs) {
      return `${this.#upstream} was away for ${seconds(this.#awayMs)}`;
    }
    if (this.#isTyped) return null;
    return this.#unheardMs >= Math.max(HEARD_MS, this.#linksUp * this.#afterMs)
      ? `the primary was not heard through ${this.#upstream} for ${seconds(this.#unheardMs)}`
      : null;
  }

  /** How many links there are between the primary and this node. */
  get #linksUp(): number {
    const { config: { tree, name }, tree: { seat } } = this.#node;
    return tree === null ? 1 : pathTo(parentsIn(tree, seat.view), name).length - 1;
  }

  /** An operator has said whom it is fed by, and by that one it is fed. */
  get #isTyped(): boolean {
    const { tree: { seat }, config } = this.#node;
    return saidBy(seat.view, config.name) === "operator" &&
      seat.view.parents[config.name]?.to === this.#upstream;
  }

  /** Who is to be asked now. */
  #wanted(): readonly string[] {
    const { name } = this.#node.config;
    const list = this.#whyLeave() !== null
      ? this.#list.filter((other) => other !== this.#upstream)
      // While nobody feeds it, what would be better is not looked for.
      : this.#isTyped || this.#thereSinceMs === null
      ? []
      : preferredTo(this.#list, this.#upstream);
    return list.filter((other) => other !== name);
  }

  async #ask(names: readonly string[]): Promise<void> {
    const upstream = this.#upstream;
    const answers = await Promise.all(names.map((name) => this.#answerOf(name)));
    const { config: { tree, name }, tree: { seat }, pipeline } = this.#node;
    // What was asked about may be no matter any more.
    if (!this.#chooses || tree === null || this.#upstream !== upstream) return;
    const { stableLsn } = pipeline;
    const why = this.#whyLeave();
    // A better one has to come to where this node was, not to where it is: see below.
    const chooser = { tree, view: seat.view, name, stableLsn: why === null ? 0 : stableLsn };
    this.#candidates = answers.map((answer) => judgeCandidate(chooser, answer));
    if (why === null) return await this.#improve();
    const isLong = Math.max(this.#awayMs, this.#unheardMs) >= ALL_BLOCKS_FACTOR * this.#afterMs;
    const chosen = replacement(this.#candidates, stableLsn, isLong);
    // One that is cut off as well is no better than an upstream that is there.
    const isFit = chosen !== null && (chosen.hears || this.#thereSinceMs === null);
    if (isFit) await this.#go(chosen, why);
    else this.#tellNone(why);
  }

  /** One of the list is asked how it stands, and what it would send. Never rejects. */
  async #answerOf(name: string): Promise<Answer> {
    const { hub, pipeline, config } = this.#node;
    let standing: Standing | null = null;
    try {
      standing = standingSchema.parse(await this.#within(hub.ask(name, { ask: "standing" })));
      const lsn = pipeline.appendedLsn;
      const epochId = pipeline.history.idAt(lsn);
      const question: PlainAsk = { ask: "offer", to: config.name, lsn, epochId };
      const offer = offerSchema.parse(await this.#within(hub.ask(name, question)));
      return { name, standing, offer, error: null };
    } catch (error) {
      return { name, standing, offer: null, error: describeError(error) };
    }
  }

  async #within<T>(asked: Promise<T>): Promise<T> {
    const { clock } = this.#node.ports;
    const late = Promise.withResolvers<never>();
    const timer = clock.after(ANSWER_MS, () => {
      late.reject(new Error(`it has not answered within ${ANSWER_MS / 1000} s`));
    });
    asked.catch(() => {/* it may end later than it was waited for */});
    try {
      return await Promise.race([asked, late.promise]);
    } finally {
      timer.cancel();
    }
  }

  /** A better one than where the node is now. */
  async #improve(): Promise<void> {
    const nowMs = this.#nowMs;
    const { stableLsn } = this.#node.pipeline;
    for (const one of this.#candidates) {
      if (!isBetter(one)) this.#well.delete(one.name);
      else if (!this.#well.has(one.name)) {
        this.#well.set(one.name, { sinceMs: nowMs, lsn: stableLsn });
      }
    }
    const waitMs = this.#afterMs * this.#returnFactor;
    const chosen = this.#candidates.find((one) => {
      const well = this.#well.get(one.name);
      return well !== undefined && nowMs - well.sinceMs >= waitMs && one.stableLsn >= well.lsn;
    });
    if (chosen === undefined) return;
    this.#returnedMs = nowMs;
    await this.#go(
      chosen,
      `${chosen.name}, which it prefers, has been well for ${waitMs / 1000} s`,
    );
  }

  async #go(chosen: Candidate, why: string): Promise<void> {
    const { config, ports, tree: { seat } } = this.#node;
    const { clock, journal } = ports;
    const from = this.#upstream;
    const lasted = clock.monotonicMs() - this.#returnedMs;
    const isLeaving = this.#whyLeave() !== null;
    if (isLeaving && lasted < RETURN_LASTS * this.#afterMs) {
      this.#returnFactor = Math.min(RETURN_FACTOR_MAX, 2 * this.#returnFactor);
    } else if (isLeaving) this.#returnFactor = 1;
    const moved = { to: chosen.name, reason: why, atMs: clock.nowMs() };
    journal.write("warn", `another node feeds this one: it has chosen ${chosen.name}`, {
      from: from ?? "nobody",
      to: chosen.name,
      why,
      by: chosen.offer?.by ?? "",
      bytes: chosen.offer?.bytes ?? 0,
    });
    this.#well.clear();
    this.#told = "";
    const said = seat.view.parents[config.name];
    await this.#change((view) => {
      // Somebody has said something else meanwhile.
      const now = view.parents[config.name];
      const isSame = now?.reign === said?.reign && now?.serial === said?.serial;
      if (!isSame || view.primary === config.name) return null;
      return withParent(view, config.name, chosen.name, this.#list[0] ?? chosen.name);
    }, moved);
  }

  /** Once for each state of things. */
  #tellNone(why: string): void {
    const others = this.#candidates.map((one) => `${one.name}: ${whyNot(one)}`).join("; ");
    const text = this.#candidates.map(({ name, flaw, hears }) => [name, flaw !== null, hears]);
    const told = JSON.stringify([this.#upstream, text]);
    if (told === this.#told) return;
    this.#told = told;
    this.#node.ports.journal.write("warn", "no other node can feed this one", { why, others });
  }

  /** Null where the node does not choose. */
  status(): ParentChoiceStatus | null {
    const { config, tree: { seat }, ports: { clock } } = this.#node;
    if (this.#list.length === 0) return null;
    const moved = this.#moved();
    const isOwn = moved !== null && moved.to === config.upstream?.from;
    const wall = (ms: number) => clock.nowMs() - (this.#nowMs - ms);
    return {
      parents: [...this.#list],
      afterMs: this.#afterMs,
      by: config.upstream === null ? null : saidBy(seat.view, config.name) ?? "topology",
      since: isOwn ? moved.atMs : null,
      reason: isOwn ? moved.reason : null,
      awaySince: this.#awaySinceMs === null || this.#thereSinceMs !== null
        ? null
        : wall(this.#awaySinceMs),
      candidates: this.#candidates.map((one) => ({
        name: one.name,
        reason: whyNot(one),
        wellSince: this.#wellSince(one.name, wall),
      })),
    };
  }

  #wellSince(name: string, wall: (ms: number) => number): number | null {
    const well = this.#well.get(name);
    return well === undefined ? null : wall(well.sinceMs);
  }
}
