/** Ten thousand connections, and rubbish at every door: nodes go on, peers and clients come through. */
import { assert, assertEquals } from "@std/assert";
import { FrameType, jsonFrame } from "../../../core/link/frames.ts";
import { e2e } from "../support/e2e.ts";
import { close, connect, Fortress, hungUp, send } from "../support/fortress.ts";
import { NbdClient } from "../support/nbd_client.ts";
import { pause, until } from "../support/wait.ts";

const WAVE = 250;
const WAVES = 5;

/** Strangers by the hundred, again and again: silent ones, and such as say something. */
async function flood(port: number, words: readonly Uint8Array[]): Promise<number> {
  let count = 0;
  for (let wave = 0; wave < WAVES; wave++) {
    const all = await Promise.all(Array.from({ length: WAVE }, async (_, n) => {
      try {
        const socket = await Deno.connect({ hostname: "127.0.0.1", port });
        count++;
        const word = words[n % (words.length + 1)];
        if (word !== undefined) await send(socket, word);
        return socket;
      } catch {
        // No place in the queue of the system: that is a way to be turned away, too.
        return null;
      }
    }));
    await pause(100);
    for (const socket of all) if (socket !== null) close(socket);
  }
  return count;
}

const text = (words: string) => new TextEncoder().encode(words);

/** What a client of TLS says first. */
async function clientHello(): Promise<Uint8Array> {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const { port } = listener.addr as Deno.NetAddr;
  const client = Deno.connectTls({ hostname: "127.0.0.1", port, alpnProtocols: ["cascade/1"] });
  client.catch(() => {/* nobody answers it */});
  const socket = await listener.accept();
  const said = new Uint8Array(4096);
  const count = await socket.read(said);
  close(socket);
  listener.close();
  return said.subarray(0, count ?? 0);
}

const HELLO = jsonFrame(FrameType.HELLO, {
  protocol: 2,
  cluster: "e2e",
  node: "dr",
  peer: "hq",
  instance: "0".repeat(32),
  nonce: "0".repeat(64),
});

e2e(
  "in ten thousand connections no peer, no client and no operator is lost",
  ["openssl"],
  async (cleanup) => {
    const fortress = await Fortress.build(cleanup);
    const { cluster, doors } = fortress;
    const hello = await clientHello();
    let sum = 0;
    const all = async () => {
      let isOver = false;
      const floods = [
        flood(doors.tcp, [HELLO, text("nonsense"), new Uint8Array(100)]),
        flood(doors.tls, [HELLO, text("nonsense"), hello]),
        flood(doors.nbd, [new Uint8Array([0, 0, 0, 3]), text("nonsense, and more of it")]),
        flood(doors.admin, [
          text("GET /status HTTP/1.1\r\n"),
          text("POST / HTTP/1.1\r\ncontent-length: 4294967295\r\n\r\n"),
        ]),
      ];
      const over = Promise.all(floods).finally(() => isOver = true);
      // Meanwhile a node comes back, from the very address that the strangers have, and clients come and go.
      do {
        await cluster.kill("dr");
        await cluster.start("dr");
        await until("dr is back", async () => {
          const { links } = await cluster.status("dr");
          return links[0]?.state === "streaming";
        });
        const client = await NbdClient.connect(cluster.socket("hq"));
        await client.flush();
        client.close();
      } while (!isOver);
      sum += (await over).reduce((total, count) => total + count);
    };
    // Of each kind some lines, and those of a node that goes and comes.
    const told = /dropped before it proved itself/;
    // Held against what there was before the first: none may add to what those before it took.
    for (let turn = 0; turn < 3; turn++) await fortress.withstands(all, told, { linesMax: 150 });
    assert(sum > 12_000, `${sum} connections`);
  },
);

