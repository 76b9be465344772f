import { assert, assertEquals, assertMatch } from "@std/assert";
import { verifyReportSchema } from "../../core/verify_report.ts";
import { Cluster } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { markedBlock } from "./support/evidence.ts";
import { assertSameImages } from "./support/images.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;

/** Flips a byte of a node's volume behind its back. */
function damage(cluster: Cluster, node: string, at: number): void {
  using file = Deno.openSync(cluster.image(node), { read: true, write: true });
  const byte = new Uint8Array(1);
  file.seekSync(at, Deno.SeekMode.Start);
  file.readSync(byte);
  byte[0]! ^= 0xff;
  file.seekSync(at, Deno.SeekMode.Start);
  file.writeSync(byte);
}

e2e(
  "damage is found and repaired while clients write, and never seen where there is none",
  [],
  async (
    cleanup,
  ) => {
    const cluster = Cluster.create(cleanup, {
      nodes: ["hq", "metro", "dr"],
      links: [
        { from: "hq", to: "metro", mode: "sync" },
        { from: "metro", to: "dr", mode: "async" },
      ],
    });
    await cluster.start();
    const client = await NbdClient.connect(cluster.socket("hq"));
    for (let at = 0; at < 8; at++) await client.write(at * MIB, new Uint8Array(MIB).fill(at + 1));
    await client.flush();
    await cluster.converged();

    let isOver = false;
    const writing = (async () => {
      for (let i = 0; !isOver; i++) await client.write((i % 256) * 4096, markedBlock(i));
    })();
    writing.catch(() => {/* told below, if all went well before */});
    const verify = async (link: string, ...more: string[]) => {
      const { code, stdout, stderr } = await cluster.cli(
        ["verify", "--link", link, ...more],
        { codes: null },
      );
      return { code, text: stdout + stderr };
    };

    for (const link of ["hq-metro", "metro-dr"]) {
      const { code, text } = await verify(link, "--json");
      assertEquals(code, 0, text);
      const report = verifyReportSchema.parse(JSON.parse(text));
      assertEquals(report.differentBytes, 0);
      assert(report.comparedBytes >= 63 * MIB, `${report.comparedBytes} bytes compared`);
    }

    damage(cluster, "dr", 5 * MIB + 5000);
    damage(cluster, "dr", 40 * MIB);
    const found = await verify("metro-dr");
    assertEquals(found.code, 3, found.text);
    assertMatch(found.text, /data: 4096 bytes from 5246976 differ, first at byte 5247880\n/);
    assertMatch(found.text, /data: 4096 bytes from 41943040 differ, first at byte 41943040\n/);
    const mended = await verify("metro-dr", "--repair");
    assertEquals(mended.code, 0, mended.text);
    assertMatch(mended.text, /8KiB in blocks that differ, 8KiB repaired/);

    isOver = true;
    await writing;
    client.close();
    await cluster.converged();
    assertSameImages(cluster);

    // Nobody writes: the history goes on all the same, and the nodes below are mended with it.
    damage(cluster, "metro", 7 * MIB + 1);
    damage(cluster, "dr", 7 * MIB + 1);
    assertEquals((await verify("metro-dr")).code, 0, "both are damaged in the same way");
    const both = await verify("hq-metro", "--repair");
    assertEquals(both.code, 0, both.text);
    assertMatch(both.text, /4KiB repaired/);
    await cluster.converged();
    assertSameImages(cluster);
    damage(cluster, "dr", 7 * MIB + 1);
    const last = await verify("metro-dr", "--repair");
    assertEquals(last.code, 0, last.text);
    await cluster.converged();
    assertSameImages(cluster);
  },
);

e2e("a verification by schedule shows what it found, until it is repaired", [], async (cleanup) => {
  const cluster = Cluster.create(cleanup, {
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", verify: "1m" }],
  });
  await cluster.start();
  const client = await NbdClient.connect(cluster.socket("hq"));
  await client.write(0, new Uint8Array(MIB).fill(1));
  await client.flush();
  client.close();
  await cluster.converged();
  await until("it was verified by itself", async () => {
    const verify = (await cluster.status()).links[0]!.verify;
    return verify?.last?.differentBytes === 0 && verify.running === null;
  });
  damage(cluster, "dr", 4096);
  const found = await cluster.cli(["verify", "--link", "hq-dr", "--quiet"], { codes: [3] });
  assertEquals(found.code, 3, found.stderr);
  const status = await cluster.cli(["status"], { codes: null });
  assertEquals(status.code, 1, status.stdout);
  assertMatch(status.stdout, /hq-dr: its ends differ in 4KiB/);
  await cluster.stop("hq");
  await cluster.start("hq");
  assertEquals((await cluster.status()).links[0]!.verify?.last?.differentBytes, 4096);
  await cluster.converged();
  assertEquals((await cluster.cli(["verify", "--link", "hq-dr", "--repair"])).code, 0);
  assertEquals((await cluster.cli(["status"])).code, 0);
});
