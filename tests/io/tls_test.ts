import { assert, assertEquals, assertNotEquals, assertRejects } from "@std/assert";
import { connect } from "node:net";
import tls from "node:tls";
import { CascadeError } from "../../core/errors.ts";
import type { Connection, Listener } from "../../core/ports.ts";
import type { TlsIdentity } from "../../io/identity.ts";
import { DenoNetwork } from "../../io/network.ts";
import { TestCa } from "../support/certificates.ts";
import { must } from "../support/small.ts";

const MIB = 1024 * 1024;

const folder = Deno.makeTempDirSync({ prefix: "cascade-tls-" });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
const ca = new TestCa(`${folder}/ca`);
const foreign = new TestCa(`${folder}/foreign`);
const hq = ca.issue("prod", "hq");
const dr1 = ca.issue("prod", "dr1");

function networkOf(identity: () => TlsIdentity | null, said: string[] = []): DenoNetwork {
  return new DenoNetwork({
    tls: { cluster: "prod", identity },
    journal: { write: (_, message, fields) => void said.push(`${message}: ${fields?.reason}`) },
  });
}

/** A listener that hands out what it accepts. */
class Accepting {
  readonly said: string[] = [];
  readonly arrived: Connection[] = [];
  #wake = () => {};
  readonly #identity: () => TlsIdentity | null;
  listener!: Listener;

  constructor(identity: () => TlsIdentity | null = () => hq) {
    this.#identity = identity;
  }