e2e(
  "rubbish at the doors of clients and operators is turned away",
  ["openssl"],
  async (cleanup) => {
    const fortress = await Fortress.build(cleanup);
    const { cluster, doors } = fortress;
    const option = (kind: number, length: number, data = new Uint8Array(0)) => {
      const bytes = new Uint8Array(16 + data.length);
      const view = new DataView(bytes.buffer);
      view.setBigUint64(0, 0x49484156454f5054n);
      view.setUint32(8, kind);
      view.setUint32(12, length);
      bytes.set(data, 16);
      return bytes;
    };
    const flags = new Uint8Array([0, 0, 0, 3]);
    const name = text("data");
    const go = new Uint8Array(4 + name.length + 2);
    go.set([0, 0, 0, name.length]);
    go.set(name, 4);
    const request = (type: number, offset: bigint, length: number, magic = 0x25609513) => {
      const bytes = new Uint8Array(28);
      const view = new DataView(bytes.buffer);
      view.setUint32(0, magic);
      view.setUint16(6, type);
      view.setBigUint64(16, offset);
      view.setUint32(24, length);
      return bytes;
    };
    const served = [flags, option(7, go.length, go)];
    const noise = () => crypto.getRandomValues(new Uint8Array(500));
    const sessions: Uint8Array[][] = [
      [noise()],
      [flags, noise()],
      [flags, option(7, 0xffff_ffff)],
      [flags, option(0xffff_ffff, 0xffff_ffff)],
      [flags, option(7, 10, new Uint8Array(10).fill(255))],
      [flags, option(1, 5000, new Uint8Array(5000))],
      [...served, request(1, 0n, 0xffff_ffff)],
      [...served, request(0, 0xffff_ffff_ffff_ffffn, 0xffff_ffff)],
      [...served, request(1, 64n * 1024n * 1024n, 4096)],
      [...served, request(77, 0n, 1)],
      [...served, request(0, 0n, 4096, 0xdeadbeef)],
      [...served, noise()],
    ];
    await fortress.withstands(
      async () => {
        await Promise.all(sessions.flatMap((session) =>
          [1, 2, 3].map(async () => {
            const socket = await connect(doors.nbd);
            for (const bytes of session) await send(socket, bytes);
            await socket.closeWrite().catch(() => {});
            assert(await hungUp(socket));
          })
        ));
      },
      /NBD client gone/,
      { linesMax: 60 },
    );

    await fortress.withstands(async () => {
      const asks = [
        "GET / HTTP/1.1\r\nhost: evil.example\r\n\r\n",
        "GET /status HTTP/1.1\r\nhost: localhost\r\nx: " + "y".repeat(20_000) + "\r\n\r\n",
        "POST /seed HTTP/1.1\r\nhost: localhost\r\ncascade-control: 1\r\nconnection: close\r\ncontent-length: 4294967295\r\n\r\n",
        "POST /links/hq-dr/pause HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
        "\x16\x03\x01\x00\xff\x01" + "z".repeat(300),
        "GET /status HTTP/1.1\r\nhost: loc",
      ];
      await Promise.all(asks.map(async (ask) => {
        const socket = await connect(doors.admin);
        await send(socket, text(ask));
        if (!ask.startsWith("GET /status HTTP/1.1\r\nhost: loc")) {
          await socket.closeWrite().catch(() => {});
        }
        assert(await hungUp(socket, 30_000), ask.slice(0, 30));
      }));
      const { links } = await cluster.status("hq");
      assertEquals(links.map(({ state }) => state), ["streaming", "streaming"]);
    }, null);
  },
);

/** What goes through it goes on with a bit turned over, every so many bytes, as long as it is told to. */
function flipper(port: number, everyBytes: number) {
  const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
  const open = new Set<Deno.Conn>();
  const state = { flips: 0, isOn: true };
  const carry = async (from: Deno.Conn, to: Deno.Conn) => {
    const into = new Uint8Array(64 * 1024);
    let left = Math.ceil(Math.random() * everyBytes);
    for (;;) {
      const count = await from.read(into).catch(() => null);
      if (count === null) break;
      for (left -= count; left < 0 && state.isOn; left += everyBytes) {
        const at = Math.max(0, count + left);
        into[at] = (into[at] ?? 0) ^ (1 << (state.flips++ & 7));
      }
      if (!await send(to, into.subarray(0, count))) break;
    }
    for (const each of [from, to]) {
      open.delete(each);
      close(each);
    }
  };
  (async () => {
    for await (const near of listener) {
      const far = await connect(port);
      open.add(near).add(far);
      carry(near, far);
      carry(far, near);
    }
  })().catch(() => {/* the listener is closed */});
  const end = () => {
    listener.close();
    for (const each of open) close(each);
  };
  return { port: (listener.addr as Deno.NetAddr).port, state, end };
}

e2e(
  "a line that turns bits over costs reconnects, and nothing else",
  ["openssl"],
  async (cleanup) => {
    const fortress = await Fortress.build(cleanup);
    const { cluster, doors } = fortress;
    const line = flipper(doors.tcp, 20_000);
    cleanup.defer(line.end);
    const other = `${cluster.folder}/other.yaml`;
    const topology = Deno.readTextFileSync(cluster.topologyPath);
    Deno.writeTextFileSync(
      other,
      topology.replace(`tcp://127.0.0.1:${doors.tcp}`, `tcp://127.0.0.1:${line.port}`),
    );
    await cluster.stop("dr");
    cluster.spawn("dr", other);
    await cluster.ready("dr");
    const client = await NbdClient.connect(cluster.socket("hq"));
    const before = cluster.output("dr").length;
    for (let turn = 0; turn < 60; turn++) {
      await client.write(turn * 65536, crypto.getRandomValues(new Uint8Array(65536)));
      await client.flush();
      await pause(30);
    }
    await until("bits were turned over", () => line.state.flips > 30);
    client.close();
    line.state.isOn = false;
    await cluster.converged();
    await fortress.keepsSecrets();
    for (const node of ["hq", "dr"]) assertEquals((await cluster.status(node)).state, "running");
    const said = cluster.output("dr").slice(before).split("\n");
    assert(
      said.length < 3 * line.state.flips + 30,
      `${said.length} lines for ${line.state.flips} bits`,
    );
  },
);
