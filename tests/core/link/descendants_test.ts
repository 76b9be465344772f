import { assertEquals } from "@std/assert";
import type { NodeConfig } from "../../../core/config.ts";
import { History } from "../../../core/history.ts";
import { cutTaken, Descendants, namesBelow, type Taken } from "../../../core/link/descendants.ts";
import type { LinkStatus } from "../../../core/status.ts";
import { promotedView } from "../../../core/tree/promotion.ts";
import { placeIn } from "../../../core/tree/tree.ts";
import { firstView, type View, withParent } from "../../../core/tree/view.ts";
import { makeEpoch } from "../../support/small.ts";
import { treeOf } from "../tree/made_up_tree.ts";

/** hq feeds metro, which feeds dr1 and dr2. */
const TREE = treeOf({ metro: "hq", dr1: "metro", dr2: "metro" });
const FIRST = firstView("hq");
const [ONE, TWO] = [makeEpoch(1, 0), makeEpoch(2, 500)];

class Host {
  readonly tree = { seat: { view: FIRST } };
  readonly pipeline = {
    history: new History([ONE]),
    appendedLsn: 1000,
    stableLsn: 900,
    volumes: [{}] as unknown[],
  };
  config: NodeConfig;

  constructor(name: string) {
    this.config = { name, tree: TREE, ...placeIn(TREE, FIRST, name) } as NodeConfig;
  }

  change(view: View): void {
    this.tree.seat.view = view;
    this.config = { ...this.config, ...placeIn(TREE, view, this.config.name) };
  }
}

function told(from: string, to: string, durable: number, epochId = ONE.id): LinkStatus {
  return { from, to, received: durable, durable, epochId } as LinkStatus;
}

Deno.test("all below count, those the file alone has there too, and none of those above", () => {
  assertEquals(namesBelow(TREE, FIRST, "hq"), ["metro", "dr1", "dr2"]);
  const away = withParent(FIRST, "dr1", "hq");
  assertEquals(namesBelow(TREE, away, "metro"), ["dr1", "dr2"]);
  const promoted = promotedView(TREE, FIRST, "dr2", { number: 4096, id: TWO.id }, new Set());
  assertEquals(namesBelow(TREE, promoted, "metro"), ["hq", "dr1"]);
  assertEquals(namesBelow(TREE, promoted, "hq"), ["dr1"]);
  assertEquals(namesBelow(TREE, FIRST, "dr1"), []);
});

Deno.test("a node that keeps no volumes keeps nothing for those further down", () => {
  const host = new Host("hq");
  host.pipeline.volumes.pop();
  assertEquals(new Descendants(host, []).names, ["metro"]);
});

Deno.test("of those further down the nodes between tell, as far as it is of this history", () => {
  const host = new Host("hq");
  const descendants = new Descendants(host, []);
  descendants.heard("metro", 700);
  descendants.told([told("metro", "dr1", 600), told("metro", "dr2", 650, TWO.id)]);
  assertEquals(descendants.lsns, [700, 600, 0]);
  assertEquals([descendants.leastLsn, descendants.isHeard("dr2")], [0, false]);
  descendants.told([told("metro", "dr2", 1100), told("hq", "metro", 1), told("dr1", "dr2", 300)]);
  assertEquals(descendants.lsns, [700, 600, 0]);
});

Deno.test("a node that has moved on is told of by whoever feeds it now", () => {
  const host = new Host("hq");
  const descendants = new Descendants(host, []);
  host.change(withParent(FIRST, "dr2", "dr1"));
  descendants.told([told("metro", "dr2", 200), told("dr1", "dr2", 800)]);
  assertEquals(descendants.lsnOf("dr2"), 800);
});

Deno.test("what was told goes no further than the log that is left", () => {
  const host = new Host("hq");
  const descendants = new Descendants(host, []);
  descendants.heard("metro", 950);
  descendants.heard("dr1", 300);
  assertEquals(descendants.list().map(({ node }) => node), ["dr1"], "not what may go in a crash");
  descendants.cutBack(900);
  assertEquals([descendants.lsnOf("metro"), descendants.lsnOf("dr1")], [900, 300]);
});

Deno.test("after a start that is known which is still of the history", () => {
  const host = new Host("hq");
  const taken: Taken[] = [
    { node: "metro", lsn: 900, epochId: ONE.id },
    { node: "dr1", lsn: 400, epochId: TWO.id },
    { node: "dr2", lsn: 1200, epochId: ONE.id },
  ];
  assertEquals(new Descendants(host, taken).lsns, [900, 0, 0]);
  const history = new History([ONE]);
  assertEquals(cutTaken(taken, history, 500), [
    { node: "metro", lsn: 500, epochId: ONE.id },
    { node: "dr1", lsn: 400, epochId: TWO.id },
    { node: "dr2", lsn: 500, epochId: ONE.id },
  ]);
});

Deno.test("who was above has all that is stable here, when it is below one day", () => {
  const host = new Host("metro");
  const descendants = new Descendants(host, []);
  assertEquals(descendants.names, ["dr1", "dr2"]);
  assertEquals(descendants.list(), []);
  descendants.noteAbove("hq");
  assertEquals(descendants.list(), [{ node: "hq", lsn: 900, epochId: ONE.id }]);
  host.pipeline.stableLsn = 1000;
  const promoted = promotedView(TREE, FIRST, "metro", { number: 4096, id: TWO.id }, new Set());
  host.change(promoted);
  assertEquals(descendants.names, ["hq", "dr1", "dr2"]);
  assertEquals(descendants.lsns, [900, 0, 0]);
});
