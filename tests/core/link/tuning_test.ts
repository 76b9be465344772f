import { assertEquals, assertRejects } from "@std/assert";
import { ByHand } from "../../../core/link/by_hand.ts";
import { limitLink } from "../../../core/link/tuning.ts";
import { AFTER_MS, SmallTree } from "../../sim/small_tree.ts";
import { assertRejectsCode } from "../../support/small.ts";

const MIB = 1024 * 1024;

/** What the links from a node are limited to, and by whom. */
function limitsOf(tree: SmallTree, name: string): string[] {
  return tree.node(name).hub.downstream.map(({ config, line }) => {
    const { limit, limitedBy } = line.status(false);
    return `${config.name} ${limit} ${limitedBy}`;
  });
}

Deno.test("what an operator has limited is limited after a power cut, until it is reset", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "hq" }, {});
  await tree.until(() => tree.isFed("metro") && tree.isFed("dr"), "all are fed");
  const limit = (name: string, rate: number | null) =>
    tree.done(limitLink(tree.node("hq"), name, { rate }).then(() => {}));
  const again = async () => {
    tree.host("hq").crash("power");
    await tree.pass(AFTER_MS);
    tree.host("hq").start();
    await tree.until(() => tree.isFed("dr"), "dr is fed again");
  };
  await limit("hq-metro", 2 * MIB);
  await limit("hq-dr", null);
  await limit("hq-metro", 3 * MIB);
  await again();
  assertEquals(limitsOf(tree, "hq"), [`hq-metro ${3 * MIB} operator`, "hq-dr null operator"]);
  await tree.done(limitLink(tree.node("hq"), "hq-dr", null).then(() => {}));
  await again();
  assertEquals(limitsOf(tree, "hq"), [`hq-metro ${3 * MIB} operator`, "hq-dr null null"]);
});

Deno.test("a link is limited by the node that sends on it, at a rate that is one", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "metro" }, {});
  await tree.until(() => tree.isFed("dr"), "all are fed");
  const metro = tree.node("metro");
  await assertRejectsCode(limitLink(metro, "hq-metro", { rate: MIB }), "usage");
  await assertRejectsCode(limitLink(metro, "metro-dr", { rate: 5 }), "usage");
  await assertRejectsCode(limitLink(metro, "metro-lab", null), "not-found");
  assertEquals(limitsOf(tree, "metro"), ["metro-dr null null"]);
});

Deno.test("a limit that could not be saved is told, and saved when it is set again", async () => {
  let fails = true;
  const saved: unknown[] = [];
  const { limits } = new ByHand({ paused: [], limited: [] }, (change) => {
    if (fails) return Promise.reject(new Error("the disk failed"));
    saved.push(change);
    return Promise.resolve();
  });
  await assertRejects(() => limits.set({ link: "a", rate: 1 }), Error, "the disk failed");
  fails = false;
  await limits.set({ link: "a", rate: 1 });
  assertEquals(saved, [{ limited: [{ link: "a", rate: 1 }] }]);
});
