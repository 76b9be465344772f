import { assert, assertEquals } from "@std/assert";
import {
  agree,
  digestOf,
  firstView,
  isPromotedOver,
  mergeViews,
  nextReign,
  PROMOTION_STEP,
  type View,
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
