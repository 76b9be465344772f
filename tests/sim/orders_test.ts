/** Orders that meet each other: two operators at two nodes, or one whose nodes were asked under an earlier reign. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { SmallTree } from "./small_tree.ts";

const PROMOTE = { order: "promote", dryRun: false, force: false, at: null } as const;
const NODES = ["metro", "dr", "leaf"];

/** The primary has died, and all others have the same. */
async function orphaned(): Promise<SmallTree> {
  const tree = new SmallTree({ metro: "hq", dr: "hq", leaf: "metro" }, {});
  await tree.until(() => NODES.every((name) => tree.isFed(name)), "all are fed");
  tree.stopWriting();
  await tree.pass(2_000);
  tree.host("hq").crash("power");
  await tree.pass(2_000);
  return tree;
}

const primariesOf = (tree: SmallTree) =>
  NODES.filter((name) => tree.host(name).node?.pipeline.reigns === true);

for (const apartMs of [0, 1, 3, 10, 20, 30, 50, 70, 100, 150, 250, 500, 1_000, 3_000]) {
  Deno.test(`of two promotions ${apartMs} ms apart one wins at the most, and nobody is torn apart`, async () => {
    const tree = await orphaned();
    const first = tree.node("metro").orders.carryOut(PROMOTE);
    await tree.pass(apartMs);
    const second = tree.node("dr").orders.carryOut(PROMOTE);
    const all = Promise.allSettled([first, second]);
    await tree.done(all);
    const results = await all;
    const refused = results.filter(({ status }) => status === "rejected");
    assert(refused.length >= 1, "both nodes were promoted");
    for (const result of refused) {
      const { message } = (result as PromiseRejectedResult).reason;
      assertMatch(
        message,
        /carries out `cascade promote`|is the primary, and answers|does not answer/,
      );
    }
    await tree.pass(30_000);
    for (const name of NODES) assertEquals(tree.node(name).tree.seat.conflict, null, name);
    assertEquals(primariesOf(tree).length, 2 - refused.length);
    if (refused.length === 1) return;
    // Neither did it: given again, it is done.
    await tree.done(tree.node("metro").orders.carryOut(PROMOTE));
    await tree.until(() => primariesOf(tree).join() === "metro", "metro reigns");
  });
}

Deno.test("a node that is asked to reign does not over a reign that began since", async () => {
  const tree = await orphaned();
  const dr = tree.node("dr");
  const reignUnder = (reignId: string) =>
    dr.answer({ ask: "reign", away: ["hq"], holdMs: 0, reignId });
  const stale = reignUnder("f".repeat(32));
  await tree.done(stale);
  const answer = await stale;
  if (answer.ok) throw new Error("it went on");
  assertEquals([answer.code, answer.retryable], ["refused", true]);
  assertMatch(answer.message, /another reign began/);
  assertEquals(dr.tree.seat.view.primary, "hq");
  const { reignId } = dr.tree.seat.view;
  await tree.done(reignUnder(reignId));
  await tree.until(() => primariesOf(tree).join() === "dr", "dr reigns");
});

Deno.test("a promotion whose nodes were asked under an earlier reign is planned anew", async () => {
  const tree = await orphaned();
  const metro = tree.node("metro");
  // It waits for hq, which is silent, and dr begins to reign meanwhile.
  const planned = metro.orders.carryOut(PROMOTE);
  planned.catch(() => {/* asserted below */});
  await tree.pass(5);
  assertEquals(metro.orders.progress?.step, "asking");
  await tree.done(tree.node("dr").tree.promote({ away: ["hq"], expectLsn: null, force: false }));
  await tree.until(() => primariesOf(tree).join() === "dr", "dr reigns");
  const settled = Promise.allSettled([planned]);
  await tree.done(settled);
  const [result] = await settled;
  assertEquals(result?.status, "rejected");
  assertMatch((result as PromiseRejectedResult).reason.message, /dr is the primary, and answers/);
  await tree.pass(10_000);
  assertEquals(primariesOf(tree), ["dr"]);
});

Deno.test("a promotion that fails when another node reigns for it already says so", async () => {
  const tree = new SmallTree({ metro: "hq", dr: "hq" }, {});
  await tree.until(() => tree.isFed("metro") && tree.isFed("dr"), "all are fed");
  tree.cut("hq", "dr");
  await tree.pass(3_000);
  tree.host("hq").crash("power");
  tree.heal();
  await tree.pass(2_000);
  const { orders } = tree.node("dr");
  const settled = Promise.allSettled([orders.carryOut(PROMOTE)]);
  await tree.until(() => orders.progress?.step === "catching-up", "metro reigns for dr");
  tree.cut("metro", "dr");
  await tree.done(settled);
  const [result] = await settled;
  const { message, hint } = (result as PromiseRejectedResult).reason;
  assertMatch(message, /metro was made the primary, .* and still is; dr was not promoted: /);
  assertMatch(hint, /Give `cascade migrate` for dr/);
  tree.heal();
  await tree.until(() => tree.isFed("dr", "metro"), "dr follows metro");
});

Deno.test("the primary of the file, with nothing left of what it had, does not reign over a promotion", async () => {
  const tree = await orphaned();
  await tree.done(tree.node("metro").orders.carryOut(PROMOTE));
  await tree.until(() => primariesOf(tree).join() === "metro", "metro reigns");
  const hq = tree.host("hq");
  hq.wipe();
  hq.start();
  await tree.until(() => tree.isFed("hq", "metro"), "hq is filled anew, and follows");
  assertEquals(tree.node("hq").pipeline.history.epochs.map(({ node }) => node), ["hq", "metro"]);
});
