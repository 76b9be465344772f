/** Commands about links and moments that are cut off with `kill -9`: the second try completes the first. */
import { assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import {
  type Cut,
  cutOff,
  describeCut,
  drawn,
  RovingLoad,
  seedOf,
  settled,
} from "./support/cut_off.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";

const MIB = 1024 * 1024;

function trio(cleanup: Cleanup): Cluster {
  return Cluster.create(cleanup, {
    volumes: { data: "16MiB" },
    nodes: ["hq", "metro", "dr"],
    links: [{ from: "hq", to: "metro", mode: "async" }, { from: "metro", to: "dr", mode: "async" }],
    exporting: ["metro", "dr"],
    tcp: true,
  });
}

/** dr gets another parent; each moment with each of those that take part as the one that is killed. */
function cutsTo(to: string): Cut[] {
  const args = ["reparent", "dr", "--to", to];
  const moments = [
    { node: "dr", says: null },
    { node: "dr", says: new RegExp(`link connecting link=${to}-dr`) },
    { node: "dr", says: new RegExp(`link streaming link=${to}-dr`) },
  ];
  return moments.flatMap((at) => [
    { args, at, victim: "the command" as const },
    ...["hq", "metro", "dr"].map((node) => ({ args, at, victim: { node } })),
  ]);
}

e2e("another parent comes to be, whoever is killed meanwhile", [], async (cleanup) => {
  const cluster = trio(cleanup);
  let what = "";
  const seed = seedOf(cleanup, () => what);
  await cluster.start();
  const load = new RovingLoad(cluster, 16 * MIB, seed);
  for (let turn = 0; turn < 2; turn++) {
    const to = turn % 2 === 0 ? "hq" : "metro";
    const [cut] = drawn(cutsTo(to), 1, seed + turn);
    what = describeCut(cut!);
    load.start();
    await load.more();
    await cutOff(cluster, cleanup, cut!);
    await load.more(1);
    await load.stop();
    await settled(cluster, "hq");
    const { links } = await cluster.status("dr");
    assertEquals(links.find((link) => link.to === "dr")?.from, to);
  }
});

e2e("marks, pauses and limits are there after the second try", [], async (cleanup) => {
  const cluster = trio(cleanup);
  await cluster.start();
  const hq = { node: "hq", says: null };
  for (const victim of ["the command", { node: "hq" }] as const) {
    const name = victim === "the command" ? "one" : "two";
    const mark = await cutOff(cluster, cleanup, { args: ["mark", name], at: hq, victim });
    assertMatch(mark.stdout, new RegExp(`mark ${name} is set on hq`));
    // Once more, as whoever does not know: it is that very mark.
    const again = await cluster.cli(["mark", name]);
    assertEquals(again.stdout, mark.stdout);

    const link = ["--link", "hq-metro"];
    await cutOff(cluster, cleanup, { args: ["pause", ...link], at: hq, victim });
    assertEquals((await cluster.link("hq-metro")).state, "paused");
    await cutOff(cluster, cleanup, {
      args: ["resume", ...link],
      at: { node: "hq", says: victim === "the command" ? /link .*link=hq-metro/ : null },
      victim,
    });
    await settled(cluster, "hq");
    const limit = ["limit", ...link, "--bandwidth", "5MiB/s"];
    const limited = await cutOff(cluster, cleanup, { args: limit, at: hq, victim });
    assertMatch(limited.stdout, /5 ?MiB\/s/);
  }
});

e2e("a primary is demoted by the second try", [], async (cleanup) => {
  const cluster = trio(cleanup);
  await cluster.start();
  for (const says of [null, /is the primary now/, /the node turns/]) {
    await settled(cluster, "hq");
    await cutOff(cluster, cleanup, {
      args: ["demote", "hq"],
      at: { node: "hq", says },
      victim: "the command",
    });
    await settled(cluster, "metro");
    await cluster.cli(["migrate", "hq"]);
  }
});
