/**
 * The nodes below this one, at any depth, and what each of them has: that is what log, deltas and dirty maps are kept
 * by. A child tells it in its acks; of those further down the nodes between tell, with what they know of their links.
 *
 * Those count, too, which are below this node by the topology file alone, since another one feeds them for now: they
 * may come back. What a node told last is in the state file: it may be away when this one starts.
 *
 * @module
 */
import * as z from "zod";
import type { NodeConfig } from "../config.ts";
import type { History, Position } from "../history.ts";
import type { LinkStatus } from "../status.ts";
import { type ClusterTree, declaredPrimary, parentsIn, pathTo } from "../tree/tree.ts";
import { firstView, type View } from "../tree/view.ts";

/** What a node had, durably, when it told last. */
export const takenSchema = z.object({
  node: z.string().max(128),
  lsn: z.number().int().nonnegative(),
  epochId: z.string().max(32),
});
export type Taken = z.infer<typeof takenSchema>;

/** The node, as this sees it. */
export interface DescendantsHost {
  readonly config: NodeConfig;
  readonly pipeline: {
    readonly history: History;
    readonly appendedLsn: number;
    readonly stableLsn: number;
    readonly volumes: readonly unknown[];
  };
  /** Who feeds whom, as this node knows. */
  readonly tree: { readonly seat: { readonly view: View } };
}

interface Family {
  readonly view: View;
  readonly config: NodeConfig;
  readonly below: readonly string[];
  readonly parents: ReadonlyMap<string, string>;
}

/** See the module's text. */
export class Descendants {
  readonly #host: DescendantsHost;
  /** By name; of no other node is it known. */
  readonly #taken = new Map<string, Taken>();
  #known: Family | null = null;
  #lsns: number[] | null = null;

  constructor(host: DescendantsHost, taken: readonly Taken[]) {
    this.#host = host;
    const { history, appendedLsn } = host.pipeline;
    for (const one of taken) if (history.holds(one, appendedLsn)) this.#taken.set(one.node, one);
  }

  get #family(): Family {
    const { config } = this.#host;
    const view = this.#host.tree.seat.view;
    if (this.#known?.view === view && this.#known.config === config) return this.#known;
    const children = config.downstream.map(({ to }) => to);
    const { tree, name } = config;
    // What it cannot read from volumes, it cannot give to anybody.
    const isKeeper = this.#host.pipeline.volumes.length > 0 || config.capture === "scan";
    const further = tree !== null && isKeeper ? namesBelow(tree, view, name) : [];
    const parents = tree === null ? new Map<string, string>() : parentsIn(tree, view);
    this.#lsns = null;
    return this.#known = {
      view,
      config,
      below: [...new Set([...children, ...further])],
      parents,
    };
  }

  /** Names of the nodes that log, deltas and maps are kept for. */
  get names(): readonly string[] {
    return this.#family.below;
  }

  /** All below this LSN is with that node, durably, as it told last; 0: it never told. */
  lsnOf(node: string): number {
    return this.#taken.get(node)?.lsn ?? 0;
  }

  /** Whether that node ever told what it has of this history. */
  isHeard(node: string): boolean {
    return this.#taken.has(node);
  }

  /** The same of all of {@linkcode Descendants.names}. Not to be changed. */
  get lsns(): readonly number[] {
    const { below } = this.#family;
    return this.#lsns ??= below.map((name) => this.lsnOf(name));
  }

  /** What the one of them has that has least; Infinity: there are none. */
  get leastLsn(): number {
    return Math.min(...this.lsns, Infinity);
  }

  /**
   * The same with those of which it is known that are not below just now: nothing is kept for their sake, and what is
   * kept anyhow does for them, too. Whoever was promoted over this node is one, until that has left what it has beyond.
   */
  get knownLsns(): number[] {
    const { below } = this.#family;
    const others = this.list().filter(({ node }) => !below.includes(node));
    return [...this.lsns, ...others.map(({ lsn }) => lsn)];
  }

  /** A node has all below an LSN of this node's history. */
  heard(node: string, lsn: number): void {
    if (this.#taken.get(node)?.lsn === lsn) return;
    this.#taken.set(node, { node, lsn, epochId: this.#host.pipeline.history.idAt(lsn) });
    this.#lsns = null;
  }

  /** What a child knows of links further down; what is not of this history counts for nothing. */
  told(links: readonly LinkStatus[]): void {
    const { parents, below } = this.#family;
    const { history, appendedLsn } = this.#host.pipeline;
    for (const { from, to, received, durable, epochId } of links) {
      if (received === null || durable === null || epochId === null) continue;
      // One that has moved on may still be told of by a node that fed it once.
      if (from === this.#host.config.name || parents.get(to) !== from || !below.includes(to)) {
        continue;
      }
      const position: Position = { epochId, lsn: received };
      if (history.holds(position, appendedLsn)) this.heard(to, Math.min(durable, received));
    }
  }

  /** What lies beyond `lsn` here goes: nobody has it any more, whatever was told. */
  cutBack(lsn: number): void {
    for (const taken of [...this.#taken.values()]) if (taken.lsn > lsn) this.heard(taken.node, lsn);
  }

  /**
   * To be called while another node feeds this one: all that is stable here is so there, and with whoever reigned when
   * it was written. Either may be below one day. Of others further up that is not known: they may be away.
   */
  noteAbove(parent: string): void {
    const { stableLsn, history } = this.#host.pipeline;
    for (const node of new Set([parent, history.last?.node ?? parent])) {
      if (node !== this.#host.config.name) this.heard(node, stableLsn);
    }
  }

  /** For the state file: of others, too, which may be below one day. What is not durable here may go in a crash. */
  list(): Taken[] {
    const { config: { tree }, pipeline: { stableLsn } } = this.#host;
    return [...this.#taken.values()].filter(({ node, lsn }) =>
      lsn <= stableLsn && (tree === null || tree.nodes.some(({ name }) => name === node))
    );
  }
}

/** What was told of an end that is cut off counts as far as the fork. */
export function cutTaken(taken: readonly Taken[], history: History, forkLsn: number): Taken[] {
  return taken.map((one) =>
    one.lsn <= forkLsn ? one : { ...one, lsn: forkLsn, epochId: history.idAt(forkLsn) }
  );
}

/** Nodes below one of them, by the view or by the file; not those above it. */
export function namesBelow(tree: ClusterTree, view: View, name: string): string[] {
  const now = parentsIn(tree, view);
  const declared = parentsIn(tree, firstView(declaredPrimary(tree)));
  const above = pathTo(now, name);
  return tree.nodes.map((node) => node.name).filter((other) =>
    !above.includes(other) &&
    (pathTo(now, other).includes(name) || pathTo(declared, other).includes(name))
  );
}
