import { assert, assertEquals, assertMatch } from "@std/assert";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { markedBlock } from "./support/evidence.ts";
import { assertSameImages } from "./support/images.ts";
import { NbdClient, NbdError } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const ENOSPC = 28;
const MIB = 1024 * 1024;

function pair(cleanup: Cleanup, onOverflow: "stall" | "fail"): Cluster {
  return Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", onOverflow }],
    budget: "64MiB",
  });
}

async function reasonOf(cluster: Cluster): Promise<string> {
  return (await cluster.status()).reason ?? "";
}

e2e(
  "`onOverflow: fail` refuses writes while the budget is spent, and goes on by itself",
  [],
  async (
    cleanup,
  ) => {
    const cluster = pair(cleanup, "fail");
    await cluster.start();
    await cluster.converged();
    await cluster.kill("dr");
    const client = await NbdClient.connect(cluster.socket("hq"));
    let written = 0;
    const error = await (async () => {
      for (;; written++) {
        try {
          await client.write((written % 8) * MIB, new Uint8Array(MIB).fill(written + 1));
        } catch (error) {
          return error;
        }
      }
    })();
    assertEquals(error instanceof NbdError ? error.errno : error, ENOSPC);
    assert(written * MIB > 32 * MIB, `${written} MiB were taken first`);
    assertMatch(await reasonOf(cluster), /refused.*hq-dr/);
    assertEquals(
      await client.read(7 * MIB, 4096).then((bytes) => bytes.length),
      4096,
      "reads go on",
    );

    await cluster.start("dr");
    await until("writes are taken again", async () => {
      try {
        await client.write(0, markedBlock(1));
        return true;
      } catch {
        return false;
      }
    });
    client.close();
    await cluster.converged();
    assertSameImages(cluster);
  },
);

e2e("`onOverflow: stall` slows writers down and loses no peer", [], async (cleanup) => {
  const cluster = pair(cleanup, "stall");
  await cluster.start();
  await cluster.converged();
  await cluster.kill("dr");
  const client = await NbdClient.connect(cluster.socket("hq"));
  let written = 0;
  let isOver = false;
  const writing = (async () => {
    while (!isOver) {
      await client.write((written % 8) * MIB, new Uint8Array(MIB).fill(written % 255));
      written++;
    }
  })();
  await until("writers are slowed down", async () => /slowed.*hq-dr/.test(await reasonOf(cluster)));
  assert(written * MIB < 64 * MIB, `${written} MiB`);
  await cluster.start("dr");
  // More than the whole budget goes through once the peer takes it.
  await until("the peer has taken it", () => written > 150);
  isOver = true;
  await writing;
  client.close();
  await cluster.converged();
  assertEquals((await cluster.status()).links[0]!.state, "streaming");
  assertSameImages(cluster);
});
