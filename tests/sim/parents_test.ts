import { assert, assertEquals } from "@std/assert";
import type { CascadeNode } from "../../core/node.ts";
import { runParentsSeed } from "./parents_world.ts";
import { AFTER_MS, SmallTree } from "./small_tree.ts";

/** Seeds of trees, deaths and returns. */
const SEEDS = [17, 101, 102];

for (const seed of SEEDS) {
  Deno.test(`nodes choose their parents, and all are fed, and home at last: seed ${seed}`, async () => {
    const { failure } = await runParentsSeed(seed);
    assertEquals(failure, null, `deno task sim --parents --seed ${seed} --verbose tells all`);
  });
}

const LISTS = { dr: ["metro", "hq"], leaf: ["dr", "hq"] };
const parentOf = (node: CascadeNode) => node.config.upstream?.from;

Deno.test("the children of a dead node move, and what lies below them comes along", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "metro", leaf: "dr" }, LISTS);
  await tree.until(() => tree.isFed("leaf"), "all are fed");
  tree.host("metro").crash("power");
  await tree.until(() => tree.isFed("leaf") && parentOf(tree.node("dr")) === "hq", "dr moves");
  // More time than leaf would have had patience for.
  await tree.pass(10 * AFTER_MS);
  assertEquals([tree.node("dr").tree.moves.itself, tree.node("leaf").tree.moves.itself], [1, 0]);
  tree.host("metro").start();
  await tree.until(() => tree.isFed("leaf") && parentOf(tree.node("dr")) === "metro", "dr is home");
  assertEquals(tree.node("dr").status().tree?.chosen, {});
});

Deno.test("a node whose parent is cut off goes to one that hears the primary, once, and home", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "metro", leaf: "dr" }, LISTS);
  await tree.until(() => tree.isFed("leaf"), "all are fed");
  tree.cut("hq", "metro");
  await tree.until(() => parentOf(tree.node("dr")) === "hq" && tree.isFed("leaf"), "dr moves");
  await tree.pass(10 * AFTER_MS);
  tree.heal();
  await tree.until(() => parentOf(tree.node("dr")) === "metro" && tree.isFed("leaf"), "dr is home");
  assertEquals([tree.node("dr").tree.moves.itself, tree.node("leaf").tree.moves.itself], [2, 0]);
});

Deno.test("nobody moves because the primary is silent", async () => {
  const lists = { ...LISTS, metro: ["hq", "far"], dr: ["metro", "far", "hq"] };
  const tree = new SmallTree({ metro: "hq", far: "hq", dr: "metro", leaf: "dr" }, lists);
  await tree.until(() => tree.isFed("leaf") && tree.isFed("far"), "all are fed");
  tree.stopWriting();
  await tree.until(() => tree.isFed("leaf") && tree.isFed("far"), "all have all");
  tree.host("hq").crash("power");
  await tree.pass(30 * AFTER_MS);
  for (const name of ["metro", "dr", "leaf"]) {
    assertEquals(tree.node(name).tree.moves.itself, 0, name);
  }
});

Deno.test("what an operator has typed is left alone until that parent is away", async () => {
  const tree = new SmallTree({ metro: "hq", lab: "hq", dr: "metro" }, LISTS);
  await tree.until(() => tree.isFed("dr") && tree.isFed("lab"), "all are fed");
  await tree.order("dr", "lab");
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "lab", "dr is moved");
  await tree.pass(20 * AFTER_MS);
  const { choice } = tree.node("dr").status().tree!;
  assertEquals([parentOf(tree.node("dr")), choice?.by, choice?.candidates], [
    "lab",
    "operator",
    [],
  ]);
  tree.host("lab").crash("process");
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "metro", "dr chooses");
  tree.host("lab").start();
  await tree.pass(20 * AFTER_MS);
  assertEquals(parentOf(tree.node("dr")), "metro");
});