  async listen(scheme = "tls"): Promise<string> {
    const network = networkOf(this.#identity, this.said);
    this.listener = await network.listen(`${scheme}://127.0.0.1:0`, (connection) => {
      this.arrived.push(connection);
      this.#wake();
    });
    return this.listener.address;
  }

  async next(): Promise<Connection> {
    while (this.arrived.length === 0) await new Promise<void>((wake) => this.#wake = wake);
    return this.arrived.shift()!;
  }
}

Deno.test("both ends know whom the other's certificate is for, and the same of the channel", async () => {
  const far = new Accepting();
  const address = await far.listen();
  const bindings: string[] = [];
  for (let turn = 0; turn < 2; turn++) {
    const near = await networkOf(() => dr1).dial(address, "hq");
    const accepted = await far.next();
    assertEquals([near.transport, accepted.transport], ["tls", "tls"]);
    assertEquals(near.certifiedNames, ["hq"]);
    assertEquals(accepted.certifiedNames, ["dr1"]);
    assert(near.channelBinding !== null && near.channelBinding.length >= 32);
    assertEquals(near.channelBinding, accepted.channelBinding);
    bindings.push(String(near.channelBinding));
    near.close();
    accepted.close();
  }
  assertNotEquals(bindings[0], bindings[1]);
  far.listener.close();
});

Deno.test("a client without a certificate of the CA is not let in, and is told", async () => {
  const far = new Accepting();
  const address = await far.listen();
  const past = { ...ca.issue("prod", "late", undefined, -1) };
  for (const stranger of [{ ...foreign.issue("prod", "dr1"), caPem: hq.caPem }, past]) {
    const error = await assertRejects(async () => {
      const near = await networkOf(() => stranger).dial(address, "hq");
      try {
        await near.read(new Uint8Array(1));
      } finally {
        near.close();
      }
    }, CascadeError);
    assert(error.retryable, error.message);
  }
  await assertRejects(() => {
    const { hostname, port } = new URL(address.replace("tls", "http"));
    return new Promise((_, fail) => {
      const bare = tls.connect({ host: hostname, port: Number(port), rejectUnauthorized: false });
      bare.on("error", fail);
      bare.on("close", () => fail(new Error("closed")));
      bare.on("data", () => {});
    });
  });
  assertEquals(far.arrived, []);
  far.listener.close();
  assert(far.said[0]?.startsWith("a TLS handshake failed: its certificate is not"), far.said[0]);
});

Deno.test("a server of another CA, or of nobody, is not spoken to", async () => {
  const far = new Accepting(() => foreign.issue("prod", "hq"));
  const address = await far.listen();
  const error = await assertRejects(() => networkOf(() => dr1).dial(address, "hq"), CascadeError);
  assertEquals(error.code, "unreachable");
  assert(error.message.startsWith("no TLS with the peer"), error.message);
  assertEquals(far.arrived, []);
  far.listener.close();
  const none = await assertRejects(() => networkOf(() => null).dial(address, "hq"), CascadeError);
  assertEquals(none.code, "bad-address");
  await assertRejects(() => networkOf(() => null).listen(address, () => {}), CascadeError);
});

Deno.test("what comes over TLS does not pile up in memory, whichever end reads it", async () => {
  const [bytes, room] = [192 * MIB, 96 * MIB];
  const far = new Accepting();
  const near = await networkOf(() => dr1).dial(await far.listen(), "hq");
  const accepted = await far.next();
  for (const [from, to] of [[near, accepted], [accepted, near]] as const) {
    const { rss: before } = Deno.memoryUsage();
    const piece = new Uint8Array(MIB).fill(7);
    const sent = (async () => {
      for (let at = 0; at < bytes; at += MIB) await from.write(piece);
    })();
    const into = new Uint8Array(MIB);
    let most = 0;
    for (let at = 0; at < bytes;) {
      const count = await to.read(into.subarray(0, Math.min(MIB, bytes - at)));
      must(count !== null);
      assertEquals([into[0], into[count - 1]], [7, 7]);
      at += count;
      most = Math.max(most, Deno.memoryUsage().rss - before);
    }
    await sent;
    assert(most < room, `${most} bytes more while ${bytes} came`);
  }
  near.close();
  accepted.close();
  far.listener.close();
});

Deno.test("what speaks another protocol at the port is hung up on, and nothing else happens", async () => {
  const far = new Accepting();
  const address = await far.listen();
  const { hostname, port } = new URL(address.replace("tls", "http"));
  const plain = await Deno.connect({ hostname, port: Number(port) });
  await plain.write(new TextEncoder().encode("GET / HTTP/1.1\r\n\r\n"));
  const into = new Uint8Array(100);
  while (await plain.read(into).catch(() => null) !== null);
  plain.close();
  const near = await networkOf(() => dr1).dial(address, "hq");
  (await far.next()).close();
  near.close();
  far.listener.close();
  assertEquals(far.said.length, 1, String(far.said));
});

Deno.test("a renewed certificate is shown to the next client, and those before go on", async () => {
  let identity = hq;
  const far = new Accepting(() => identity);
  const address = await far.listen();
  const dial = () => networkOf(() => dr1).dial(address, "hq");
  const before = await dial();
  const first = await far.next();
  identity = ca.issue("prod", "hq", "DNS:hq,DNS:spare");
  const after = await dial();
  const second = await far.next();
  assertEquals(before.certifiedNames, ["hq"]);
  assertEquals(after.certifiedNames, ["hq", "spare", "hq"]);
  await first.write(new Uint8Array([1]));
  assertEquals(await before.read(new Uint8Array(9)), 1);
  for (const connection of [before, after, first, second]) connection.close();
  far.listener.close();
});

Deno.test("over QUIC the server's certificate must be of the CA, and for the node that is dialled", async () => {
  const far = new Accepting();
  const address = await far.listen("quic");
  const near = await networkOf(() => dr1).dial(address, "hq");
  assertEquals([near.certifiedNames, near.channelBinding], [["hq"], null]);
  await near.write(new Uint8Array(1));
  const accepted = await far.next();
  assertEquals(accepted.certifiedNames, null);
  near.close();
  accepted.close();
  const other = await assertRejects(() => networkOf(() => dr1).dial(address, "dr2"), CascadeError);
  assert(other.hint?.includes("dr2.prod.cascade.internal"), other.hint);
  const stranger = { ...dr1, caPem: foreign.identity("hq").caPem };
  const error = await assertRejects(
    () => networkOf(() => stranger).dial(address, "hq"),
    CascadeError,
  );
  assertEquals(error.code, "unreachable");
  assertEquals(far.arrived, []);
  far.listener.close();
});

Deno.test("over QUIC a renewed certificate is shown soon", async () => {
  let identity = hq;
  const far = new Accepting(() => identity);
  const address = await far.listen("quic");
  identity = ca.issue("prod", "metro");
  const dial = (to: string) => networkOf(() => dr1).dial(address, to);
  const old = await dial("hq");
  await old.write(new Uint8Array(1));
  const before = await far.next();
  const near = await dial("metro");
  await near.write(new Uint8Array(1));
  const after = await far.next();
  await before.write(new Uint8Array(1));
  assertEquals(await old.read(new Uint8Array(9)), 1);
  for (const connection of [old, before, near, after]) connection.close();
  far.listener.close();
});

Deno.test("where UDP does not get through, a dial over QUIC gives up early", async () => {
  const silent = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  const { port } = silent.addr as Deno.NetAddr;
  const hasty = new DenoNetwork({
    tls: { cluster: "prod", identity: () => dr1 },
    dialTimeoutMs: 300,
  });
  const error = await assertRejects(
    () => hasty.dial(`quic://127.0.0.1:${port}`, "hq"),
    CascadeError,
  );
  assertEquals([error.code, error.retryable], ["unreachable", true]);
  assert(error.message.includes("no answer over UDP within 0.3 s"), error.message);
  silent.close();
});

/** Passes datagrams on, as a NAT does: it can forget the port that it gave to a client. */
class Nat {
  readonly #server: Deno.NetAddr;
  readonly #inside = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
  #outside: Deno.DatagramConn;
  #client: Deno.Addr | null = null;
  passed = 0;

  constructor(port: number) {
    this.#server = { transport: "udp", hostname: "127.0.0.1", port };
    this.#outside = this.#open();
    this.#run(this.#inside, (bytes, from) => {
      this.#client = from;
      return this.#outside.send(bytes, this.#server);
    });
  }

