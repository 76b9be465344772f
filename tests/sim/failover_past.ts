/**
 * Of a cascade in which the primary changes: marks, nodes that apply late or stop at a mark, and promotions as of an
 * earlier moment, cut off at any step and given again.
 *
 * Such a promotion gives up what came after, by order. What the promoted node had of it is kept in a folder of its own,
 * record by record, to the end of the run; and once the order has taken effect it may be given as often as one likes.
 *
 * @module
 */
import type { NodeConfig } from "../../core/config.ts";
import { describeError, isCascadeError } from "../../core/errors.ts";
import type { Epoch } from "../../core/history.ts";
import type { Gap } from "../../core/log/log.ts";
import type { AsOf } from "../../core/marks/views.ts";
import type { CascadeNode } from "../../core/node.ts";
import type { Ledger } from "./failover_ledger.ts";
import { KeptLog } from "./kept_log.ts";
import type { CrashKind } from "./life.ts";
import type { Prng } from "./prng.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation, type World } from "./world.ts";

/** Between two marks, and between two orders, ms. */
const MARK_MS = 1_500;
const ORDER_MS = 4_000;
/** Whoever gave an order that was cut off gives it again, ms. */
const AGAIN_MS = 1_500;
const AGAIN_MAX = 20;

/** What a client wrote, as the oracle keeps it. */
export interface Op {
  readonly offset: number;
  readonly payload: Uint8Array | null;
  readonly length: number;
  readonly endLsn: number;
}

/** What this part needs of the world. */
export interface PastGround {
  readonly world: World;
  readonly hosts: readonly SimHost[];
  readonly ledger: Ledger;
  readonly opsOf: (epochId: string) => readonly Op[];
  readonly reigning: () => readonly SimHost[];
  readonly isCalm: () => boolean;
  readonly count: (what: string) => void;
  /** Whether what a node holds is the image of its history. */
  readonly look: (host: SimHost) => void;
}

/** Gives some nodes a delay, and some a hook at marks. */
export function withPast(prng: Prng, configs: readonly NodeConfig[]): NodeConfig[] {
  return configs.map((config) => {
    const isLate = prng.chance(0.6);
    const applyDelayMs = prng.pick([1_000, 3_000, 8_000]);
    const hasHook = prng.chance(0.3);
    if (config.volumes.some(({ path }) => path === null)) return config;
    return {
      ...config,
      applyDelayMs: isLate ? applyDelayMs : 0,
      onMark: hasHook ? ["mark"] : null,
    };
  });
}

/** How a log was when an order was given. */
interface Before {
  /** What is below is never cut off. */
  readonly endLsn: number;
  readonly epochs: readonly Epoch[];
  readonly gaps: readonly Gap[];
}

/** An order that took effect: what has to be kept. */
interface Tail extends Before {
  readonly host: SimHost;
  readonly lsn: number;
}

/** What somebody types, and types again. */
interface Given {
  readonly host: SimHost;
  readonly at: AsOf;
  readonly force: boolean;
}

/** See the module's text. */
export class Past {
  readonly #prng: Prng;
  readonly #ground: PastGround;
  readonly #tails: Tail[] = [];
  #names = 0;

  constructor(prng: Prng, ground: PastGround) {
    this.#prng = prng;
    this.#ground = ground;
  }

  begin(): void {
    this.#after(MARK_MS, () => this.#mark());
    this.#after(ORDER_MS, () => this.#order());
  }

