/** Strangers at the doors of links: nobody who is none of the cluster gets anything, or does any harm. */
import { assert, assertEquals } from "@std/assert";
import tls from "node:tls";
import { FRAME_HEADER_BYTES, FrameType, jsonFrame } from "../../core/link/frames.ts";
import { Handshake } from "../../core/link/handshake.ts";
import { Wire } from "../../core/link/wire.ts";
import type { Bytes, Connection } from "../../core/ports.ts";
import { DenoClock } from "../../io/clock.ts";
import type { TlsIdentity } from "../../io/identity.ts";
import { DenoNetwork } from "../../io/network.ts";
import { DenoRandom } from "../../io/random.ts";
import { TestCa } from "../support/certificates.ts";
import { e2e } from "./support/e2e.ts";
import { close, connect, Fortress, hungUp, SECRET, send } from "./support/fortress.ts";
import { pause } from "./support/wait.ts";

const clock = new DenoClock();
const right = new TextEncoder().encode(SECRET);
const TWICE = 2;

/** Shakes hands as "dr" or whoever, and tells how that ended. */
async function shake(connection: Connection, node: string, secret: Bytes): Promise<string> {
  const wire = new Wire(connection, clock);
  try {
    const handshake = new Handshake({
      cluster: "e2e",
      node,
      instance: "0".repeat(32),
      secret,
      peer: "hq",
      view: null,
      purpose: "link",
      admit: () => null,
      random: new DenoRandom(),
      channel: connection,
    });
    wire.send(handshake.begin());
    for (;;) {
      const step = handshake.step(await wire.receive());
      if (step.kind === "refused") return step.refusal.code;
      if (step.kind === "done") return "done";
      if (step.send !== null) wire.send(step.send);
    }
  } catch (error) {
    return String(error);
  } finally {
    wire.close();
  }
}

function network(identity: TlsIdentity | null): DenoNetwork {
  return new DenoNetwork({ tls: { cluster: "e2e", identity: () => identity } });
}

e2e(
  "wrong secrets, none, old proofs and stolen names get nobody in",
  ["openssl"],
  async (cleanup) => {
    const fortress = await Fortress.build(cleanup);
    const { cluster, doors } = fortress;
    const ca = `${cluster.folder}/certs`;
    const own = (node: string): TlsIdentity => ({
      caPem: Deno.readTextFileSync(`${ca}/ca.crt`),
      certPem: Deno.readTextFileSync(`${ca}/${node}.crt`),
      keyPem: Deno.readTextFileSync(`${ca}/${node}.key`),
    });
    const plain = () => network(null).dial(`tcp://127.0.0.1:${doors.tcp}`, "hq");
    const wrong = right.slice().fill(7);

    await fortress.withstands(async () => {
      for (let i = 0; i < TWICE; i++) {
        assertEquals(await shake(await plain(), "dr", wrong), "wrong-secret");
      }
    }, /refused a connection.*wrong-secret/);

    await fortress.withstands(async () => {
      const socket = await connect(doors.tcp);
      const hello = {
        protocol: 2,
        cluster: "e2e",
        node: "dr",
        peer: "hq",
        instance: "0".repeat(32),
        nonce: "0".repeat(64),
      };
      await send(socket, jsonFrame(FrameType.HELLO, hello));
      await send(socket, jsonFrame(FrameType.POSITION, {}));
      assert(await hungUp(socket));
    }, /dropped before it proved itself.*frame 4 in handshake state/);

    // What a node of the cluster said, said again.
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const said: Uint8Array[] = [];
    const { port } = listener.addr as Deno.NetAddr;
    const eavesdropping = (async () => {
      const near = await listener.accept();
      const far = await connect(doors.tcp);
      const carry = async (from: Deno.Conn, to: Deno.Conn, keep: boolean) => {
        const into = new Uint8Array(64 * 1024);
        for (;;) {
          const count = await from.read(into).catch(() => null);
          if (count === null) break;
          if (keep) said.push(into.slice(0, count));
          if (!await send(to, into.subarray(0, count))) break;
        }
        close(near);
        close(far);
      };
      await Promise.all([carry(near, far, true), carry(far, near, false)]);
      listener.close();
    })();
    // Whoever knows the secret proves it, though another one has the link.
    const overheard = await network(null).dial(`tcp://127.0.0.1:${port}`, "hq");
    assert(["done", "already-connected"].includes(await shake(overheard, "dr", right)));
    await eavesdropping;
    await pause(300);
    await fortress.withstands(async () => {
      for (let i = 0; i < TWICE; i++) {
        const socket = await connect(doors.tcp);
        for (const bytes of said) await send(socket, bytes);
        assert(await hungUp(socket));
      }
    }, /refused a connection.*wrong-secret/);

    await fortress.withstands(async () => {
      const stolen = await network(own("dr")).dial(`tls://127.0.0.1:${doors.tls}`, "hq");
      assertEquals(await shake(stolen, "metro", right), "wrong-certificate");
      assertEquals(await shake(await plain(), "nobody", right), "unknown-node");
    }, /refused a connection.*wrong-certificate/);
  },
);

