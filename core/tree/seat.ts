/**
 * A node's place in the tree, and what it knows of who reigns: learns from every handshake, tells those who
 * may not know, and says when the node has to change its role.
 *
 * @module
 */
import { type Epoch, History } from "../history.ts";
import type { NodeConfig } from "../config.ts";
import { CascadeError } from "../errors.ts";
import type { Refusal } from "../link/messages.ts";
import type { Clock, Journal } from "../ports.ts";
import { declaredPrimary, type Place, placeIn } from "./tree.ts";
import { agree, digestOf, firstView, mergeViews, type View } from "./view.ts";

/** Time between two tries to tell a node, or to hear news, ms; it doubles up to the second. */
const TELL_FIRST_MS = 1_000;
const TELL_MAX_MS = 30_000;
/** An upstream that is away for so long may be fed by another by now: others are asked, ms. */
const NEWS_AFTER_MS = 2_000;
/** How long a node that was promoted tells the others, before it begins to reign, ms. */
const TELL_ALL_MS = 100;
/** How long the first start of all waits for those that do not answer, ms. */
const FIRST_WORD_MS = 1_000;
/** How long a start waits for those that do not answer, if one did, ms. */
const WORD_MS = 2_000;

/** What the seat asks of its node. */
export interface SeatParts {
  readonly config: NodeConfig;
  readonly clock: Clock;
  readonly journal: Journal;
  /** The history of the node's log. */
  readonly epochs: () => readonly Epoch[];
  /** What the state file says. */
  readonly view: View | null;
  /** Makes the view durable. */
  readonly save: (view: View) => Promise<void>;
  /** Dials a node, exchanges views with it, and hangs up. Rejects when nobody answers. */
  readonly look: (node: string) => Promise<void>;
  readonly isConnected: (node: string) => boolean;
  /** From this moment on no client is served any more. */
  readonly fence: (why: string) => void;
  /** The role changes: the node ends, and is started again. */
  readonly turn: (why: string) => void;
  /** Other links. */
  readonly rewire: (place: Place) => Promise<void>;
}

interface Telling {
  waitMs: number;
  nextMs: number;
  isUnderWay: boolean;
}

/** See the module's text. */
export class Seat {
  readonly #parts: SeatParts;
  readonly #others: readonly string[];
  #view: View;
  #isChanged: boolean;
  #reignAtMs = -Infinity;
  #changing: Promise<unknown> = Promise.resolve();
  /** The digest of what each node knows, as it told last. */
  readonly #known = new Map<string, string>();
  readonly #telling = new Map<string, Telling>();
  #apartSinceMs: number;
  #conflict: string | null = null;
  #hear: () => void = () => {};
  readonly #heard: Promise<void>;
  #isAloneAllowed: () => void = () => {};
  readonly #aloneAllowed: Promise<void>;
  #isWaiting = false;

  constructor(parts: SeatParts) {
    this.#parts = parts;
    const { tree, name, role } = parts.config;
    this.#view = parts.view ??
      firstView(tree === null ? (role === "primary" ? name : "") : declaredPrimary(tree));
    this.#isChanged = parts.view !== null;
    this.#others = (tree?.nodes ?? []).map((node) => node.name).filter((other) => other !== name);
    this.#apartSinceMs = parts.clock.monotonicMs();
    this.#heard = new Promise((hear) => this.#hear = hear);
    this.#aloneAllowed = new Promise((go) => this.#isAloneAllowed = go);
  }

  get view(): View {
    return this.#view;
  }

  /** What a handshake tells; null: nothing was ever changed. */
  get told(): View | null {
    return this.#isChanged ? this.#view : null;
  }

  /** Two promotions that nobody decided between, or null. */
  get conflict(): string | null {
    return this.#conflict;
  }

  /** It waits for word of another node before it serves. */
  get isWaiting(): boolean {
    return this.#isWaiting;
  }

