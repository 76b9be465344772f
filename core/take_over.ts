/**
 * Taking over from a primary that answers: all that it has comes here, its clients are held for a moment, the last byte
 * comes through, and the primary itself hands its reign on. If anything fails before that, its clients go on.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";
import { NO_EPOCH, type Position } from "./history.ts";
import type { CascadeNode } from "./node.ts";
import { askStanding, LOOK_MS, waitUntil } from "./node_standing.ts";
import { heldSchema, type Standing, yieldedSchema } from "./tree/asks.ts";
import type { OrderStep } from "./tree/order_progress.ts";
import { parentsIn, pathTo, placeIn } from "./tree/tree.ts";

/** How long the last bytes may take while clients are held, ms. */
const HOLD_MS = 20_000;
/** How long a link that ships on request may take for that, ms. */
const SHIP_MS = 120_000;

/** See the module's text. */
export class TakeOver {
  readonly #node: CascadeNode;
  readonly #tell: (step: OrderStep, from: string) => void;
  #lacks: { readonly lsn: number; readonly bytes: number } | null = null;

  /** `tell`: of each step, as it begins. */
  constructor(node: CascadeNode, tell: (step: OrderStep, from: string) => void) {
    this.#node = node;
    this.#tell = tell;
  }

  /** How much has to come, and how much of it is yet to: of the step that is under way. */
  get bytes(): { readonly total: number; readonly left: number } | null {
    if (this.#lacks === null) return null;
    const { pipeline } = this.#node;
    const has = Math.min(pipeline.durableLsn, pipeline.stableLsn);
    const { lsn, bytes } = this.#lacks;
    return { total: bytes, left: Math.min(bytes, Math.max(0, lsn - has)) };
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

  /** All that the primary has comes here, and then its reign: returns where that begins. */
  async run(timeoutMs: number): Promise<number> {
    const node = this.#node;
    const { primary } = this.#view;
    this.#tell("catching-up", primary);
    const near = await askStanding(this.#node, primary);
    await this.#comeTo({ epochId: lastIdOf(near), lsn: near.endLsn }, timeoutMs);
    this.#tell("holding", primary);
    const { endLsn, epochId } = heldSchema.parse(
      await node.hub.ask(primary, { ask: "hold", leaseMs: HOLD_MS }, HOLD_MS),
    );
    try {
      await this.#comeTo({ epochId, lsn: endLsn }, HOLD_MS * 3 / 4);
    } catch (error) {
      await node.hub.ask(primary, { ask: "release" }).catch(() => {/* its lease ends by itself */});
      throw error;
    }
    this.#tell("handing-over", primary);
    await this.#receiveReign(primary, endLsn);
    return endLsn;
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
    const has = () => Math.min(pipeline.durableLsn, pipeline.stableLsn);
    this.#lacks = { lsn, bytes: Math.max(0, lsn - has()) };
    const isThere = () =>
      has() >= lsn &&
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
        await this.#node.hub.ask(from, { ask: "ship", to }, SHIP_MS);
      }
    }
    await this.#sleep(10 * LOOK_MS);
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((go) => this.#node.ports.clock.after(ms, () => go()));
  }
}

/** The epoch in which a node's log ends. */
function lastIdOf({ history, endLsn }: Standing): string {
  return history.findLast(({ firstLsn }) => firstLsn < endLsn)?.id ?? NO_EPOCH;
}
