import { assertEquals } from "@std/assert";
import type { Standing } from "../../../core/tree/asks.ts";
import {
  type Answer,
  type Candidate,
  isBetter,
  judgeCandidate,
  preferredTo,
  replacement,
  whyNot,
} from "../../../core/tree/parent_choice.ts";
import { firstView, withParent } from "../../../core/tree/view.ts";
import { treeOf } from "./made_up_tree.ts";

const TREE = treeOf({ metro: "hq", far: "hq", dr: "metro", leaf: "dr" });
const DR = { tree: TREE, view: firstView("hq"), name: "dr", stableLsn: 1000 };

function standing(node: string, change: Partial<Standing> = {}): Standing {
  return {
    ...{ node, state: "running", reigns: node === "hq", isWaiting: false, hasVolumes: true },
    ...{ isWhole: true, deciding: null, paused: [], view: firstView("hq"), history: [] },
    ...{ endLsn: 2000, stableLsn: 2000, appliedLsn: 2000, primaryEndLsn: 2000 },
    ...{ primaryTimeMs: 1, silenceMs: 100, lagSeconds: 0 },
    ...change,
  };
}

function answer(name: string, change: Partial<Standing> = {}, by: "log" | "all" = "log"): Answer {
  return { name, standing: standing(name, change), offer: { by, bytes: 1 }, error: null };
}

const judge = (one: Answer, chooser = DR): Candidate => judgeCandidate(chooser, one);

/** Which one is taken while the upstream is away. */
const taken = (answers: readonly Answer[], isLong = false): string | null =>
  replacement(answers.map((one) => judge(one)), DR.stableLsn, isLong)?.name ?? null;

Deno.test("what a node cannot be fed by is told, each with its reason", () => {
  const away = { name: "hq", standing: null, offer: null, error: "nobody answers" };
  const cases: [Answer, string | null][] = [
    [answer("hq"), null],
    [away, "nobody answers"],
    [answer("leaf"), "it is fed by dr itself"],
    [answer("far", { state: "starting" }), "it is starting"],
    [answer("far", { isWhole: false }), "it has no whole image itself"],
    [answer("far", { paused: ["dr"] }), "its link to this node is paused"],
    [answer("far", { stableLsn: 999 }), "it is at LSN 999, behind this node"],
    [{ ...answer("far"), offer: null, error: "of another history" }, "of another history"],
    [answer("far", { silenceMs: 60_000 }), "it does not hear the primary, either"],
    [answer("far", {}, "all"), "it would have to compare all blocks"],
  ];
  for (const [one, why] of cases) assertEquals(whyNot(judge(one)), why);
});

Deno.test("the first of the list is taken that hears the primary, and needs no copy of all", () => {
  assertEquals(taken([answer("far"), answer("hq")]), "far");
  assertEquals(taken([answer("far", { silenceMs: 60_000 }), answer("hq")]), "hq");
  assertEquals(taken([answer("far", {}, "all"), answer("hq")]), "hq");
  assertEquals(taken([answer("far", { state: "starting" })]), null);
});

Deno.test("all blocks are sent only after a long time", () => {
  const all = [answer("hq", {}, "all")];
  assertEquals(taken(all), null);
  assertEquals(taken(all, true), "hq");
});

Deno.test("of two that are cut off together only one has more than the other", () => {
  const far = { silenceMs: 60_000 };
  assertEquals(taken([answer("far", { ...far, stableLsn: 1000 })]), null);
  assertEquals(taken([answer("far", { ...far, stableLsn: 1001 })]), "far");
});

Deno.test("a better one is before the present one in the list, and is not gone back to at any price", () => {
  const list = ["metro", "far", "hq"];
  assertEquals(preferredTo(list, "hq"), ["metro", "far"]);
  assertEquals(preferredTo(list, "metro"), []);
  assertEquals(preferredTo(list, "elsewhere"), list);
  const good = [
    answer("metro"),
    answer("metro", { silenceMs: 60_000 }),
    answer("metro", {}, "all"),
  ];
  assertEquals(good.map((one) => isBetter(judge(one))), [true, false, false]);
});

Deno.test("who was put below the node is passed over, as the view has it", () => {
  const chooser = { ...DR, view: withParent(firstView("hq"), "far", "leaf") };
  assertEquals(whyNot(judge(answer("far"), chooser)), "it is fed by dr itself");
});