Deno.test("what an operator has typed outlasts a restart, and the one where the node is already counts", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "metro" }, LISTS);
  await tree.until(() => tree.isFed("dr"), "all are fed");
  tree.host("metro").crash("power");
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "hq", "dr chooses");
  await tree.order("dr", "hq");
  tree.host("metro").start();
  tree.host("dr").crash("power");
  tree.host("dr").start();
  await tree.until(() => tree.isFed("dr") && tree.isFed("metro"), "both are back");
  await tree.pass(20 * AFTER_MS);
  assertEquals(parentOf(tree.node("dr")), "hq");
  await tree.order("dr", "metro");
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "metro", "dr is home");
});

Deno.test("a choice outlasts a restart, with its reason, and is no word of an operator", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "metro" }, LISTS);
  await tree.until(() => tree.isFed("dr"), "all are fed");
  tree.host("metro").crash("power");
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "hq", "dr chooses");
  tree.host("dr").crash("power");
  tree.host("dr").start();
  await tree.until(() => tree.isFed("dr"), "dr is back");
  const { choice, chosen, isDeclared } = tree.node("dr").status().tree!;
  assertEquals([choice?.by, chosen, isDeclared], ["itself", { dr: "metro" }, true]);
  assert(/^metro was away for \d+ s$/.test(choice?.reason ?? ""), choice?.reason ?? "");
  tree.host("metro").start();
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "metro", "dr is home");
});

Deno.test("a paused link is not left, and none that is paused is gone to", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "metro", lab: "hq" }, {
    dr: ["metro", "lab", "hq"],
  });
  await tree.until(() => tree.isFed("dr") && tree.isFed("lab"), "all are fed");
  await tree.done(tree.node("dr").hub.pause("metro-dr", null));
  tree.host("metro").crash("power");
  await tree.pass(20 * AFTER_MS);
  assertEquals(parentOf(tree.node("dr")), "metro");
  await tree.done(tree.node("dr").hub.resume("metro-dr"));
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "lab", "dr chooses lab");
  tree.host("metro").start();
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "metro", "dr is home");
  // The link to lab is paused at lab, from a time when dr was below it.
  await tree.order("dr", "lab");
  await tree.until(() => tree.isFed("dr"), "dr is below lab");
  await tree.done(tree.node("lab").hub.pause("lab-dr", null));
  await tree.order("dr", "metro");
  await tree.until(() => tree.isFed("dr"), "dr is below metro");
  tree.host("metro").crash("power");
  await tree.until(() => tree.isFed("dr") && parentOf(tree.node("dr")) === "hq", "dr chooses hq");
});

Deno.test("a parent that comes and goes is gone back to later each time", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "metro" }, LISTS);
  await tree.until(() => tree.isFed("dr"), "all are fed");
  for (let turn = 0; turn < 15; turn++) {
    tree.host("metro").crash("process");
    await tree.pass(4 * AFTER_MS);
    tree.host("metro").start();
    await tree.pass(4 * AFTER_MS);
  }
  // Thirty times, else.
  assert(tree.node("dr").tree.moves.itself < 10, String(tree.node("dr").tree.moves.itself));
  await tree.until(() => parentOf(tree.node("dr")) === "metro", "dr is home");
});

Deno.test("lists go on to mean something once another node reigns", async () => {
  const lists = { hq: ["metro"], metro: ["hq", "far"], far: ["hq", "metro"], dr: ["metro", "hq"] };
  const tree = new SmallTree({ metro: "hq", far: "hq", dr: "metro" }, lists);
  await tree.until(() => tree.isFed("dr") && tree.isFed("far"), "all are fed");
  tree.host("hq").crash("power");
  const options = { away: ["hq"], expectLsn: null, force: false };
  await tree.done(tree.node("metro").tree.promote(options));
  await tree.until(() => tree.isFed("dr", "metro") && tree.isFed("far", "metro"), "metro reigns");
  assertEquals(tree.node("metro").status().tree?.choice?.by, null);
  tree.host("hq").start();
  await tree.until(() => tree.isFed("hq", "metro"), "hq follows");
  // It prefers hq, whoever reigns; and goes back to what it has when hq dies again.
  await tree.until(() => tree.isFed("far", "metro") && parentOf(tree.node("far")) === "hq", "far");
  tree.host("hq").crash("power");
  await tree.until(
    () => tree.isFed("far", "metro") && parentOf(tree.node("far")) === "metro",
    "far is fed by metro",
  );
});
