/**
 * What clients of a changing cascade were told to be flushed, and which of it an operator gave up: a promotion leaves
 * behind what the promoted node does not have, or was told to go on without. All else has to be there in the end.
 *
 * An order may be cut off by a crash after it has taken effect: whoever gave it learns nothing then. Such orders are
 * kept, and judged by the history that the nodes come back with.
 *
 * An order may fail, too, when it has taken effect in part: the node that was to reign for a while, so that what it had
 * would be fetched, does. What that leaves behind was given up when the order was given; nothing that was promised later.
 *
 * @module
 */
import type { Epoch } from "../../core/history.ts";
import type { TreePlan } from "../../core/tree/tree_report.ts";
import { isPromotedOver, nextReign } from "../../core/tree/view.ts";
import type { SimHost } from "./sim_host.ts";
import { Violation } from "./world.ts";

/** A promise to a client: all of this epoch that ends here is flushed. */
interface Promised {
  readonly epochId: string;
  readonly lsn: number;
  /** Ids of the reigns that its history had. */
  readonly reigns: readonly string[];
  /** How many were made before it. */
  readonly place: number;
}

/** An order that failed, or was cut off. */
interface Failed extends Omit<Open, "life" | "onEffect"> {
  readonly toMs: number;
}

/** What is told of an order once it is over. */
export interface Ordered {
  /** What became of it is known. */
  known(): void;
  /** It failed, but another node may have been made to reign on its way. */
  failed(): void;
}

/** An order of which nobody knows what became of it. */
interface Open {
  readonly host: SimHost;
  readonly life: number;
  /** The last reign that the node knew of. */
  readonly afterNumber: number;
  /** How many promises had been made when it was given. */
  readonly promises: number;
  readonly fromMs: number;
  readonly onEffect: (reign: Epoch) => void;
}

/** See the module's text. */
export class Ledger {
  readonly #nowMs: () => number;
  #promised: Promised[] = [];
  #promises = 0;
  #open: Open[] = [];
  readonly #failed: Failed[] = [];
  /** When reigns were seen first, by id. */
  readonly #seenMs = new Map<string, number>();
  /** The highest that anybody was promoted to. */
  reign = 0;

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  promise(epochs: readonly Epoch[], epochId: string, lsn: number): void {
    const reigns = epochs.map(({ id }) => id);
    this.#promised.push({ epochId, lsn, reigns, place: this.#promises++ });
  }

  noteReign(number: number): void {
    this.reign = Math.max(this.reign, number);
  }

  /** What a history up to `endLsn` does not hold is left behind, knowingly. */
  giveUp(epochs: readonly Epoch[], endLsn: number): void {
    this.#promised = this.#promised.filter((one) => isIn(one, epochs, endLsn));
  }

  /** An order to promote that node was given. What is returned is told what became of it, once that is known. */
  ordered(host: SimHost, onEffect: (reign: Epoch) => void = () => {}): Ordered {
    const { node } = host;
    if (node === null) return { known() {}, failed() {} };
    const afterNumber = Math.max(node.tree.seat.view.reign, node.pipeline.history.lastNumber);
    const given = { promises: this.#promises, fromMs: this.#nowMs() };
    const open = { host, life: host.lives, afterNumber, ...given, onEffect };
    this.#open.push(open);
    const known = () => void (this.#open = this.#open.filter((other) => other !== open));
    const failed = () => {
      known();
      this.#failed.push({ ...open, toMs: this.#nowMs() });
    };
    return { known, failed };
  }

  /** Looks after orders that were cut off: what a node came back with tells what became of them. */
  look(hosts: readonly SimHost[]): void {
    for (const { node } of hosts) {
      for (const { id } of node?.pipeline.history.epochs ?? []) {
        if (!this.#seenMs.has(id)) this.#seenMs.set(id, this.#nowMs());
      }
    }
    const all = [...this.#open];
    for (const open of all) {
      const { host, life, afterNumber, onEffect } = open;
      const { node } = host;
      if (node === null || host.lives === life) continue;
      this.#open = this.#open.filter((other) => other !== open);
      const { epochs } = node.pipeline.history;
      const place = epochs.findIndex((epoch) =>
        epoch.node === host.name && isPromotedOver(epoch.number, afterNumber)
      );
      const reign = epochs[place];
      if (reign === undefined) this.#failed.push({ ...open, toMs: this.#nowMs() });
      // One that is known was another order's.
      if (reign === undefined || reign.number <= this.reign) continue;
      this.giveUp(epochs.slice(0, place), reign.firstLsn);
      this.noteReign(reign.number);
      // Of two that were cut off at once nobody knows which one it was.
      if (all.every((other) => other === open || other.host !== host)) onEffect(reign);
    }
  }

  /**
   * A promotion went by the advice: what it leaves behind is on no node that answered and could go on with it. Throws
   * {@linkcode Violation}.
   */
  checkAdvice(plan: TreePlan, hosts: readonly SimHost[], epochs: readonly Epoch[], endLsn: number) {
    for (const promise of this.#promised) {
      if (isIn(promise, epochs, endLsn)) continue;
      for (const { name, isReachable, reason, endLsn: toldLsn } of plan.nodes) {
        const pipeline = hosts.find((host) => host.name === name)?.node?.pipeline;
        if (!isReachable || reason !== null || pipeline === undefined || pipeline.reigns) continue;
        const upTo = Math.min(toldLsn ?? 0, pipeline.appendedLsn);
        if (!isIn(promise, pipeline.history.epochs, upTo)) continue;
        throw new Violation(
          `${plan.node} was promoted at LSN ${endLsn} without what ${name} had: ` +
            `${promise.lsn} of epoch ${promise.epochId} was flushed`,
        );
      }
    }
  }

  /** Throws {@linkcode Violation} when a history lacks what nobody gave up. */
  check(epochs: readonly Epoch[], endLsn: number): void {
    for (const promise of this.#promised) {
      if (isIn(promise, epochs, endLsn) || this.#isGivenUp(promise, epochs)) continue;
      throw new Violation(
        `a client was told that ${promise.lsn} of epoch ${promise.epochId} is flushed: it is lost`,
      );
    }
  }

  /** What parts the history from the promise is a reign that came of an order which failed later. */
  #isGivenUp({ reigns, place }: Promised, epochs: readonly Epoch[]): boolean {
    const next = epochs.find(({ id }, i) => reigns[i] !== id);
    if (next === undefined) return false;
    const seenMs = this.#seenMs.get(next.id) ?? 0;
    return this.#failed.some(({ host, afterNumber, promises, fromMs, toMs }) =>
      next.node !== host.name && next.number === nextReign(afterNumber) && place < promises &&
      seenMs >= fromMs && seenMs <= toMs
    );
  }
}

function isIn(
  { epochId, lsn }: Pick<Promised, "epochId" | "lsn">,
  epochs: readonly Epoch[],
  endLsn: number,
): boolean {
  return lsn <= endOf(epochs, epochId, endLsn);
}

/** Where an epoch ends in a history that ends at `endLsn`; -1: it is not in it. */
export function endOf(epochs: readonly Epoch[], id: string, endLsn: number): number {
  const place = epochs.findIndex((epoch) => epoch.id === id);
  return place < 0 ? -1 : Math.min(endLsn, epochs[place + 1]?.firstLsn ?? endLsn);
}
