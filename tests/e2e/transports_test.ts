/**
 * The same cascade over every transport, and over mixes of them, with kills and cuts.
 */
import { assert, assertEquals } from "@std/assert";
import { writeBulk } from "./support/bulk.ts";
import { Cluster, type LinkSpec } from "./support/cluster.ts";
import { e2e } from "./support/e2e.ts";
import { FarLine } from "./support/far_line.ts";
import { assertSameImages } from "./support/images.ts";
import { killUnderLoad } from "./support/kills.ts";
import { StampedLoad } from "./support/load.ts";
import { NbdClient } from "./support/nbd_client.ts";
import { UdpLine } from "./support/udp_line.ts";
import { pause, until } from "./support/wait.ts";

const MIB = 1024 * 1024;

/** A sync link to a near node, an async one behind it, a periodic one beside them. */
function cascadeOver(
  sync: LinkSpec["transport"],
  async: LinkSpec["transport"],
  periodic: LinkSpec["transport"],
): LinkSpec[] {
  const over = (transport: LinkSpec["transport"]) => transport === undefined ? {} : { transport };
  return [
    { from: "hq", to: "metro", mode: "sync", timeout: "10s", ...over(sync) },
    { from: "metro", to: "dr1", mode: "async", ...over(async) },
    { from: "hq", to: "dr2", mode: "periodic", every: "1s", ...over(periodic) },
  ];
}

const MIXES: readonly (readonly [name: string, links: LinkSpec[], transports: string[]])[] = [
  ["tls", cascadeOver("tls", "tls", "tls"), ["tls", "tls", "tls"]],
  ["quic", cascadeOver("quic", "quic", "quic"), ["quic", "quic", "quic"]],
  ["exec", cascadeOver("exec", "exec", "exec"), ["exec", "exec", "exec"]],
  ["tls, quic and exec", cascadeOver("tls", ["quic", "tls"], "exec"), ["tls", "quic", "exec"]],
];

for (const [index, [name, links, transports]] of MIXES.entries()) {
  e2e(`a cascade over ${name} loses nothing to kills`, ["openssl"], async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "16MiB" },
      nodes: ["hq", "metro", "dr1", "dr2"],
      links,
    });
    const kills = name.includes(",") ? 6 : 3;
    await killUnderLoad(cluster, { kills, seed: 70 + index, sizeBytes: 16 * MIB });
    await cluster.start();
    await until("every link is up", async () => {
      const found = await Promise.all(
        links.map(({ from, to }) => cluster.link(`${from}-${to}`, to)),
      );
      return found.every((link, at) => link.transport === transports[at] && link.fallback === null);
    });
    await cluster.converged();
  });
}

/** Ends what a node has started: the commands of its links. */
function killCommandsOf(pid: number): void {
  const children = Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim();
  for (const child of children.split(" ").filter((text) => text !== "")) {
    try {
      Deno.kill(Number(child), "SIGKILL");
    } catch {
      // It has just ended by itself.
    }
  }
}

e2e(
  "a cascade over tls, quic and exec loses nothing to cuts of each",
  ["openssl"],
  async (cleanup) => {
    const links = cascadeOver("tls", "quic", "exec");
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "16MiB" },
      nodes: ["hq", "metro", "dr1", "dr2"],
      links,
    });
    const text = Deno.readTextFileSync(cluster.topologyPath);
    const portOf = (scheme: string) =>
      Number(new RegExp(`"${scheme}://127.0.0.1:(\\d+)"`).exec(text)?.[1]);
    const near = await FarLine.open(cleanup, portOf("tls"));
    const far = await UdpLine.open(cleanup, portOf("quic"));
    // Each node dials the one above it through a line that can be cut.
    const over = (node: string, scheme: string, port: number) => {
      const path = `${cluster.folder}/${node}.yaml`;
      const other = text.replace(
        `${scheme}://127.0.0.1:${portOf(scheme)}`,
        `${scheme}://127.0.0.1:${port}`,
      );
      Deno.writeTextFileSync(path, other);
      cluster.spawn(node, path);
    };
    for (const node of ["hq", "dr2"]) cluster.spawn(node);
    over("metro", "tls", near.port);
    over("dr1", "quic", far.port);
    for (const node of cluster.spec.nodes) await cluster.ready(node);
    const up = () =>
      until("every link is up", async () => {
        const found = await Promise.all(
          links.map(({ from, to }) => cluster.link(`${from}-${to}`, to)),
        );
        return found.every(({ state }) => state !== "disconnected" && state !== "connecting");
      });
    await up();
    const load = new StampedLoad(16 * MIB, 80);
    let isOver = false;
    const loading = (async () => {
      while (!isOver) {
        const client = await NbdClient.connect(cluster.socket("hq"));
        await load.verify(client);
        await load.run(client, () => isOver, 4);
        client.close();
      }
    })();
    const cuts = [
      () => near.cut(),
      () => near.forget(),
      () => near.halfOpen("caller"),
      () => far.forget(),
      () => killCommandsOf(cluster.process("dr2").pid),
      async () => {
        far.isCut = true;
        await pause(1_000);
        far.isCut = false;
      },
      () => killCommandsOf(cluster.process("dr2").pid),
      () => near.halfOpen("target"),
    ];
    for (const cut of cuts) {
      await pause(300);
      await cut();
      await Promise.race([up(), loading]);
    }
    isOver = true;
    await loading;
    const client = await NbdClient.connect(cluster.socket("hq"));
    await load.verify(client);
    await client.flush();
    client.close();
    await cluster.converged();
    for (const node of cluster.spec.nodes) await cluster.stop(node);
    assertSameImages(cluster);
  },
);

e2e(
  "where UDP does not get through, TLS carries the link, and says so",
  ["openssl"],
  async (cleanup) => {
    const cluster = Cluster.create(cleanup, {
      volumes: { data: "16MiB" },
      nodes: ["hq", "dr1"],
      links: [{ from: "hq", to: "dr1", mode: "async", transport: ["quic", "tls"] }],
    });
    // What hq has to say over UDP goes to where nobody listens.
    const text = Deno.readTextFileSync(cluster.topologyPath);
    const listen = /"quic:\/\/127\.0\.0\.1:(\d+)"/.exec(text)?.[0] ?? "";
    assert(listen !== "");
    const silent = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    cleanup.defer(() => silent.close());
    const { port } = silent.addr as Deno.NetAddr;
    const elsewhere = `${cluster.folder}/elsewhere.yaml`;
    Deno.writeTextFileSync(elsewhere, text.replace(listen, `"quic://127.0.0.1:${port}"`));
    cluster.spawn("hq");
    cluster.spawn("dr1", elsewhere);
    await cluster.ready("hq");
    await cluster.ready("dr1");
    await writeBulk(cluster.socket("hq"), "data", 0, 4);
    await cluster.converged();
    const link = await cluster.link("hq-dr1", "dr1");
    assertEquals([link.transport, link.state], ["tls", "streaming"]);
    assert(link.fallback?.includes("no answer over UDP"), String(link.fallback));
    const { stdout } = await cluster.cli(["status", "--node", "dr1"]);
    assert(stdout.includes("over tls"), stdout);
    await cluster.stop("hq");
    await cluster.stop("dr1");
    assertSameImages(cluster);
  },
);
