import { assertEquals } from "@std/assert";
import { isBelow, promotedView } from "../../../core/tree/promotion.ts";
import { parentsIn, placeIn } from "../../../core/tree/tree.ts";
import { firstView, saidBy, withParent } from "../../../core/tree/view.ts";
import { REIGN, shapeOf, treeOf } from "./made_up_tree.ts";

const TREE = treeOf({ metro: "hq", dr1: "metro", dr2: "metro", lab: "dr1" });

Deno.test("the way up to the old primary is turned round, the rest stays", () => {
  const view = promotedView(TREE, firstView("hq"), "dr1", REIGN, new Set());
  assertEquals(shapeOf(TREE, view), { hq: "metro", metro: "dr1", dr2: "metro", lab: "dr1" });
});

Deno.test("what is away feeds nobody, and has a place for when it is back", () => {
  const view = promotedView(TREE, firstView("hq"), "dr1", REIGN, new Set(["metro"]));
  assertEquals(shapeOf(TREE, view), { hq: "dr1", metro: "dr1", dr2: "dr1", lab: "dr1" });
});

Deno.test("under the primary of the file the tree is as declared again", () => {
  const away = promotedView(TREE, firstView("hq"), "dr1", REIGN, new Set(["metro"]));
  const later = { number: 2 * REIGN.number, id: "b".repeat(32) };
  const home = promotedView(TREE, away, "hq", later, new Set());
  assertEquals(shapeOf(TREE, home), { metro: "hq", dr1: "metro", dr2: "metro", lab: "dr1" });
  const without = promotedView(TREE, away, "hq", later, new Set(["dr1", "metro"]));
  assertEquals(shapeOf(TREE, without), { metro: "hq", dr1: "hq", dr2: "hq", lab: "hq" });
});

Deno.test("a link that is turned round keeps its addresses, and the end that dials", () => {
  const view = promotedView(TREE, firstView("hq"), "metro", REIGN, new Set());
  const { role, upstream, downstream } = placeIn(TREE, view, "metro");
  assertEquals([role, upstream], ["primary", null]);
  const turned = downstream.find(({ to }) => to === "hq");
  const declared = TREE.links.find(({ to }) => to === "metro");
  assertEquals(turned?.addresses, declared?.addresses);
  // metro dialled hq, and does so still.
  assertEquals([declared?.dial, turned?.dial], ["to", "from"]);
  assertEquals(turned?.onDisconnect, "degrade");
});

Deno.test("two nodes that were given each other as parents are fed by the primary", () => {
  const view = withParent(withParent(firstView("hq"), "dr1", "dr2"), "dr2", "dr1");
  const parents = parentsIn(TREE, view);
  for (const name of ["dr1", "dr2"]) {
    let at: string | undefined = name;
    for (let i = 0; i < 9 && at !== "hq"; i++) at = parents.get(at!);
    assertEquals(at, "hq");
  }
});

Deno.test("who is below whom is known over any number of links", () => {
  assertEquals(isBelow(TREE, firstView("hq"), "lab", "metro"), true);
  assertEquals(isBelow(TREE, firstView("hq"), "metro", "lab"), false);
});

Deno.test("a node is never fed by one that it cannot meet", () => {
  const silent = {
    ...TREE,
    nodes: TREE.nodes.map((node) => node.name.startsWith("dr") ? { ...node, addresses: [] } : node),
  };
  // Both of them dial metro, and none finds the other.
  const view = withParent(firstView("hq"), "dr2", "dr1");
  assertEquals(shapeOf(silent, view).dr2, "metro");
  assertEquals(shapeOf(TREE, view).dr2, "dr1");
});

Deno.test("what was typed, and who is away from home, is known after a promotion as before", () => {
  const typed = withParent(firstView("hq"), "dr2", "hq");
  const view = withParent(typed, "lab", "hq", "dr1");
  const later = promotedView(TREE, view, "metro", REIGN, new Set());
  assertEquals(["dr1", "dr2", "lab"].map((name) => saidBy(later, name)), [
    "promotion",
    "operator",
    "itself",
  ]);
  assertEquals([later.parents.dr2?.to, later.parents.lab?.home], ["hq", "dr1"]);
  // Whoever is fed by another one now was told so by the promotion.
  const away = promotedView(TREE, view, "metro", REIGN, new Set(["hq"]));
  assertEquals([saidBy(away, "dr2"), saidBy(away, "lab")], ["promotion", "promotion"]);
});