e2e("foreign and expired certificates, and none, get nobody in", ["openssl"], async (cleanup) => {
  const fortress = await Fortress.build(cleanup);
  const { cluster, doors } = fortress;
  const foreign = new TestCa(`${cluster.folder}/foreign`);
  foreign.issue("e2e", "dr");
  const caPem = Deno.readTextFileSync(`${cluster.folder}/certs/ca.crt`);
  const dial = async (identity: TlsIdentity) => {
    try {
      const address = `tls://127.0.0.1:${doors.tls}`;
      return await shake(await network(identity).dial(address, "hq"), "dr", right);
    } catch (error) {
      return String(error);
    }
  };
  await fortress.withstands(async () => {
    // It believes the CA of the cluster, and shows a certificate of its own.
    for (let i = 0; i < TWICE; i++) {
      assert(await dial({ ...foreign.identity("dr"), caPem }) !== "done");
    }
  }, /TLS handshake failed.*not believed/);

  const expired = cluster.folder + "/expired";
  Deno.mkdirSync(expired);
  for (const name of ["ca.crt", "ca.key"]) {
    Deno.copyFileSync(`${cluster.folder}/certs/${name}`, `${expired}/${name}`);
  }
  const old = new TestCa(expired, true).issue("e2e", "dr", undefined, -1);
  await fortress.withstands(async () => {
    assert(await dial(old) !== "done");
  }, /TLS handshake failed.*not believed.*expired/i);

  await fortress.withstands(async () => {
    for (
      const options of [
        {},
        { maxVersion: "TLSv1.2" as const },
        { ALPNProtocols: ["http/1.1"], minVersion: "TLSv1.3" as const },
      ]
    ) {
      await new Promise<void>((done) => {
        const socket = tls.connect({
          host: "127.0.0.1",
          port: doors.tls,
          rejectUnauthorized: false,
          ...options,
        });
        socket.on("error", () => {});
        socket.on("data", () => {});
        socket.once("close", () => done());
        socket.once("secureConnect", () => socket.write("GET / HTTP/1.1\r\n\r\n"));
      });
    }
  }, /TLS handshake failed/);
  await fortress.withstands(async () => {
    // Plain words at the door of TLS, as of a link, and of a browser.
    for (
      const bytes of [
        jsonFrame(FrameType.HELLO, {}),
        new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"),
      ]
    ) {
      const socket = await connect(doors.tls);
      await send(socket, bytes);
      assert(await hungUp(socket));
    }
  }, /TLS handshake failed/);
});

e2e(
  "slow handshakes, lengths of 4 GiB and noise in every state do no harm",
  ["openssl"],
  async (cleanup) => {
    const fortress = await Fortress.build(cleanup);
    const { doors } = fortress;
    const hello = jsonFrame(FrameType.HELLO, {
      protocol: 2,
      cluster: "e2e",
      node: "dr",
      peer: "hq",
      view: null,
      purpose: "link",
      instance: "0".repeat(32),
      nonce: "0".repeat(64),
    });
    await fortress.withstands(async () => {
      const slow = [doors.tcp, doors.tcp, doors.tls].map(async (port) => {
        const socket = await connect(port);
        let isOver = false;
        const over = hungUp(socket).then((isOver_) => (isOver = true, isOver_));
        for (let at = 0; at < hello.length && !isOver; at++) {
          if (!await send(socket, hello.subarray(at, at + 1))) break;
          await pause(50);
        }
        assert(await over);
      });
      await Promise.all(slow);
    }, /no handshake within|no TLS handshake within/);

    const huge = hello.slice();
    new DataView(huge.buffer).setUint32(8, 0xffff_ffff, true);
    await fortress.withstands(
      async () => {
        // At once: whoever fails again and again waits longer and longer.
        await Promise.all(Array.from({ length: 24 }, async (_, type) => {
          const frame = huge.slice();
          frame[4] = type;
          const socket = await connect(doors.tcp);
          await send(socket, frame);
          assert(await hungUp(socket), `type ${type}`);
        }));
      },
      /dropped before it proved itself.*(frame of 4294967295 bytes|unknown type|data before it proved)/,
    );

    await fortress.withstands(async () => {
      await Promise.all(Array.from({ length: 60 }, async (_, turn) => {
        const socket = await connect(turn % 5 === 4 ? doors.tls : doors.tcp);
        if (turn % 2 === 0) await send(socket, hello);
        const noise = crypto.getRandomValues(new Uint8Array(20 + turn * 50));
        // Half of it with a head that is one.
        if (turn % 4 < 2) noise.set(hello.subarray(0, FRAME_HEADER_BYTES));
        await send(socket, noise);
        await socket.closeWrite().catch(() => {});
        assert(await hungUp(socket));
      }));
    }, /dropped before it proved itself/);
  },
);

e2e(
  "noise over UDP, and wrong secrets over QUIC, keep no node out",
  ["openssl"],
  async (cleanup) => {
    const fortress = await Fortress.build(cleanup);
    const { cluster, doors } = fortress;
    const caPem = Deno.readTextFileSync(`${cluster.folder}/certs/ca.crt`);
    // Whoever dials needs no certificate of its own.
    const dial = () =>
      network({ caPem, certPem: "", keyPem: "" }).dial(`quic://127.0.0.1:${doors.quic}`, "hq");
    const wrong = new Uint8Array(64).fill(7);
    await fortress.withstands(async () => {
      for (let i = 0; i < TWICE; i++) {
        assertEquals(await shake(await dial(), "dr", wrong), "wrong-secret");
      }
      const socket = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
      const to: Deno.NetAddr = { transport: "udp", hostname: "127.0.0.1", port: doors.quic };
      for (let i = 0; i < 3_000; i++) {
        const noise = crypto.getRandomValues(new Uint8Array(i % 3 === 0 ? 1200 : 1 + i % 300));
        // Some look as a first packet does.
        if (i % 3 === 0) {
          noise.set([0xc3, 0, 0, 0, 1, 8]);
        }
        await socket.send(noise, to);
      }
      socket.close();
      assertEquals(await shake(await dial(), "dr", wrong), "wrong-secret");
      const found = await shake(await dial(), "dr", right);
      assert(["done", "already-connected"].includes(found), found);
    }, /refused a connection.*wrong-secret/);
  },
);
