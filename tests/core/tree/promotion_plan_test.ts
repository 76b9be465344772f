import { assert, assertEquals, assertMatch } from "@std/assert";
import type { Standing } from "../../../core/tree/asks.ts";
import { awayOf, furthestOf, planPromotion } from "../../../core/tree/promotion_plan.ts";
import { firstView } from "../../../core/tree/view.ts";
import { treeOf } from "./made_up_tree.ts";

const TREE = treeOf({ metro: "hq", dr1: "metro", dr2: "metro" });
const VIEW = firstView("hq");
const FIRST = { number: 1, id: "1".repeat(32), firstLsn: 0, node: "hq" };

function standing(node: string, endLsn: number, more: Partial<Standing> = {}): Standing {
  return {
    ...{ node, state: "running", reigns: false, isWaiting: false, hasVolumes: true, isWhole: true },
    ...{ paused: [], deciding: null },
    ...{ view: VIEW, history: [FIRST], endLsn, stableLsn: endLsn, appliedLsn: endLsn },
    ...{ primaryEndLsn: 1000, primaryTimeMs: 5000, silenceMs: 3000, lagSeconds: 2 },
    ...more,
  };
}

function groundOf(...told: (Standing | [string, string])[]) {
  const standings = new Map<string, Standing | string>();
  for (const one of told) {
    if (Array.isArray(one)) standings.set(one[0], one[1]);
    else standings.set(one.node, one);
  }
  return { tree: TREE, view: VIEW, node: "dr1", standings };
}

Deno.test("what no reachable node has is told as lost, in bytes and seconds", () => {
  const ground = groundOf(
    ["hq", "gone"],
    ["metro", "gone"],
    standing("dr1", 700),
    standing("dr2", 900),
  );
  const plan = planPromotion(ground, false);
  assertEquals([plan.furthest, plan.fetchBytes], ["dr2", 200]);
  assertEquals([plan.lostBytes, plan.lostSeconds, plan.heardSecondsAgo], [100, 2, 3]);
  assertEquals(plan.blocked, null);
  assertEquals(plan.nodes.map(({ name, behindBytes }) => [name, behindBytes]), [
    ["hq", null],
    ["metro", null],
    ["dr1", 300],
    ["dr2", 100],
  ]);
  assertEquals([...awayOf(ground)], ["hq", "metro"]);
});

Deno.test("a log-only node next door has what the others lack", () => {
  const bunker = standing("metro", 1000, { hasVolumes: false });
  const plan = planPromotion(groundOf(["hq", "gone"], bunker, standing("dr1", 700)), false);
  assertEquals([plan.furthest, plan.fetchBytes, plan.lostBytes], ["metro", 300, 0]);
});

Deno.test("what a node lacks does not come over a link that is paused, unless it is done without", () => {
  const bunker = standing("metro", 1000, { hasVolumes: false, paused: ["dr1"] });
  const ground = groundOf(["hq", "gone"], bunker, standing("dr1", 700));
  assertMatch(planPromotion(ground, false).blocked ?? "", /from metro to dr1 is paused/);
  assertEquals(planPromotion(ground, false, false).blocked, null);
  const equal = groundOf(["hq", "gone"], { ...bunker, endLsn: 700 }, standing("dr1", 700));
  assertEquals(planPromotion(equal, false).blocked, null);
  const hq = standing("hq", 1000, { reigns: true });
  const handing = groundOf(hq, bunker, standing("dr1", 700));
  assertMatch(planPromotion(handing, true).blocked ?? "", /from metro to dr1 is paused/);
});

Deno.test("a node without volumes that reigns is there to hand on", () => {
  const hq = standing("hq", 1000, { reigns: true, hasVolumes: false });
  assertEquals(planPromotion(groundOf(hq, standing("dr1", 700)), false).blocked, null);
});

Deno.test("while the primary answers it is handed over, not promoted", () => {
  const hq = standing("hq", 1000, { reigns: true });
  const ground = groundOf(hq, standing("metro", 1000), standing("dr1", 700));
  assertMatch(planPromotion(ground, false).blocked ?? "", /cascade migrate dr1/);
  assertEquals(planPromotion(ground, true).blocked, null);
  assertEquals(planPromotion(ground, true).lostBytes, 0);
  const alone = groundOf(["hq", "gone"], standing("dr1", 700));
  assertMatch(planPromotion(alone, true).blocked ?? "", /cascade promote dr1/);
});

Deno.test("a node that waits for word of others is no primary that answers", () => {
  const hq = standing("hq", 1000, { reigns: true, isWaiting: true, state: "starting" });
  assertEquals(planPromotion(groundOf(hq, standing("dr1", 700)), false).blocked, null);
});

Deno.test("a node without volumes, or without a whole image, is not promoted", () => {
  const without = groundOf(standing("dr1", 700, { hasVolumes: false }));
  assertMatch(planPromotion(without, false).blocked ?? "", /no volumes/);
  const half = groundOf(standing("dr1", 700, { isWhole: false }));
  assertMatch(planPromotion(half, false).blocked ?? "", /no whole image/);
});

Deno.test("of two sides of a fork the node's own counts, however long the other is", () => {
  const mine = { number: 4096, id: "2".repeat(32), firstLsn: 500, node: "dr1" };
  const theirs = { number: 2, id: "3".repeat(32), firstLsn: 600, node: "hq" };
  const ground = groundOf(
    standing("dr1", 700, { history: [FIRST, mine] }),
    standing("dr2", 5000, { history: [FIRST, theirs] }),
  );
  assertEquals(furthestOf(ground).node, "dr1");
});

Deno.test("where nobody ever heard of the primary, what is lost is not known", () => {
  const plan = planPromotion(groundOf(standing("dr1", 700, { primaryTimeMs: 0 })), false);
  assertEquals([plan.lostBytes, plan.heardSecondsAgo], [null, null]);
  assert(plan.nodes.every(({ name, isReachable }) => isReachable === (name === "dr1")));
});

Deno.test("who was fed by the primary itself knows when it was heard last", () => {
  const metro = standing("metro", 700, { silenceMs: 9000 });
  const plan = planPromotion(groundOf(["hq", "gone"], metro, standing("dr1", 700)), false);
  assertEquals(plan.heardSecondsAgo, 9);
});
