/**
 * What a node answers when another one asks: see tree/asks.ts.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { CascadeError } from "./errors.ts";
import { pausedWhy } from "./link/pauses.ts";
import type { CascadeNode } from "./node.ts";
import { writeOwnFile } from "./node_files.ts";
import { standingOf, waitUntil } from "./node_standing.ts";
import type { Ask, AskAnswer } from "./tree/asks.ts";
import { promotedView } from "./tree/promotion.ts";
import { type ClusterTree, placeIn } from "./tree/tree.ts";
import { nextReign, withParent } from "./tree/view.ts";

/** See the module's text. */
export class NodeAnswers {
  readonly #node: CascadeNode;

  constructor(node: CascadeNode) {
    this.#node = node;
  }

  get #name(): string {
    return this.#node.config.name;
  }

  get #tree(): ClusterTree {
    const { tree } = this.#node.config;
    if (tree === null) throw new CascadeError("usage", `${this.#name} knows no tree`);
    return tree;
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
      case "view":
        if (!node.config.nodeNames.includes(question.node)) {
          throw new CascadeError("refused", `the topology has no node "${question.node}"`);
        }
        await node.tree.seat.meet(question.node, question.view);
        return { view: node.tree.seat.told };
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
        this.#checkReign(question.reignId);
        node.heldForMs = question.holdMs;
        await node.tree.promote({
          away: question.away,
          expectLsn: null,
          force: false,
          isInterim: true,
        });
        return null;
      case "progress":
        return node.orders.progress;
      case "ship":
        await node.sync.sync([this.#linkTo(question.to)], { dryRun: false, full: false });
        return null;
      case "offer":
        return await this.#offer(question);
      case "pass": {
        const { to, question: passed, timeoutMs, hops } = question;
        return await node.hub.ask(to, passed, timeoutMs, hops);
      }
      case "order":
        return await node.orders.carryOut(question.order);
      case "write":
        return await writeOwnFile(node, question.view, question.id);
    }
  }

  /** Throws `refused` when another reign began since somebody decided what is asked for. */
  #checkReign(reignId: string | undefined): void {
    if (reignId === undefined || reignId === this.#node.tree.seat.view.reignId) return;
    throw new CascadeError("refused", "another reign began since this was decided", {
      hint: "Give the order again",
      retryable: true,
    });
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
    const { upstream } = placeIn(
      this.#tree,
      withParent(this.#node.tree.seat.view, to, this.#name),
      to,
    );
    if (upstream === null) throw new CascadeError("usage", `${to} is the primary: nobody feeds it`);
    const paused = pausedWhy(this.#node, upstream);
    if (paused !== null) {
      throw new CascadeError("refused", `the link ${upstream.name} is ${paused}`, {
        hint: `\`cascade resume --link ${upstream.name}\` lets it go on`,
      });
    }
    return hub.offer(upstream, lsn);
  }

  async #hold(leaseMs: number): Promise<{ endLsn: number; epochId: string }> {
    const { front, pipeline } = this.#node;
    this.#needReign();
    front.hold(leaseMs);
    front.commit();
    await waitUntil(this.#node, leaseMs / 2, "what clients wrote did not become durable", () => {
      pipeline.flushNow();
      this.#node.hub.onAppended();
      return Math.min(front.flushedLsn, pipeline.stableLsn) >= pipeline.appendedLsn;
    }).catch((error) => {
      front.release();
      throw error;
    });
    const endLsn = pipeline.appendedLsn;
    return { endLsn, epochId: pipeline.history.idAt(endLsn) };
  }

  async #yield(to: string, endLsn: number): Promise<{ view: unknown }> {
    const { front, pipeline, tree: { seat }, ports } = this.#node;
    this.#needReign();
    if (!front.isHeld || pipeline.appendedLsn !== endLsn) {
      const message = "its clients went on meanwhile: the hand-over took too long";
      throw new CascadeError("refused", message, { retryable: true });
    }
    const number = nextReign(
      Math.max(pipeline.history.lastNumber, this.#node.tree.seat.view.reign),
    );
    const id = Buffer.from(ports.random.bytes(16)).toString("hex");
    await seat.learn(
      promotedView(this.#tree, this.#node.tree.seat.view, to, { number, id }, new Set()),
    );
    return { view: seat.view };
  }

  #needReign(): void {
    const { pipeline, phase, tree: { seat } } = this.#node;
    // A later reign would leave the other half behind without a word.
    if (seat.conflict !== null) throw new CascadeError("refused", seat.conflict);
    if (pipeline.reigns && phase === "running") return;
    const message = pipeline.reigns ? `${this.#name} is ${phase}` : `${this.#name} does not reign`;
    throw new CascadeError("refused", message, { retryable: true });
  }
}