  #after(meanMs: number, act: () => void): void {
    const { world: { scheduler }, isCalm } = this.#ground;
    scheduler.after(this.#prng.exponential(meanMs), null, () => {
      if (isCalm()) return;
      act();
      this.#after(meanMs, act);
    });
  }

  #mark(): void {
    const { reigning, world, count } = this.#ground;
    const node = reigning()[0]?.node ?? null;
    if (node === null) return;
    node.marks.set(`m${++this.#names}`).then(() => count("marks"), (error) => {
      // A primary that is full, or goes down meanwhile, takes none.
      const expected = ["refused", "stopping", "log-full", "disk-full", "disk-failed"] as const;
      if (expected.some((code) => isCascadeError(error, code)) || node.phase !== "running") return;
      world.fail("correctness", error, "a mark is set: ");
    });
  }

  /** A hook begins, or is about to end: all that the volumes hold is the mark's image. */
  onHook(host: SimHost, env: Readonly<Record<string, string>>): void {
    const { node } = host;
    if (node === null || node.deltas.isInPlace || node.pipeline.isInDelta) return;
    this.#ground.count("hooks");
    const { appliedLsn } = node.pipeline;
    if (env.CASCADE_LSN !== String(appliedLsn)) {
      const message =
        `${host.name} runs its hook for ${env.CASCADE_MARK} at LSN ${env.CASCADE_LSN} with its ` +
        `volumes at ${appliedLsn}`;
      this.#ground.world.fail("correctness", new Violation(message));
    }
    try {
      this.#ground.look(host);
    } catch (error) {
      this.#ground.world.fail("correctness", error);
    }
  }

  /** Somebody goes back to before a mistake. */
  #order(): void {
    const prng = this.#prng;
    const late = this.#ground.hosts.filter(({ node }) =>
      node !== null && !node.pipeline.reigns && node.pipeline.appliedLsn < node.pipeline.stableLsn
    );
    const host = late.length > 0 && prng.chance(0.9)
      ? prng.pick(late)
      : prng.pick(this.#ground.hosts);
    const { node } = host;
    if (node === null) return;
    this.#give({ host, at: this.#moment(node), force: prng.chance(0.6) }, 0);
    const kind: CrashKind = prng.pick(["process", "power"]);
    if (prng.chance(0.6)) host.light(1 + prng.below(60), kind);
  }

  #moment(node: CascadeNode): AsOf {
    const prng = this.#prng;
    const { appliedLsn, stableLsn, history, marks, log } = node.pipeline;
    const set = marks.from(log.startLsn).filter(({ endLsn }) => endLsn >= appliedLsn);
    if (set.length > 0 && prng.chance(0.4)) return { mark: prng.pick(set).name };
    if (prng.chance(0.4)) return { timeMs: Math.max(0, node.tide.timeMs() - prng.below(8_000)) };
    const ends = history.epochs.flatMap(({ id }) => this.#ground.opsOf(id))
      .map(({ endLsn }) => endLsn).filter((lsn) => lsn >= appliedLsn && lsn <= stableLsn);
    return { lsn: ends.length > 0 ? prng.pick(ends) : stableLsn };
  }

  #give(given: Given, turn: number): void {
    const { ledger, count, world } = this.#ground;
    const { host, at, force } = given;
    const { node } = host;
    if (node === null) return;
    const { history, stableLsn, log, reigns: reigned } = node.pipeline;
    const before = { endLsn: stableLsn, epochs: [...history.epochs], gaps: [...log.gaps] };
    let isKnown = false;
    const ordered = ledger.ordered(host, (reign) => {
      isKnown = true;
      count("as of the past, cut off and done");
      this.#keep(host, before, reign.firstLsn);
      this.#repeat(given, reign);
    });
    const order = { order: "promote", dryRun: false, force, at } as const;
    const what = JSON.stringify(at);
    world.trace.note("driver", "promotes as of", host.name, what, stableLsn, String(force));
    node.orders.carryOut(order).then(({ lsn }) => {
      ordered.known();
      isKnown = true;
      if (lsn === null) throw new Violation(`${host.name} does not say as of which LSN it reigns`);
      // Given again, when it was done: nothing more is left behind.
      if (reigned) return count("as of the past, done before");
      count("as of the past");
      ledger.noteReign(node.tree.seat.view.reign);
      ledger.giveUp(before.epochs.filter(({ firstLsn }) => firstLsn < lsn), lsn);
      this.#keep(host, before, lsn);
    }, (error) => {
      ordered.known();
      isKnown = true;
      count(isCascadeError(error) ? `as of the past: ${error.code}` : "as of the past: failed");
      world.trace.note("driver", "not as of the past", describeError(error));
    }).catch((error) => world.fail("correctness", error));
    // Whoever was cut off gives the order again, as soon as somebody answers.
    world.scheduler.after(this.#prng.exponential(AGAIN_MS), null, () => {
      if (isKnown || turn >= AGAIN_MAX || this.#ground.isCalm()) return;
      if (host.node === node) return;
      ordered.known();
      count("as of the past, given again");
      this.#give(given, turn + 1);
    });
  }

  #keep(host: SimHost, before: Before, lsn: number): void {
    if (lsn < before.endLsn) this.#tails.push({ ...before, host, lsn });
  }

  /** It was done: given again it says so. */
  #repeat({ host, at, force }: Given, reign: Epoch): void {
    const { node } = host;
    const { world } = this.#ground;
    if (node === null || node.phase !== "running" || node.pipeline.history.lastId !== reign.id) {
      return;
    }
    const order = { order: "promote", dryRun: false, force, at } as const;
    node.orders.carryOut(order).then(({ lsn }) => {
      this.#ground.count("as of the past, repeated");
      if (lsn === reign.firstLsn) return;
      throw new Violation(`${host.name} reigns from ${reign.firstLsn} on, and says ${lsn}`);
    }).catch((error) => {
      if (node.phase !== "running") return;
      world.fail("correctness", error, `${JSON.stringify(at)} was done, and is given again: `);
    });
  }

  /** What was left behind by order is kept. Throws {@linkcode Violation}. */
  judge(): void {
    for (const tail of this.#tails) this.#judgeTail(tail);
  }

  #judgeTail({ host, lsn, endLsn, epochs, gaps }: Tail): void {
    const kept = KeptLog.find(host.disk, `${host.planned.config.dir}/abandoned`, lsn, endLsn);
    for (const [i, { id }] of epochs.entries()) {
      const epochEnd = Math.min(endLsn, epochs[i + 1]?.firstLsn ?? endLsn);
      for (const op of this.#ground.opsOf(id)) {
        if (op.endLsn <= lsn || op.endLsn > epochEnd) continue;
        if (gaps.some(({ fromLsn, toLsn }) => op.endLsn > fromLsn && op.endLsn <= toLsn)) continue;
        if (kept !== null && kept.holds(op)) continue;
        throw new Violation(
          `${host.name} was promoted as of ${lsn}, and does not keep what a client wrote up to ` +
            `${op.endLsn}: ${kept === null ? "no folder" : kept.folder}`,
        );
      }
    }
    this.#ground.count("tails that are kept");
  }
}
