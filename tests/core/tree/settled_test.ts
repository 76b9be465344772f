import { assert, assertEquals } from "@std/assert";
import { isBelow, promotedView } from "../../../core/tree/promotion.ts";
import {
  disagreement,
  isDeclaredIn,
  settledParents,
  settledTree,
} from "../../../core/tree/settled.ts";
import { linksIn, parentsIn, placeIn } from "../../../core/tree/tree.ts";
import { firstView, withParent } from "../../../core/tree/view.ts";
import { Prng } from "../../sim/prng.ts";
import { REIGN, treeOf } from "./made_up_tree.ts";

const TREE = treeOf({ metro: "hq", dr1: "metro", dr2: "metro" });

Deno.test("declared as it is, a tree has the links that it had, to the last setting", () => {
  for (let seed = 1; seed <= 300; seed++) {
    const prng = new Prng(seed);
    const names = ["hq"];
    const parents: Record<string, string> = {};
    for (let i = 1; i <= 1 + prng.below(6); i++) {
      parents[`n${i}`] = prng.pick(names);
      names.push(`n${i}`);
    }
    const tree = treeOf(parents);
    const away = names.filter(() => prng.chance(0.3));
    const node = prng.pick(names);
    let view = promotedView(tree, firstView("hq"), node, REIGN, new Set(away));
    if (prng.chance(0.5)) view = withParent(view, prng.pick(names), prng.pick(names));
    const said = view;
    // Some have chosen another one for the time being: no file follows that.
    for (const [name, home] of prng.chance(0.5) ? parentsIn(tree, said) : []) {
      const to = prng.pick(names);
      if (prng.chance(0.3) && !isBelow(tree, view, to, name)) {
        view = withParent(view, name, to, home);
      }
    }
    const settled = settledTree(tree, view);
    const byEnd = (links: ReturnType<typeof linksIn>) =>
      links.toSorted((a, b) => a.to < b.to ? -1 : 1);
    assertEquals(byEnd(linksIn(settled, said)), byEnd(linksIn(tree, said)), `seed ${seed}`);
    assertEquals(parentsIn(settled, view), parentsIn(tree, view), `seed ${seed}`);
    assertEquals(byEnd([...settled.links]), byEnd(linksIn(tree, said)), `seed ${seed}`);
    assert(isDeclaredIn(settled, view), `seed ${seed}`);
    assertEquals(settledTree(settled, view), settled, `seed ${seed}`);
    for (const { name, role } of settled.nodes) {
      assertEquals(placeIn(settled, said, name).role, role, `seed ${seed}`);
    }
  }
});

Deno.test("how a file differs from the tree is said, with the orders that change either", () => {
  assertEquals(disagreement(TREE, firstView("hq")), null);
  const moved = disagreement(TREE, withParent(firstView("hq"), "dr1", "hq"));
  assertEquals([moved?.says, moved?.so], ["dr1 is fed by metro", "dr1 is fed by hq"]);
  assertEquals(
    moved?.hint,
    "`cascade migrate hq --write` writes what is so into the files. " +
      "To have it as the file says: `cascade reparent dr1 --to metro`",
  );
  const promoted = disagreement(TREE, promotedView(TREE, firstView("hq"), "dr1", REIGN, new Set()));
  assertEquals(promoted?.says, "hq is the primary, metro is fed by hq, dr1 is fed by metro");
  assertEquals(
    promoted?.so,
    "dr1 is the primary since epoch 4096, hq is fed by metro, metro is fed by dr1",
  );
  assertEquals(
    promoted?.hint.split(". ")[1],
    "To have it as the file says: `cascade migrate hq`, or `cascade promote hq` if dr1 is gone",
  );
});

Deno.test("a node that has chosen another parent for the time being is at home, for all files", () => {
  const away = withParent(firstView("hq"), "dr1", "hq", "metro");
  assertEquals(disagreement(TREE, away), null);
  assertEquals(settledTree(TREE, away), settledTree(TREE, firstView("hq")));
  assertEquals(placeIn(TREE, away, "dr1").upstream?.from, "hq");
});

Deno.test("a list of parents begins with the node that feeds it, and keeps its order behind that", () => {
  assertEquals(settledParents(["metro", "lab", "hq"], "hq"), ["hq", "metro", "lab"]);
  assertEquals(settledParents(["metro", "hq"], "dr2"), ["dr2", "metro", "hq"]);
  assertEquals(settledParents(["metro", "hq"], "metro"), ["metro", "hq"]);
  assertEquals(settledParents(["metro", "hq"], undefined), ["metro", "hq"]);
  assertEquals(settledParents(null, "hq"), null);
});
