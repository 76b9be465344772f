/**
 * What a decision between two promotions keeps, and what it leaves behind: pure, so that it can be shown before it is made.
 *
 * @module
 */
import { History } from "../history.ts";
import type { Standing } from "./asks.ts";
import { type PlanGround, planPromotion, whyUnfit } from "./promotion_plan.ts";
import type { ConflictNode, ConflictReport, TreePlan } from "./tree_report.ts";

/** The halves of the cascade, that of `ground.node` first, and what a promotion over both does to the tree. */
export function planConflict(
  ground: PlanGround,
): { readonly plan: TreePlan; readonly conflict: ConflictReport } {
  const { node, standings, tree } = ground;
  const told = tree.nodes.flatMap(({ name }) => {
    const standing = standings.get(name);
    return typeof standing === "object" ? [standing] : [];
  });
  const mine = told.find((standing) => standing.node === node);
  if (mine === undefined) throw new TypeError("a node knows how it stands itself");
  const history = new History(mine.history);
  const halves = new Map<string, Standing[]>([[mine.view.reignId, []]]);
  for (const standing of told) {
    const { reignId } = standing.view;
    halves.set(reignId, [...halves.get(reignId) ?? [], standing]);
  }
  const others = told.filter(({ view }) => view.reignId !== mine.view.reignId);
  const forks = others.map((other) => history.fork(other.history).lsn).filter(Number.isFinite);
  const forkLsn = forks.length === 0 ? null : Math.min(...forks);
  const conflict: ConflictReport = {
    forkLsn,
    halves: [...halves.values()].map((members) => halfOf(members, history, forkLsn, mine)),
    silent: tree.nodes.map(({ name }) => name)
      .filter((name) => typeof standings.get(name) !== "object"),
  };
  const lost = conflict.halves.flatMap(({ nodes }) => nodes.map(({ lostBytes }) => lostBytes));
  const plan = planPromotion(ground, false, false);
  return {
    plan: {
      ...plan,
      ...{ furthest: node, fetchBytes: 0, lostBytes: Math.max(0, ...lost) },
      // Times of what was written are in the records that are kept.
      ...{ lostSeconds: null, heardSecondsAgo: null },
      blocked: whyUnfit(node, standings),
    },
    conflict,
  };
}

function halfOf(
  members: readonly Standing[],
  history: History,
  forkLsn: number | null,
  mine: Standing,
): ConflictReport["halves"][number] {
  const { view } = members[0] ?? mine;
  const longest = members.reduce((a, b) => b.history.length > a.history.length ? b : a, mine);
  const teller = members.find(({ node }) => node === view.primary) ??
    (members.includes(longest) ? longest : members[0] ?? mine);
  return {
    ...{ primary: view.primary, reign: view.reign, reignId: view.reignId },
    isKept: view.reignId === mine.view.reignId,
    epochs: teller.history.filter(({ firstLsn }) => forkLsn !== null && firstLsn >= forkLsn),
    nodes: members.map((standing) => nodeOf(standing, history, standing.node === mine.node)),
  };
}

function nodeOf(standing: Standing, history: History, isKept: boolean): ConflictNode {
  const { node, endLsn } = standing;
  const { lsn } = history.fork(standing.history);
  const isApart = !isKept && Number.isFinite(lsn) && endLsn > lsn;
  const epoch = standing.history.at(-1)?.number ?? 0;
  return {
    name: node,
    endLsn,
    forkLsn: isApart ? lsn : null,
    lostBytes: isApart ? endLsn - lsn : 0,
    keptIn: isApart ? `abandoned/${epoch}-${lsn}-${endLsn}` : null,
  };
}
