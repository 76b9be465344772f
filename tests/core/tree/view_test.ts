import { assert, assertEquals } from "@std/assert";
import {
  agree,
  digestOf,
  firstView,
  isPromotedOver,
  mergeViews,
  nextReign,
  PROMOTION_STEP,
  saidBy,
  type View,
  viewAtHome,
  withParent,
} from "../../../core/tree/view.ts";

const reign = (primary: string, number: number): View => ({
  ...firstView(primary),
  reign: number,
  reignId: String(number).padStart(32, "0"),
});

Deno.test("views merge to the same one in any order", () => {
  const base = reign("hq", PROMOTION_STEP);
  const views = [
    withParent(base, "dr", "hq"),
    withParent(withParent(base, "dr", "metro"), "dr", "lab"),
    reign("metro", 2 * PROMOTION_STEP),
    withParent(firstView("hq"), "far", "metro"),
  ];
  const orders = [[0, 1, 2, 3], [3, 2, 1, 0], [2, 0, 3, 1], [1, 3, 0, 2]];
  const merged = orders.map((order) =>
    order.map((i) => views[i]!).reduce((all, next) => mergeViews(all, next))
  );
  for (const view of merged) assertEquals(digestOf(view), digestOf(merged[0]!));
  assertEquals(merged[0]!.primary, "metro");
  assertEquals(merged[0]!.parents.dr?.to, "lab");
  assertEquals(merged[0]!.parents.far?.to, "metro");
});

Deno.test("two promotions at once are a conflict, a later one is none", () => {
  const mine = { ...reign("hq", PROMOTION_STEP), reignId: "a".repeat(32) };
  const theirs = { ...reign("metro", PROMOTION_STEP), reignId: "b".repeat(32) };
  assert(!agree(mine, theirs));
  assert(agree(mine, reign("metro", 2 * PROMOTION_STEP)));
  assert(agree(mine, mine));
  assertEquals(mergeViews(mine, theirs).primary, "hq");
});

Deno.test("a promotion counts beyond all that restarts may have begun", () => {
  assertEquals(nextReign(0), PROMOTION_STEP);
  assertEquals(nextReign(1), PROMOTION_STEP);
  assertEquals(nextReign(PROMOTION_STEP + 17), 2 * PROMOTION_STEP);
  assert(isPromotedOver(nextReign(5), 5));
  assert(!isPromotedOver(6, 5));
});

Deno.test("who has said whom a node is fed by is known to all", () => {
  const typed = withParent(firstView("hq"), "dr", "hq");
  const own = withParent(typed, "dr", "lab", "metro");
  const promoted = { ...typed, parents: { dr: { to: "hq", reign: 4096, serial: 0 } } };
  assertEquals([firstView("hq"), typed, own, promoted].map((view) => saidBy(view, "dr")), [
    null,
    "operator",
    "itself",
    "promotion",
  ]);
  assertEquals(viewAtHome(own).parents.dr, { to: "metro", reign: 0, serial: 2 });
  assertEquals(viewAtHome(typed), typed);
});

Deno.test("what a node has chosen is not lost on the way through one that does not know of that", () => {
  const own = withParent(firstView("hq"), "dr", "hq", "metro");
  const stripped = withParent(firstView("hq"), "dr", "hq");
  // To such a node both say the same: it would be told for ever, else.
  assertEquals(digestOf(own), digestOf(stripped));
  for (const merged of [mergeViews(own, stripped), mergeViews(stripped, own)]) {
    assertEquals(saidBy(merged, "dr"), "itself");
  }
});

Deno.test("of two words at once that of an operator counts", () => {
  const typed = withParent(firstView("hq"), "dr", "hq");
  const own = withParent(firstView("hq"), "dr", "lab", "metro");
  for (const merged of [mergeViews(own, typed), mergeViews(typed, own)]) {
    assertEquals([merged.parents.dr?.to, saidBy(merged, "dr")], ["hq", "operator"]);
  }
});
