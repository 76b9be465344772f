import { assert, assertEquals } from "@std/assert";
import { WINDOW_BYTES_FIRST } from "../../../core/link/link_limits.ts";
import type { LineStatus } from "../../../core/status.ts";
import { Cluster, type LinkSpec } from "../support/cluster.ts";
import { freePorts } from "../support/ports.ts";
import { type Cleanup, e2e } from "../support/e2e.ts";
import { FarLine } from "../support/far_line.ts";
import { assertSameImages } from "../support/images.ts";
import { NbdClient } from "../support/nbd_client.ts";
import { until } from "../support/wait.ts";

const MIB = 1024 * 1024;

interface Far {
  readonly cluster: Cluster;
  readonly line: FarLine;
}

/** Two nodes with a line between them. */
async function farPair(cleanup: Cleanup, change: Partial<LinkSpec> = {}): Promise<Far> {
  const [port] = freePorts(1);
  const line = await FarLine.open(cleanup, port!);
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "256MiB" },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async", ...change }],
    budget: "512MiB",
    settings: {
      hq: {
        listen: [`tcp://127.0.0.1:${port}`],
        advertise: [`tcp://127.0.0.1:${line.port}`],
      },
    },
  });
  return { cluster, line };
}

/** Writes noise from `from` on. */
async function write(cluster: Cluster, from: number, bytes: number): Promise<void> {
  const client = await NbdClient.connect(cluster.socket("hq"));
  const block = new Uint8Array(MIB);
  for (let at = 0; at < bytes; at += MIB) {
    for (let i = 0; i < MIB; i += 65536) crypto.getRandomValues(block.subarray(i, i + 65536));
    await client.write(from + at, block);
  }
  await client.flush();
  client.close();
}

async function lineOf(cluster: Cluster): Promise<LineStatus> {
  const { line } = await cluster.link("hq-dr");
  assert(line !== null);
  return line!;
}

e2e(
  "an async link over a long line has more on its way than a window at first",
  [],
  async (cleanup) => {
    const { cluster, line } = await farPair(cleanup);
    line.delayMs = 50;
    await cluster.start();
    await cluster.converged();
    await cluster.cli(["pause", "--link", "hq-dr"]);
    await write(cluster, 0, 192 * MIB);
    await cluster.cli(["resume", "--link", "hq-dr"]);
    const told = await until("the window has grown, and is full", async () => {
      const now = await lineOf(cluster);
      const isFull = (now.inFlightBytes ?? 0) > 1.5 * WINDOW_BYTES_FIRST;
      return isFull && now.roundTripMs !== null ? now : null;
    }, { pollMs: 5 });
    assert(told.roundTripMs! >= 100, `${told.roundTripMs}`);
    await cluster.converged();
    assertSameImages(cluster);
  },
);

e2e(
  "a sync link tells the round trip, and how long clients wait for its peer",
  [],
  async (cleanup) => {
    const { cluster, line } = await farPair(cleanup, { mode: "sync" });
    line.delayMs = 20;
    await cluster.start();
    await until("it is sync", async () => (await cluster.link("hq-dr")).state === "streaming");
    await write(cluster, 0, 4 * MIB);
    const { roundTripMs, latencyMs } = await until("it was measured", async () => {
      const now = await lineOf(cluster);
      return now.roundTripMs !== null && now.latencyMs !== null ? now : null;
    });
    assert(roundTripMs! >= 40 && latencyMs! >= 40, `${roundTripMs} and ${latencyMs}`);
  },
);

e2e(
  "a link comes back by itself from cuts, half-open peers and a NAT that forgets",
  [],
  async (cleanup) => {
    const { cluster, line } = await farPair(cleanup);
    line.delayMs = 10;
    line.bytesPerMs = 50_000;
    await cluster.start();
    await cluster.converged();
    const troubles: [string, () => void][] = [
      ["a cut", () => line.cut()],
      ["a NAT that forgets", () => line.forget()],
      ["an upstream end that is gone", () => line.halfOpen("target")],
      ["a downstream end that is gone", () => line.halfOpen("caller")],
      ["another address", () => {
        line.sourceAddress = "127.0.0.2";
        line.cut();
      }],
    ];
    for (const [index, [what, trouble]] of troubles.entries()) {
      const { connections } = line;
      const writing = write(cluster, index * 32 * MIB, 32 * MIB);
      await until("something is on its way", async () => {
        return ((await lineOf(cluster)).inFlightBytes ?? 0) > 0;
      }, { pollMs: 2 });
      trouble();
      await writing;
      await until(`${what} is over`, async () => {
        return line.connections > connections && (await cluster.link("hq-dr")).received !== null;
      });
      await cluster.converged();
    }
    assertSameImages(cluster);
  },
);

