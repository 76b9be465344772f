/**
 * What a changed topology means for a node that runs.
 *
 * @module
 */
import type { LinkConfig, NodeConfig } from "../core/config.ts";
import type { CascadeNode } from "../core/node.ts";
import {
  type Disagreement,
  disagreement,
  settledParents,
  settledTree,
} from "../core/tree/settled.ts";
import { placeIn } from "../core/tree/tree.ts";
import type { View } from "../core/tree/view.ts";
import type { NodeSetup } from "./serve_node.ts";

/** The names of what has changed, by when it takes effect. */
export interface ChangedParts {
  readonly live: readonly string[];
  readonly restart: readonly string[];
}

/** What of a link takes effect at once. */
const LIVE_OF_LINKS = ["bandwidth", "compress"] as const;

/** Compares two setups of one node. */
export function changedParts(before: NodeSetup, after: NodeSetup): ChangedParts {
  const flat = (setup: NodeSetup) => {
    // Files of certificates may be others at any time, and are read again in any case.
    const { secret, upstream, downstream, tree, tls: _tls, nbdTls, ...config } = setup.config;
    const { parents: _parents, reparentAfterMs: _reparentAfterMs, ...fixed } = config;
    return {
      ...fixed,
      // How the node above sends is no matter of this one.
      upstream: upstream === null ? null : fixedOf(upstream),
      downstream: downstream.map(fixedOf),
      tree: tree === null ? null : { ...tree, links: tree.links.map(fixedOf) },
      nbdTls: nbdTls?.mode ?? "off",
      secret: [...secret],
      admin: setup.admin,
    };
  };
  const [old, fresh] = [flat(before), flat(after)];
  const keys = Object.keys(fresh) as (keyof typeof fresh)[];
  const changed: string[] = keys.filter((key) => {
    return JSON.stringify(old[key]) !== JSON.stringify(fresh[key]);
  });
  // The node's own links are a part of the tree.
  const isOwn = changed.some((key) => key === "upstream" || key === "downstream");
  const restart = changed.filter((key) => key !== "tree" || !isOwn);
  const live = [...changedChoice(before.config, after.config), ...changedLines(before, after)];
  if (before.adminToken === after.adminToken) return { live, restart };
  // Without any token the address may have to be another one, which is a matter for a start.
  if (after.adminToken === null) return { live, restart: [...restart, "adminToken"] };
  return { live: [...live, "adminToken"], restart };
}

/** Who is let in changes at once, whether anybody is asked with a start. */
function liveNbdTls({ config: before }: NodeSetup, { config: after }: NodeSetup) {
  if (!before.nbdTls || !after.nbdTls) return before.nbdTls ?? null;
  return { ...after.nbdTls, mode: before.nbdTls.mode };
}

/** By whom the node may choose to be fed. */
function changedChoice(before: NodeConfig, after: NodeConfig): string[] {
  const parents = String(before.parents ?? []) === String(after.parents ?? []) ? [] : ["parents"];
  return before.reparentAfterMs === after.reparentAfterMs ? parents : [...parents, "reparentAfter"];
}

function choiceOf({ parents = [], reparentAfterMs = 0 }: NodeConfig) {
  return { parents, reparentAfterMs };
}

/** The link without what takes effect at once. */
function fixedOf({ bandwidth: _bandwidth, compress: _compress, ...fixed }: LinkConfig) {
  return fixed;
}

/** As LINK.KEY. */
function changedLines(before: NodeSetup, after: NodeSetup): string[] {
  return before.config.downstream.flatMap((link) => {
    const next = after.config.downstream.find(({ name }) => name === link.name);
    if (next === undefined) return [];
    return LIVE_OF_LINKS.filter((key) => JSON.stringify(link[key]) !== JSON.stringify(next[key]))
      .map((key) => `${link.name}.${key}`);
  });
}

function tuned(link: LinkConfig, next: readonly LinkConfig[]): LinkConfig {
  const after = next.find(({ name }) => name === link.name);
  if (after === undefined) return link;
  return { ...link, bandwidth: after.bandwidth, compress: after.compress };
}

/** `current` with what of `next` takes effect at once: the `live` parts of {@linkcode changedParts}. */
export function withLive(
  current: NodeSetup,
  next: NodeSetup,
  live: readonly string[],
): NodeSetup {
  const downstream = current.config.downstream.map((link) => tuned(link, next.config.downstream));
  const { tree } = current.config;
  const links = tree?.links.map((link) => tuned(link, next.config.tree?.links ?? []));
  return {
    ...current,
    config: {
      ...current.config,
      tree: tree === null || links === undefined ? null : { ...tree, links },
      tls: next.config.tls,
      nbdTls: liveNbdTls(current, next),
      ...choiceOf(next.config),
      downstream,
    },
    adminToken: live.includes("adminToken") ? next.adminToken : current.adminToken,
  };
}

/** What comes of a file that was read again. */
export interface Reload extends ChangedParts {
  /** What holds from now on, with roles and links as declared. */
  readonly setup: NodeSetup;
  /** The same, with roles and links as they are. */
  readonly running: NodeSetup;
  /** How the file differs from the tree: that is not changed by a file. Null: it says what is so. */
  readonly differs: Disagreement | null;
}

/**
 * Compares what holds with what the file says now, both with the roles and links that are so: who reigns, and who feeds
 * whom, is changed by orders alone. `more`: what else takes effect at once.
 */
export function reloaded(
  current: NodeSetup,
  next: NodeSetup,
  view: View,
  more: readonly string[],
): Reload {
  const { tree } = next.config;
  const differs = tree === null ? null : disagreement(tree, view);
  const [standing, wanted] = [settled(current, view), settled(next, view)];
  const changed = changedParts(standing, wanted);
  const live = [...changed.live, ...more];
  const running = withLive(standing, wanted, live);
  const { restart } = changed;
  if (differs === null || tree === null) return { live, restart, running, setup: running, differs };
  const kept = withLive(current, next, live);
  const setup = { ...kept, config: { ...kept.config, fileTree: tree } };
  return { live, restart, running, setup, differs };
}

/** A setup as if its file had said what is so. */
export function settled(setup: NodeSetup, view: View): NodeSetup {
  const { fileTree: _fileTree, ...config } = setup.config;
  const { tree, name } = config;
  if (tree === null) return setup;
  const now = settledTree(tree, view);
  const home = now.links.find(({ to }) => to === name)?.from;
  const parents = settledParents(config.parents ?? [], home);
  return { ...setup, config: { ...config, ...placeIn(now, view, name), tree: now, parents } };
}

/** A node that runs goes by another declaration; its role and its links stay. */
export function declareTo(node: CascadeNode, { config: declared }: NodeSetup): void {
  const { tree, fileTree } = declared;
  const { fileTree: _fileTree, ...config } = node.config;
  const more = { ...choiceOf(declared), ...(fileTree === undefined ? {} : { fileTree }) };
  node.config = { ...config, tree, ...more };
}
