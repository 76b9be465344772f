import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { findMarks, flipBit, markedBlock, type Place } from "./support/evidence.ts";
import { firstDifference } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const WRITES = 500;

/** A killed primary whose log holds 500 writes that its peer has not seen, one bit flipped. */
async function damaged(cleanup: Cleanup): Promise<{ cluster: Cluster; place: Place }> {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
  });
  await cluster.start();
  await cluster.converged();
  await cluster.kill("dr");
  const client = await NbdClient.connect(cluster.socket("hq"));
  for (let i = 1; i <= WRITES; i++) await client.write(i * 4096, markedBlock(i));
  await client.flush();
  client.close();
  await cluster.kill("hq");
  const place = findMarks(cluster.dir("hq")).get(WRITES / 2);
  if (!place) throw new Error("the log does not hold what was written");
  flipBit({ path: place.path, offset: place.offset + 2000 });
  return { cluster, place };
}

e2e("`log check` reports a flipped bit with its file and place", [], async (cleanup) => {
  const { cluster, place } = await damaged(cleanup);
  const whole = await cluster.cli(["log", "check", cluster.dir("dr")], { codes: null });
  assertEquals(whole.code, 0, whole.stdout + whole.stderr);
  const found = await cluster.cli(["log", "check", cluster.dir("hq")], { codes: null });
  assertNotEquals(found.code, 0);
  const told = found.stdout + found.stderr;
  assertMatch(told, new RegExp(place.path.split("/").at(-1)!.replaceAll(".", "\\.")));
  assertMatch(told, /\d{3,}/, "an offset or an LSN");
});

e2e("`serve` reports a flipped bit, and it is never replicated", [], async (cleanup) => {
  const { cluster, place } = await damaged(cleanup);
  cluster.spawn("hq");
  cluster.spawn("dr");
  await cluster.ready("dr");
  const name = place.path.split("/").at(-1)!;
  await until("the damage is told", () => {
    const output = cluster.output("hq");
    return /corrupt/i.test(output) && output.includes(name);
  });
  const image = Deno.readFileSync(cluster.image("dr"));
  const bad = (WRITES / 2) * 4096;
  const there = image.subarray(bad, bad + 4096);
  assert(there.every((byte) => byte === 0), "the damaged record did not arrive");
  // What the peer has is a prefix: nothing from behind the damage.
  const behind = image.subarray((WRITES / 2 + 1) * 4096);
  assert(behind.every((byte) => byte === 0), "nothing from behind it did");
  assertNotEquals(firstDifference(cluster.image("hq"), cluster.image("dr")), null);
});