  /** A peer has proved itself, and told its view. Settles when what follows from it is durable. */
  async meet(
    peer: string,
    view: View | null,
    epochs: readonly Epoch[] = [],
  ): Promise<Refusal | null> {
    const theirs = view ?? this.#first();
    const stranger = this.#strangerIn(theirs);
    if (stranger !== null) return stranger;
    this.#known.set(peer, digestOf(theirs));
    if (!agree(this.#view, theirs)) return this.#disagree(peer, theirs, epochs);
    if (view !== null && this.#isNews(view)) await this.learn(view);
    this.#hear();
    return null;
  }

  #isNews(view: View): boolean {
    return digestOf(mergeViews(this.#view, view)) !== digestOf(this.#view);
  }

  /** A primary that this node's topology does not have cannot be followed. */
  #strangerIn({ primary }: View): Refusal | null {
    const { tree, name } = this.#parts.config;
    if (tree === null || tree.nodes.some((node) => node.name === primary)) return null;
    const message = `"${primary}" is the primary, and the topology of ${name} has no such node: ` +
      "give all nodes the same topology";
    return { code: "no-link", message };
  }

  #first(): View {
    const { tree } = this.#parts.config;
    return firstView(tree === null ? this.#view.primary : declaredPrimary(tree));
  }

  #disagree(peer: string, theirs: View, epochs: readonly Epoch[]): Refusal {
    const { name } = this.#parts.config;
    const mine = this.#view;
    const message = `${mine.primary} and ${theirs.primary} were both promoted, in epoch ` +
      `${mine.reign}: ${besides(name, this.#parts.epochs(), peer, epochs)}` +
      "`cascade resolve --keep NODE` decides";
    // What was told with both histories is not told again without.
    if (this.#conflict !== null && epochs.length === 0) {
      return { code: "conflict", message: this.#conflict };
    }
    if (this.#conflict === null) {
      this.#parts.journal.write("error", "conflict", { reason: message });
    }
    this.#conflict = message;
    this.#hear();
    return { code: "conflict", message };
  }

  /** Takes in what another node knows, or what an operator decided. One after the other. */
  learn(theirs: View): Promise<void> {
    return this.change(() => theirs);
  }

  /**
   * A promotion of this node: whoever is reached knows of it before the node is away for a moment, to begin in its new
   * role. Another promotion then meets this one, and not silence.
   */
  reign(view: View): Promise<void> {
    return this.change(() => view, true);
  }

  /** The same, of what `make` makes of what is known by then; null: nothing is to be changed. */
  change(make: (view: View) => View | null, isTold = false): Promise<void> {
    const done = this.#changing.then(async () => {
      const next = make(this.#view);
      if (next !== null) await this.#learn(next, isTold);
    });
    this.#changing = done.catch(() => {/* whoever asked for it is told */});
    return done;
  }

  async #learn(theirs: View, isTold: boolean): Promise<void> {
    const { config, save, fence, turn, rewire, journal } = this.#parts;
    const { tree, name } = config;
    const merged = mergeViews(this.#view, theirs);
    if (tree === null || digestOf(merged) === digestOf(this.#view)) return;
    const reigned = this.#view.primary === name;
    const reigns = merged.primary === name;
    const isNewReign = merged.reignId !== this.#view.reignId;
    const why = reigns
      ? "this node is the primary now"
      : `${merged.primary} is the primary now, in epoch ${merged.reign}`;
    if (merged.primary !== this.#view.primary) journal.write("info", why, {});
    if (reigned && !reigns) fence(why);
    await save(merged);
    this.#view = merged;
    this.#isChanged = true;
    // Another parent of some node decides nothing.
    if (isNewReign) {
      this.#conflict = null;
      this.#reignAtMs = this.#parts.clock.monotonicMs();
    }
    for (const telling of this.#telling.values()) telling.nextMs = 0;
    if (isTold && reigns && isNewReign) await this.#tellAll();
    // A reign of its own that begins anew is begun by a start, as any other.
    if (reigned !== reigns || (reigns && isNewReign)) return turn(why);
    await rewire(placeIn(tree, merged, name));
  }

  /** Since this node heard of the reign; Infinity: it knew of it when it started. */
  get reignAgeMs(): number {
    return this.#parts.clock.monotonicMs() - this.#reignAtMs;
  }

  async #tellAll(): Promise<void> {
    const { clock, look } = this.#parts;
    const all = Promise.allSettled(this.#others.map((node) => look(node)));
    await Promise.race([all, new Promise<void>((go) => clock.after(TELL_ALL_MS, go))]);
  }

  /** Time passes: nodes that may not know are told, and asked. */
  tick(hasUpstream: boolean): void {
    const nowMs = this.#parts.clock.monotonicMs();
    if (hasUpstream) this.#apartSinceMs = nowMs;
    const isApart = nowMs - this.#apartSinceMs > NEWS_AFTER_MS;
    for (const node of this.#others) {
      if (this.#parts.isConnected(node) && this.#known.get(node) === digestOf(this.#view)) continue;
      const isTold = !this.#isChanged || this.#known.get(node) === digestOf(this.#view);
      if (isTold && !isApart && !this.#isWaiting) continue;
      this.#tell(node, nowMs);
    }
  }

  #tell(node: string, nowMs: number): void {
    const telling = this.#telling.get(node) ??
      { waitMs: TELL_FIRST_MS, nextMs: 0, isUnderWay: false };
    this.#telling.set(node, telling);
    if (telling.isUnderWay || nowMs < telling.nextMs) return;
    telling.isUnderWay = true;
    this.#parts.look(node).then(() => {
      telling.waitMs = TELL_FIRST_MS;
    }, () => {
      telling.waitMs = Math.min(2 * telling.waitMs, this.#isWaiting ? TELL_FIRST_MS : TELL_MAX_MS);
    }).finally(() => {
      telling.isUnderWay = false;
      telling.nextMs = this.#parts.clock.monotonicMs() + telling.waitMs;
    });
  }

  /**
   * Before a node serves that reigned when it ended: all others are asked whether another was promoted
   * since. Settles when at least one has answered, or it may start without.
   */
  async word(): Promise<void> {
    const { config: { startAlone, tree }, clock, look, journal } = this.#parts;
    if (tree === null || this.#others.length === 0) return;
    this.#isWaiting = true;
    try {
      const all = Promise.allSettled(this.#others.map((node) => look(node)));
      const late = new Promise<void>((go) => clock.after(WORD_MS, go));
      await Promise.race([all, late]);
      if (startAlone === "always") return;
      let isHeard = false;
      this.#heard.then(() => isHeard = true);
      await Promise.resolve();
      await Promise.resolve();
      if (!isHeard) {
        journal.write("warn", "waiting for any other node: one may have been promoted meanwhile", {
          hint: startAlone === "ask" ? "`cascade promote` lets this one serve alone" : "",
        });
      }
      await Promise.race(startAlone === "ask" ? [this.#heard, this.#aloneAllowed] : [this.#heard]);
    } finally {
      this.#isWaiting = false;
    }
  }

  /**
   * Before a node reigns that knows of nothing: whoever answers at once is asked whether another was promoted. Nobody has
   * to: it may be the first node of a new cascade.
   */
  async firstWord(): Promise<void> {
    const { config: { tree }, clock, look } = this.#parts;
    if (tree === null || this.#others.length === 0 || this.#isChanged) return;
    const all = Promise.allSettled(this.#others.map((node) => look(node)));
    await Promise.race([all, new Promise<void>((go) => clock.after(FIRST_WORD_MS, go))]);
    // What was heard is durable, and acted on, before anything else is.
    await this.#changing;
  }

  /** An operator says that no other node was promoted. Throws `usage` where that is not asked for. */
  allowAlone(): void {
    if (this.#isWaiting && this.#parts.config.startAlone === "never") {
      throw new CascadeError("usage", "the topology forbids that this node starts alone", {
        hint: "It has `startAlone: never`",
      });
    }
    this.#isAloneAllowed();
  }
}

/** Of each side, how many reigns are told. */
const REIGNS_TOLD = 3;

/** Two histories from where they part on, each with who tells it. */
function besides(
  name: string,
  mine: readonly Epoch[],
  peer: string,
  theirs: readonly Epoch[],
): string {
  if (theirs.length === 0) return "";
  const fork = new History(mine).fork(theirs);
  const since = (epochs: readonly Epoch[], first: Epoch | null) => {
    const own = first === null ? [] : epochs.slice(epochs.indexOf(first));
    const told = own.slice(0, REIGNS_TOLD).map(({ number, id, firstLsn, node }) =>
      `epoch ${number} (${id.slice(0, 8)}) of ${node} from LSN ${firstLsn} on`
    );
    if (own.length > REIGNS_TOLD) told.push(`${own.length - REIGNS_TOLD} more`);
    return told.length === 0 ? "nothing" : told.join(", ");
  };
  const common = Number.isFinite(fork.lsn) ? `the same up to LSN ${fork.lsn}, then ` : "";
  return `${common}at ${name} ${since(mine, fork.mine)}; at ${peer} ${
    since(theirs, fork.theirs)
  }. `;
}
