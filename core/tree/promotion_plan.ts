/**
 * What a promotion would do and cost, from what the nodes that answer have told. Pure: the same answers give the
 * same plan, to be shown before anything is done.
 *
 * @module
 */
import { History } from "../history.ts";
import type { Standing } from "./asks.ts";
import { promotedView } from "./promotion.ts";
import { type ClusterTree, parentsIn, pathTo } from "./tree.ts";
import type { PlanNode, TreePlan } from "./tree_report.ts";
import type { View } from "./view.ts";

/** What is known of each other node: how it stands, or why nobody knows. */
export type Standings = ReadonlyMap<string, Standing | string>;

/** Of a plan: who takes part. */
export interface PlanGround {
  readonly tree: ClusterTree;
  readonly view: View;
  /** The node to be promoted, with its own standing in `standings`. */
  readonly node: string;
  readonly standings: Standings;
}

/**
 * See the module's text. `isPlanned`: a hand-over, so that the old primary is to take part. `fetches`: what another
 * node has more comes along.
 */
export function planPromotion(ground: PlanGround, isPlanned: boolean, fetches = true): TreePlan {
  const { tree, view, node, standings } = ground;
  const mine = standingOf(standings, node);
  const primary = standingOf(standings, view.primary);
  const best = furthestOf(ground);
  const known = lastWordOf(ground);
  const away = awayOf(ground);
  const after = parentsIn(
    tree,
    promotedView(tree, view, node, { number: view.reign + 1, id: "" }, away),
  );
  const before = parentsIn(tree, view);
  const behind = (standing: Standing) =>
    known === null ? null : Math.max(0, known.endLsn - standing.endLsn);
  const nodes = tree.nodes.map(({ name }): PlanNode => {
    const standing = standings.get(name);
    const has = typeof standing === "object" ? standing : null;
    return {
      name,
      isReachable: has !== null,
      reason: typeof standing === "string"
        ? standing
        : has === null
        ? "unknown"
        : flawOf(has, best),
      endLsn: has?.endLsn ?? null,
      behindBytes: has === null ? null : behind(has),
      behindSeconds: has?.lagSeconds ?? null,
      from: before.get(name) ?? null,
      to: away.has(name) && name !== node
        ? before.get(name) ?? after.get(name) ?? null
        : after.get(name) ?? null,
    };
  });
  return {
    node,
    primary: view.primary,
    isPrimaryReachable: primary?.reigns === true,
    furthest: best.node,
    fetchBytes: Math.max(0, best.endLsn - (mine?.endLsn ?? 0)),
    lostBytes: isPlanned ? 0 : behind(best),
    lostSeconds: isPlanned
      ? 0
      : known === null
      ? null
      : best.endLsn >= known.endLsn
      ? 0
      : best.lagSeconds,
    heardSecondsAgo: isPlanned || known === null ? null : known.silenceMs / 1000,
    blocked: isPlanned
      ? whyNoHandOver(ground, primary) ?? whyNoWay(ground, before)
      : whyNoPromotion(ground, primary) ??
        (fetches ? whyNoWay(ground, fetchingFrom(ground, best, away)) : null),
    nodes,
  };
}

function standingOf(standings: Standings, node: string): Standing | null {
  const standing = standings.get(node);
  return typeof standing === "object" ? standing : null;
}

/** Nodes that nobody reaches: they feed nobody in the new tree. The node itself is never one of them. */
export function awayOf({ tree, standings, node }: PlanGround): Set<string> {
  const names = tree.nodes.map(({ name }) => name);
  return new Set(names.filter((name) => name !== node && standingOf(standings, name) === null));
}

/** Who has most of the history of `node`; on a tie `node` itself. Of two sides of a fork the node's own counts. */
export function furthestOf({ standings, node }: PlanGround): Standing {
  const mine = standingOf(standings, node);
  if (mine === null) throw new TypeError("a node knows how it stands itself");
  const history = new History(mine.history);
  let best = mine;
  for (const standing of standings.values()) {
    if (typeof standing === "string" || standing.endLsn <= best.endLsn || standing.reigns) continue;
    if (!standing.isWhole || standing.state !== "running") continue;
    const { mine: own } = history.fork(standing.history);
    // Nothing follows on this side: all that is here is there too.
    if (own === null && standing.history.length > 0) best = standing;
  }
  return best;
}

