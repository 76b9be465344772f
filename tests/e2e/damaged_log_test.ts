import { assert, assertEquals, assertMatch, assertNotEquals } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { filesIn, findMarks, flipBit, markedBlock, type Place } from "./support/evidence.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { run } from "./support/programs.ts";
import { until, within } from "./support/wait.ts";

const MIB = 1024 * 1024;
const WRITES = 500;
/** The write whose record is damaged. */
const DAMAGED = 250;

/** A primary whose log holds writes that its peer, which was killed, has not seen. */
async function withBacklog(cleanup: Cleanup): Promise<Cluster> {
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
  await cluster.converged("hq");
  return cluster;
}

/** Flips a bit of one write in the middle of the backlog; returns where. */
function damage(cluster: Cluster): Place {
  const place = findMarks(cluster.dir("hq")).get(DAMAGED);
  if (!place) throw new Error("the log does not hold what was written");
  const flipped = { path: place.path, offset: place.offset + 2000 };
  flipBit(flipped);
  return flipped;
}

/** What a node says of the damage: that, and the file. */
async function assertTold(cluster: Cluster, place: Place): Promise<void> {
  const name = place.path.split("/").at(-1)!;
  await until("the damage is told with its file", () => {
    const output = cluster.output("hq");
    return /damage|corrupt/i.test(output) && output.includes(name);
  });
}

/** The replica holds a prefix of what was written, which ends before the damaged record. */
function assertPrefix(cluster: Cluster): void {
  const image = Deno.readFileSync(cluster.image("dr"));
  let end = 1;
  while (image[end * 4096] !== 0) end += 1;
  assert(end <= DAMAGED, `the replica holds write ${end - 1}, the damage is in ${DAMAGED}`);
  for (let i = 1; i < end; i++) {
    assertEquals(image.subarray(i * 4096, (i + 1) * 4096), markedBlock(i), `write ${i}`);
  }
  assert(image.subarray(end * 4096).every((byte) => byte === 0), "nothing from behind it");
}

e2e("`log check` reports a flipped bit with its file and place", [], async (cleanup) => {
  const cluster = await withBacklog(cleanup);
  await cluster.kill("hq");
  const whole = await cluster.cli(["log", "check", cluster.dir("hq")], { codes: null });
  assertEquals(whole.code, 0, whole.stdout + whole.stderr);
  const place = damage(cluster);
  const found = await cluster.cli(["log", "check", cluster.dir("hq")], { codes: null });
  assertNotEquals(found.code, 0);
  const told = found.stdout + found.stderr;
  assertMatch(told, new RegExp(place.path.split("/").at(-1)!.replaceAll(".", "\\.")));
  assertMatch(told, /\d{3,}/, "an offset or an LSN");
});

e2e("a node whose log has a flipped bit says so and does not start", [], async (cleanup) => {
  const cluster = await withBacklog(cleanup);
  await cluster.kill("hq");
  const place = damage(cluster);
  const sum = () => run("md5sum", filesIn(cluster.dir("hq") + "/log"));
  const before = await sum();
  const serving = cluster.spawn("hq");
  await cluster.start("dr");
  await assertTold(cluster, place);
  const { code } = await within("it ends", serving.ended);
  assertNotEquals(code, 0);
  assertPrefix(cluster);
  assertEquals((await sum()).stdout, before.stdout, "the log is left as it was");
});

e2e("a bit that flips under a running node is found when the record is read again", [], async (
  cleanup,
) => {
  const cluster = await withBacklog(cleanup);
  // More than a node keeps of its log in memory: the rest is read from the file.
  const client = await NbdClient.connect(cluster.socket("hq"));
  for (let i = 0; i < 64; i++) await client.write(32 * MIB, new Uint8Array(MIB));
  await client.flush();
  client.close();
  const place = damage(cluster);
  await cluster.start("dr");
  await assertTold(cluster, place);
  assertPrefix(cluster);
});
