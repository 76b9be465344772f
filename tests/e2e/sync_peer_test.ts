import { assertEquals, assertRejects } from "@std/assert";
import { Cluster, type LinkSpec } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { findMarks, markedBlock } from "./support/evidence.ts";
import { assertSameImages } from "./support/images.ts";
import { NbdClient, NbdError } from "./support/nbd_client.ts";
import { until, within } from "./support/wait.ts";

const EIO = 5;

function pair(cleanup: Cleanup, options: Partial<LinkSpec>): Cluster {
  return Cluster.create(cleanup, {
    nodes: ["hq", "metro"],
    links: [{ from: "hq", to: "metro", mode: "sync", ...options }],
  });
}

async function linkState(cluster: Cluster): Promise<string> {
  return (await cluster.status()).links[0]!.state;
}

async function isSync(cluster: Cluster): Promise<void> {
  await until("the link streams", async () => await linkState(cluster) === "streaming");
}

e2e(
  "a write that a sync link acknowledged is on the peer when the primary dies at once",
  [],
  async (
    cleanup,
  ) => {
    const cluster = pair(cleanup, {});
    await cluster.start();
    await isSync(cluster);
    let number = 0;
    for (let round = 0; round < 4; round++) {
      const client = await NbdClient.connect(cluster.socket("hq"));
      const acknowledged: number[] = [];
      const wave = Array.from({ length: 24 }, async () => {
        while (true) {
          const mine = ++number;
          await client.write((mine % 4096) * 4096, markedBlock(mine));
          acknowledged.push(mine);
          if (acknowledged.length >= 200) cluster.process("hq").signal("SIGKILL");
        }
      });
      await Promise.allSettled(wave);
      await cluster.kill("hq");
      const places = findMarks(cluster.dir("metro"));
      const lost = acknowledged.filter((mine) => !places.has(mine));
      assertEquals(lost, [], "acknowledged, and not in the peer's log");

      await cluster.start("hq");
      await isSync(cluster);
      const again = await NbdClient.connect(cluster.socket("hq"));
      for (const mine of acknowledged) {
        const block = await again.read((mine % 4096) * 4096, 4096);
        assertEquals(block, markedBlock(mine), `write ${mine} reads back`);
      }
      again.close();
    }
    await cluster.converged();
    assertSameImages(cluster);
  },
);

e2e("`onDisconnect: fail` gives errors while the peer is away, and recovers by itself", [], async (
  cleanup,
) => {
  const cluster = pair(cleanup, { onDisconnect: "fail", timeout: "1s" });
  await cluster.start();
  await isSync(cluster);
  const client = await NbdClient.connect(cluster.socket("hq"));
  await client.write(0, markedBlock(1));

  await cluster.kill("metro");
  const refused = await assertRejects(
    () => within("an answer", client.write(4096, markedBlock(2)), 20_000),
    NbdError,
  );
  assertEquals(refused.errno, EIO);
  // Again and again, at once, on the same connection; reads are served all the while.
  await assertRejects(() => client.write(8192, markedBlock(3)), NbdError);
  assertEquals(await client.read(0, 4096), markedBlock(1));

  await cluster.start("metro");
  await until("writes are taken again", async () => {
    await client.write(12288, markedBlock(4));
    return true;
  });
  await client.flush();
  await isSync(cluster);
  assertEquals((await client.read(12288, 4096))[0], markedBlock(4)[0]);
  client.close();
  await cluster.converged();
  assertSameImages(cluster);
});

e2e("`onDisconnect: fail` refuses writes from the start until the peer is there", [], async (
  cleanup,
) => {
  const cluster = pair(cleanup, { onDisconnect: "fail", timeout: "1s" });
  await cluster.start("hq");
  const client = await NbdClient.connect(cluster.socket("hq"));
  const refused = await assertRejects(
    () => within("an answer", client.write(0, markedBlock(1)), 20_000),
    NbdError,
  );
  assertEquals(refused.errno, EIO);
  await cluster.start("metro");
  await until("writes are taken", async () => {
    await client.write(0, markedBlock(2));
    return true;
  });
  client.close();
  await cluster.converged();
  assertSameImages(cluster);
});

e2e("`onDisconnect: degrade` goes on without the peer, says so, and comes back", [], async (
  cleanup,
) => {
  const cluster = pair(cleanup, { onDisconnect: "degrade", timeout: "1s" });
  await cluster.start();
  await isSync(cluster);
  const client = await NbdClient.connect(cluster.socket("hq"));
  await client.write(0, markedBlock(1));
  await cluster.kill("metro");
  await within("the write is taken after the timeout", client.write(4096, markedBlock(2)), 20_000);
  await client.flush();
  assertEquals(await linkState(cluster), "degraded");
  for (let i = 3; i < 300; i++) await client.write(i * 4096, markedBlock(i));

  await cluster.start("metro");
  await isSync(cluster);
  const acknowledged = Array.from({ length: 50 }, (_, i) => 1000 + i);
  for (const i of acknowledged) await client.write(i * 4096, markedBlock(i));
  cluster.process("hq").signal("SIGKILL");
  await cluster.kill("hq");
  client.close();
  const there = findMarks(cluster.dir("metro"));
  const lost = acknowledged.filter((mine) => !there.has(mine));
  assertEquals(lost, [], "in sync again, every write is on the peer");
  await cluster.start("hq");
  await cluster.converged();
  assertSameImages(cluster);
});

e2e("a sync peer that hangs without hanging up is given up after the timeout", [], async (
  cleanup,
) => {
  const cluster = pair(cleanup, { onDisconnect: "degrade", timeout: "1s" });
  await cluster.start();
  await isSync(cluster);
  const client = await NbdClient.connect(cluster.socket("hq"));
  cluster.process("metro").signal("SIGSTOP");
  cleanup.defer(() => void cluster.process("metro").signal("SIGCONT"));
  await within("the write is taken", client.write(4096, markedBlock(2)), 30_000);
  assertEquals(await linkState(cluster), "degraded");
  cluster.process("metro").signal("SIGCONT");
  await isSync(cluster);
  client.close();
  await cluster.converged();
  assertSameImages(cluster);
});