/**
 * Where the primary's log ended when anybody heard of it last. A node that others feed hears what they know, whether
 * they hear of the primary or not: how long ago that was is known by those that it feeds itself, if any answers.
 */
function lastWordOf({ tree, view, standings }: PlanGround): {
  endLsn: number;
  silenceMs: number;
} | null {
  const parents = parentsIn(tree, view);
  const words = [...standings.values()].flatMap((standing) => {
    if (typeof standing === "string") return [];
    const { node, reigns, endLsn, primaryEndLsn, primaryTimeMs, silenceMs } = standing;
    if (reigns) return [{ endLsn, silenceMs: 0, isDirect: true }];
    const isDirect = parents.get(node) === view.primary;
    return primaryTimeMs === 0 ? [] : [{ endLsn: primaryEndLsn, silenceMs, isDirect }];
  });
  if (words.length === 0) return null;
  const direct = words.filter(({ isDirect }) => isDirect);
  const heard = direct.length > 0 ? direct : words;
  return {
    endLsn: Math.max(...words.map(({ endLsn }) => endLsn)),
    silenceMs: Math.min(...heard.map(({ silenceMs }) => silenceMs)),
  };
}

/** What is the matter with a node that answers, or null. */
function flawOf(standing: Standing, best: Standing): string | null {
  if (standing.state !== "running" && standing.state !== "starting") return standing.state;
  if (!standing.isWhole) return "it has no whole image yet";
  const { mine } = new History(standing.history).fork(best.history);
  return mine === null ? null : "its last records are of an abandoned epoch";
}

function whyNoPromotion(
  { node, view, standings }: PlanGround,
  primary: Standing | null,
): string | null {
  const unfit = whyUnfit(node, standings);
  if (unfit !== null || view.primary === node) return unfit;
  if (primary === null || !primary.reigns || primary.isWaiting) return null;
  // It reigns to hand on what it has, and whoever had that done was cut off.
  if (!primary.hasVolumes) return null;
  return `${view.primary} is the primary, and answers: hand over with \`cascade migrate ${node}\`, ` +
    "or promote with --force, which loses what has not been replicated";
}

function whyNoHandOver(
  { node, view, standings }: PlanGround,
  primary: Standing | null,
): string | null {
  if (view.primary === node) return `${node} is the primary already`;
  const unfit = whyUnfit(node, standings);
  if (unfit !== null) return unfit;
  if (primary === null) {
    const why = standings.get(view.primary);
    return `the primary ${view.primary} does not answer (${why}): if it is gone, \`cascade promote ${node}\``;
  }
  return primary.state === "running" ? null : `the primary ${view.primary} is ${primary.state}`;
}

/** The tree while the node that has most reigns, to hand on; none where that is the node itself. */
function fetchingFrom(
  { tree, view, node, standings }: PlanGround,
  best: Standing,
  away: ReadonlySet<string>,
): ReadonlyMap<string, string> {
  const primary = standingOf(standings, view.primary);
  if (primary?.reigns === true && !primary.isWaiting) return parentsIn(tree, view);
  if (best.node === node) return new Map();
  return parentsIn(
    tree,
    promotedView(tree, view, best.node, { number: view.reign + 1, id: "" }, away),
  );
}

/** A paused link, over which what the node lacks does not come. */
function whyNoWay(
  { node, standings }: PlanGround,
  parents: ReadonlyMap<string, string>,
): string | null {
  const path = pathTo(parents, node);
  for (const [i, to] of path.entries()) {
    const from = path[i - 1];
    if (from === undefined || standingOf(standings, from)?.paused.includes(to) !== true) continue;
    return `what ${node} lacks does not come through: the link from ${from} to ${to} is paused; ` +
      `see \`cascade resume\``;
  }
  return null;
}

/** Why a node cannot reign; null: it can. */
export function whyUnfit(node: string, standings: Standings): string | null {
  const mine = standingOf(standings, node);
  if (mine === null) return `${node} does not answer: ${standings.get(node)}`;
  if (!mine.hasVolumes) return `${node} has no volumes to serve`;
  if (!mine.isWhole) return `${node} has no whole image to serve yet`;
  if (mine.state === "running" || mine.state === "starting") return null;
  return mine.state === "abandoned-tail" ? null : `${node} is ${mine.state}`;
}
