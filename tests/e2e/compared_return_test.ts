/**
 * Where it is not known any more what a node lacks, the two ends compare: it is sent the blocks that differ, and no others.
 */
import { assert, assertEquals } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { assertSameImages } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;
const DATA_MIB = 96;

function noise(seed: number): Uint8Array<ArrayBuffer> {
  let state = seed;
  const words = new Uint32Array(MIB / 4);
  for (let i = 0; i < words.length; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    words[i] = state;
  }
  return new Uint8Array(words.buffer);
}

e2e("a node whose lacks were forgotten is sent what differs", [], async (cleanup) => {
  const log = { deltaBudget: "1GiB" };
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "256MiB" },
    nodes: ["hq", "dr", "far"],
    links: [{ from: "hq", to: "dr", mode: "async" }, { from: "dr", to: "far", mode: "async" }],
    budget: "32MiB",
    settings: { dr: { log }, far: { log } },
  });
  await cluster.start();
  await cluster.converged();
  let client = await NbdClient.connect(cluster.socket("hq"));
  for (let i = 0; i < DATA_MIB; i++) await client.write(i * MIB, noise(i + 1));
  await client.flush();
  await cluster.converged();

  await cluster.kill("dr");
  for (let turn = 0; turn < 12; turn++) {
    for (let i = 0; i < 4; i++) await client.write(20 * i * MIB, noise(1000 * turn + i + 1));
  }
  await client.flush();
  client.close();
  await until("the log that dr needs is gone", async () => {
    return (await cluster.link("hq-dr")).state === "overflowed";
  });
  await cluster.stop("hq");
  Deno.removeSync(join(cluster.folder, "hq", "maps"), { recursive: true });

  await cluster.start("hq");
  client = await NbdClient.connect(cluster.socket("hq"));
  await cluster.start("dr");
  // What is written meanwhile comes, too.
  for (let i = 0; i < 8; i++) {
    await client.write(3 * i * MIB + 512, noise(77 + i).subarray(0, 8192));
  }
  await client.flush();
  client.close();
  await cluster.converged();
  const { sentBytes } = await cluster.link("hq-dr");
  const sentMib = (sentBytes ?? 0) / MIB;
  // Four megabytes differ, and what was written since; the rest is told by a bit for each block.
  assert(sentMib >= 4 && sentMib < 16, `${sentMib} MiB were sent of ${DATA_MIB}`);
  assertEquals((await cluster.link("hq-dr")).state, "streaming");
  assertSameImages(cluster);
});
