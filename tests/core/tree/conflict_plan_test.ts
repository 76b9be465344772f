import { assertEquals, assertMatch } from "@std/assert";
import { conflictLines } from "../../../cli/ui/conflict_view.ts";
import type { Standing } from "../../../core/tree/asks.ts";
import { planConflict } from "../../../core/tree/conflict_plan.ts";
import { firstView } from "../../../core/tree/view.ts";
import { treeOf } from "./made_up_tree.ts";

const TREE = treeOf({ metro: "hq", dr: "metro", far: "dr" });
const FIRST = { number: 1, id: "1".repeat(32), firstLsn: 0, node: "hq" };

function epoch(node: string, number: number, firstLsn: number, digit: string) {
  return { number, id: digit.repeat(32), firstLsn, node };
}

function standing(node: string, primary: string, endLsn: number): Standing {
  const reignId = (primary === "metro" ? "a" : "b").repeat(32);
  const own = primary === "metro"
    ? [epoch("metro", 4096, 500, "a")]
    : [epoch("dr", 4096, 400, "b"), epoch("dr", 4097, 600, "c")];
  return {
    ...{ node, state: "running", reigns: node === primary, isWaiting: false, hasVolumes: true },
    ...{ isWhole: true, paused: [], deciding: null, history: [FIRST, ...own] },
    view: { ...firstView(primary), reign: 4096, reignId },
    ...{ endLsn, stableLsn: endLsn, appliedLsn: endLsn },
    ...{ primaryEndLsn: endLsn, primaryTimeMs: 5000, silenceMs: 0, lagSeconds: 0 },
  };
}

const STANDINGS = new Map<string, Standing | string>([
  ["hq", "gone"],
  ["metro", standing("metro", "metro", 900)],
  ["dr", standing("dr", "dr", 700)],
  ["far", standing("far", "dr", 650)],
]);

function planOf(node: string) {
  const mine = STANDINGS.get(node) as Standing;
  return planConflict({ tree: TREE, view: mine.view, node, standings: STANDINGS });
}

Deno.test("what each half has beyond the fork is told, and where what is left behind is kept", () => {
  const { plan, conflict } = planOf("metro");
  assertEquals([plan.blocked, plan.lostBytes, conflict.forkLsn], [null, 300, 400]);
  assertEquals(conflict.silent, ["hq"]);
  const [kept, left] = conflict.halves;
  assertEquals([kept?.primary, kept?.isKept, kept?.nodes.map(({ keptIn }) => keptIn)], [
    ...["metro", true],
    [null],
  ]);
  assertEquals(left?.epochs.map(({ number }) => number), [4096, 4097]);
  assertEquals(left?.nodes, [
    ...[{
      name: "dr",
      endLsn: 700,
      forkLsn: 400,
      lostBytes: 300,
      keptIn: "abandoned/4097-400-700",
    }],
    { name: "far", endLsn: 650, forkLsn: 400, lostBytes: 250, keptIn: "abandoned/4097-400-650" },
  ]);
});

Deno.test("of the half that is kept nothing is left behind, whoever of it is named", () => {
  const { plan, conflict } = planOf("far");
  assertEquals([plan.blocked, plan.lostBytes], [null, 500]);
  const lost = conflict.halves.flatMap(({ nodes }) => nodes).filter(({ keptIn }) =>
    keptIn !== null
  );
  assertEquals(lost.map(({ name, keptIn }) => [name, keptIn]), [[
    "metro",
    "abandoned/4096-400-900",
  ]]);
});

Deno.test("the halves stand side by side, and each folder is named with its place", () => {
  const lines = conflictLines(planOf("metro").conflict, new Map([["dr", "/srv/dr"]]), false);
  assertEquals(lines.slice(0, 6), [
    "             metro (to be kept)                   |  dr",
    "nodes        metro                                |  dr, far",
    "in common    up to LSN 400                        |  up to LSN 400",
    "since then   epoch 4096 of metro from LSN 500 on  |  epoch 4096 of dr from LSN 400 on",
    "                                                  |  epoch 4097 of dr from LSN 600 on",
    "log ends at  900                                  |  700 (dr), 650 (far)",
  ]);
  const text = lines.join("\n");
  assertMatch(
    text,
    /300B of log that dr alone has, kept there as \/srv\/dr\/abandoned\/4097-400-700/,
  );
  assertMatch(text, /hq does not answer/);
});
