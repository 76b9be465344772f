import { assertEquals, assertThrows } from "@std/assert";
import { heirOf, type HeirPlans } from "../../cli/demote.ts";
import { CascadeError } from "../../core/errors.ts";
import type { TreePlan } from "../../core/tree/tree_report.ts";

/** The hand-over to `name`, which is fed by `from` and lacks so many bytes. */
function planOf(
  name: string,
  from: string,
  behindBytes: number | null,
  blocked: string | null = null,
) {
  const own = { name, from, behindBytes, isReachable: true, reason: null, endLsn: 0 };
  const node = { ...own, behindSeconds: null, to: null };
  const plan: TreePlan = {
    node: name,
    primary: "hq",
    isPrimaryReachable: true,
    furthest: name,
    fetchBytes: 0,
    lostBytes: 0,
    lostSeconds: 0,
    heardSecondsAgo: null,
    blocked,
    nodes: [node],
  };
  return [name, plan] as const;
}

const CASES: readonly (readonly [what: string, plans: HeirPlans, heir: string])[] = [
  ["the one that lacks least", new Map([planOf("a", "hq", 9), planOf("b", "a", 1)]), "b"],
  ["of equals the one that it feeds", new Map([planOf("b", "a", 0), planOf("a", "hq", 0)]), "a"],
  ["of equals the first", new Map([planOf("a", "hq", 0), planOf("b", "hq", 0)]), "a"],
  ["none of which nothing is known", new Map([planOf("a", "hq", null), planOf("b", "a", 9)]), "b"],
  [
    "none that cannot",
    new Map([planOf("a", "hq", 0, "it is paused"), planOf("b", "a", 5)]),
    "b",
  ],
  [
    "none that is away",
    new Map<string, TreePlan | string>([["a", "away"], planOf("b", "a", 5)]),
    "b",
  ],
];

for (const [what, plans, heir] of CASES) {
  Deno.test(`a primary that is demoted hands over to ${what}`, () => {
    assertEquals(heirOf(plans, "hq"), heir);
  });
}

Deno.test("where nobody can take over, what is in the way of each is told", () => {
  const plans = new Map<string, TreePlan | string>([planOf("a", "hq", 0, "it is paused"), [
    "b",
    "away",
  ]]);
  const error = assertThrows(() => heirOf(plans, "hq"), CascadeError);
  assertEquals([error.code, error.message], [
    "refused",
    "no node can take over. a: it is paused; b: away",
  ]);
  assertThrows(() => heirOf(new Map(), "hq"), CascadeError, "no other node has volumes");
});