  get port(): number {
    return (this.#inside.addr as Deno.NetAddr).port;
  }

  #open(): Deno.DatagramConn {
    const outside = Deno.listenDatagram({ transport: "udp", hostname: "127.0.0.1", port: 0 });
    this.#run(outside, (bytes) => this.#inside.send(bytes, this.#client!));
    return outside;
  }

  async #run(
    socket: Deno.DatagramConn,
    pass: (bytes: Uint8Array, from: Deno.Addr) => Promise<unknown>,
  ): Promise<void> {
    try {
      for await (const [bytes, from] of socket) {
        this.passed++;
        await pass(bytes, from);
      }
    } catch {
      // It was closed while it passed something on.
    }
  }

  /** From now on the client has another port, seen from the server. */
  forget(): void {
    const before = this.#outside;
    this.#outside = this.#open();
    before.close();
  }

  close(): void {
    this.#inside.close();
    this.#outside.close();
  }
}

Deno.test("over QUIC a connection outlives a change of the client's address", async () => {
  const far = new Accepting();
  const address = await far.listen("quic");
  const nat = new Nat(Number(/:(\d+)$/.exec(address)?.[1]));
  const near = await networkOf(() => dr1).dial(`quic://127.0.0.1:${nat.port}`, "hq");
  const into = new Uint8Array(100_000);
  let accepted: Connection | null = null;
  for (let turn = 0; turn < 3; turn++) {
    await near.write(new Uint8Array(50_000));
    accepted ??= await far.next();
    for (let got = 0; got < 50_000;) got += (await accepted.read(into)) ?? NaN;
    await accepted.write(new Uint8Array(50_000));
    for (let got = 0; got < 50_000;) got += (await near.read(into)) ?? NaN;
    nat.forget();
  }
  near.close();
  assertEquals(await accepted?.read(into), null);
  accepted?.close();
  far.listener.close();
  nat.close();
});

Deno.test("each kind of failure is told of, among many of another", async () => {
  const codes: unknown[] = [];
  const network = new DenoNetwork({
    tls: { cluster: "prod", identity: () => hq },
    journal: { write: (_, __, fields) => void codes.push(fields?.["code"]) },
  });
  const listener = await network.listen("tls://127.0.0.1:0", (connection) => connection.close());
  const { hostname, port } = new URL(listener.address.replace("tls", "http"));
  const visit = (options: tls.ConnectionOptions | null) =>
    new Promise<void>((done) => {
      const where = { host: hostname, port: Number(port) };
      const socket = options === null
        ? connect(where, () => void socket.write("GET / HTTP/1.1\r\n\r\n"))
        : tls.connect({ ...where, rejectUnauthorized: false, ...options });
      for (const event of ["error", "data"]) socket.on(event, () => {});
      socket.once("close", () => done());
    });
  const other = foreign.issue("prod", "dr1");
  await visit(null);
  await visit(null);
  await visit({ minVersion: "TLSv1.3" });
  await visit({ maxVersion: "TLSv1.2" });
  await visit(null);
  await visit({ cert: other.certPem, key: other.keyPem, minVersion: "TLSv1.3" });
  listener.close();
  assertEquals(new Set(codes).size, 4, codes.join());
});