e2e("a limit holds on the wire, changes live, and is told", [], async (cleanup) => {
  const { cluster } = await farPair(cleanup, { bandwidth: "2MiB/s", compress: "none" });
  await cluster.start();
  await cluster.converged();
  await write(cluster, 0, 24 * MIB);
  const before = await lineOf(cluster);
  assertEquals([before.limit, before.limitedBy, before.level], [2 * MIB, "topology", null]);
  await until("the limit held something up", async () => (await lineOf(cluster)).throttledMs > 0);
  const none = await cluster.cli(["limit", "--link", "hq-dr", "--bandwidth", "none"]);
  assertEquals(none.stdout, "link hq-dr has no limit, until `--reset`\n");
  await cluster.converged();
  const after = await cluster.cli(["limit", "--link", "hq-dr", "--reset"]);
  assertEquals(after.stdout, "link hq-dr sends at most 2MiB/s, by the topology\n");
  const text = Deno.readTextFileSync(cluster.topologyPath);
  Deno.writeTextFileSync(cluster.topologyPath, text.replace("2MiB/s", "3MiB/s"));
  cluster.process("hq").signal("SIGHUP");
  await until("the new limit holds", async () => (await lineOf(cluster)).limit === 3 * MIB);
  assertSameImages(cluster);
});

e2e(
  "a limit by hand outlives a node and a changed topology, until it is taken back",
  [],
  async (cleanup) => {
    const { cluster } = await farPair(cleanup, { bandwidth: "20MiB/s", compress: "none" });
    await cluster.start();
    const held = async () => {
      const { limit, limitedBy } = await lineOf(cluster);
      return `${limit === null ? limit : limit / MIB} by ${limitedBy}`;
    };
    for (
      const [rate, told] of [["4MiB/s", "4 by operator"], ["none", "null by operator"]] as const
    ) {
      await cluster.cli(["limit", "--link", "hq-dr", "--bandwidth", rate]);
      await cluster.kill("hq");
      await cluster.start("hq");
      assertEquals(await held(), told);
    }
    const text = Deno.readTextFileSync(cluster.topologyPath);
    Deno.writeTextFileSync(cluster.topologyPath, text.replace("20MiB/s", "30MiB/s"));
    cluster.process("hq").signal("SIGHUP");
    await until("the topology was read", () => cluster.output("hq").includes("was reloaded"));
    assertEquals(await held(), "null by operator");
    const reset = await cluster.cli(["limit", "--link", "hq-dr", "--reset"]);
    assertEquals(reset.stdout, "link hq-dr sends at most 30MiB/s, by the topology\n");
    await cluster.kill("hq");
    await cluster.start("hq");
    assertEquals(await held(), "30 by topology");
  },
);

e2e(
  "what is compressed arrives as it was, and what does not shrink goes as it is",
  [],
  async (cleanup) => {
    const { cluster } = await farPair(cleanup, { compress: "zstd" });
    await cluster.start();
    await cluster.converged();
    const client = await NbdClient.connect(cluster.socket("hq"));
    const text = new TextEncoder().encode("one row of a table, and the next; ".repeat(40_000));
    for (let i = 0; i < 16; i++) await client.write(i * 2 * MIB, text.subarray(0, MIB));
    await client.flush();
    client.close();
    await cluster.converged();
    const packed = await lineOf(cluster);
    assert(packed.shrinks && packed.wireBytes < packed.rawBytes / 20, JSON.stringify(packed));
    await write(cluster, 64 * MIB, 16 * MIB);
    await cluster.converged();
    const noise = await lineOf(cluster);
    assert(!noise.shrinks && noise.wireBytes - packed.wireBytes >= 16 * MIB, JSON.stringify(noise));
    assertSameImages(cluster);
  },
);
