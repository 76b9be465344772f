import { assertEquals, assertRejects, assertStringIncludes } from "@std/assert";
import { connect as connectPlain, createServer, type Socket } from "node:net";
import { CascadeError } from "../../core/errors.ts";
import { Option, OptionReply } from "../../core/nbd/constants.ts";
import { NbdServer } from "../../core/nbd/server.ts";
import { NbdClient } from "../../core/nbd_client/nbd_client.ts";
import { parseNbdUri } from "../../core/nbd_client/uri.ts";
import { CertificateFolder, type Holder } from "../../io/certificate_folder.ts";
import { DenoClock } from "../../io/clock.ts";
import { nbdTlsSelf } from "../../io/identity.ts";
import { DenoNetwork } from "../../io/network.ts";
import { nbdTlsNetwork } from "../../io/nbd_tls_client.ts";
import { MemoryBackend } from "../core/nbd/memory_backend.ts";
import { infoData, join, option, text, u16, u32 } from "../core/nbd/wire.ts";
import { until } from "./helpers.ts";

const TERM = { nowMs: Date.now(), days: 30 };
const HOSTS = { dns: ["localhost"], ips: ["127.0.0.1"] };
const HQ: Holder = { kind: "node", name: "hq", hosts: HOSTS };

const root = Deno.makeTempDirSync({ prefix: "cascade-nbd-tls-" });
addEventListener("unload", () => Deno.removeSync(root, { recursive: true }));

async function folderOf(name: string, cluster = "payroll"): Promise<CertificateFolder> {
  const folder = new CertificateFolder(cluster, `${root}/${name}`, `${root}/${name}.ca.key`);
  await folder.ensureCa(TERM);
  await folder.issue(HQ, TERM);
  await folder.issue({ kind: "client", name: "backup" }, TERM);
  await folder.issue({ kind: "client", name: "vm1" }, TERM);
  return folder;
}

const ours = await folderOf("ours");
const foreign = await folderOf("foreign");
/** Of our CA, for another cascade. */
const other = new CertificateFolder("web", `${root}/web`, ours.caKeyPath);
Deno.mkdirSync(other.path);
Deno.copyFileSync(ours.caPath, other.caPath);
await other.issue({ kind: "client", name: "backup" }, TERM);

/** A server with one export, its address, and what it told. */
async function withServer(
  body: (port: number, told: string[]) => Promise<void>,
  { clients = null, mode = "required" }: {
    clients?: readonly string[] | null;
    mode?: "allowed" | "required";
  } = {},
): Promise<void> {
  const { cert, key } = ours.filesOf(HQ);
  const files = { ca: ours.caPath, cert, key };
  const nbdTls = nbdTlsSelf({ cluster: "payroll", nbdTls: { mode, files, clients } })!;
  const told: string[] = [];
  const server = new NbdServer({
    network: new DenoNetwork({ nbdTls }),
    clock: new DenoClock(),
    journal: {
      write: (_level, message, fields) => told.push(`${message} ${JSON.stringify(fields)}`),
    },
    exports: [new MemoryBackend(1 << 20)],
    tls: mode,
  });
  try {
    const address = await server.listen("tcp://127.0.0.1:0");
    await body(Number(address.split(":").at(-1)), told);
  } finally {
    server.abort();
  }
}

function dial(port: number, folder: CertificateFolder, client = "backup", host = "127.0.0.1") {
  const certificates = `${folder.path}/clients/${client}`;
  const place = parseNbdUri(`nbds://${host}:${port}/data?tls-certificates=${certificates}`);
  const network = nbdTlsNetwork(place.tls!, new DenoNetwork());
  return NbdClient.connect({ network, clock: new DenoClock() }, place);
}

Deno.test("a client and a server with certificates of one CA speak over TLS", () =>
  withServer(async (port, told) => {
    const client = await dial(port, ours);
    const wrote = crypto.getRandomValues(new Uint8Array(65_536));
    await client.write(wrote, 4096);
    const read = new Uint8Array(wrote.length);
    await client.read(read, 4096);
    assertEquals(read, wrote);
    await client.flush();
    await client.close();
    assertStringIncludes(told.join("\n"), '"tls":"backup"');
  }));

Deno.test("a foreign certificate, a node's, and one for another cascade are let in nowhere", () =>
  withServer(async (port, told) => {
    const nodes = `${root}/as-node/clients/backup`;
    Deno.mkdirSync(nodes, { recursive: true });
    const { cert, key } = ours.filesOf(HQ);
    Deno.copyFileSync(ours.caPath, `${nodes}/ca-cert.pem`);
    Deno.copyFileSync(cert, `${nodes}/client-cert.pem`);
    Deno.copyFileSync(key, `${nodes}/client-key.pem`);
    const asNode = new CertificateFolder("payroll", `${root}/as-node`, "");
    // It believes our server, and shows what another CA has made.
    Deno.copyFileSync(ours.caPath, `${foreign.path}/clients/vm1/ca-cert.pem`);
    await assertRejects(() => dial(port, foreign, "vm1"), CascadeError, "when TLS had begun");
    await assertRejects(() => dial(port, asNode), CascadeError, "when TLS had begun");
    await assertRejects(() => dial(port, other), CascadeError, "when TLS had begun");
    await until("all are told of", () => told.length >= 2, 20_000);
    assertEquals(told.some((line) => line.startsWith("NBD client connected")), false);
  }));

Deno.test("a server whose certificate is foreign, or for another host, is not spoken to", () =>
  withServer(async (port) => {
    const error = await assertRejects(() => dial(port, foreign), CascadeError, "no TLS with");
    assertEquals(error.code, "refused");
    await assertRejects(() => dial(port, ours, "backup", "127.0.0.2"), CascadeError, "127.0.0.2");
    await (await dial(port, ours, "backup", "localhost")).close();
  }));

Deno.test("only the clients that are named are let in", () =>
  withServer(async (port, told) => {
    await (await dial(port, ours, "vm1")).close();
    await assertRejects(() => dial(port, ours, "backup"), CascadeError, "when TLS had begun");
    await until("it is told", () => told.some((line) => line.includes("named backup")), 20_000);
  }, { clients: ["vm1"] }));

Deno.test("plain clients are served where TLS is allowed, and sent away where it is required", async () => {
  const plain = (port: number) =>
    NbdClient.connect(
      { network: new DenoNetwork(), clock: new DenoClock() },
      parseNbdUri(`nbd://127.0.0.1:${port}/data`),
    );
  await withServer(async (port) => {
    await (await plain(port)).close();
    await (await dial(port, ours)).close();
  }, { mode: "allowed" });
  await withServer(async (port) => {
    await assertRejects(() => plain(port), CascadeError, "over TLS alone");
  });
});

/** Says `parts` with a turn of the event loop between each, and gives all that is answered. */
async function say(port: number, ...parts: Uint8Array[]): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  await new Promise<void>((done) => {
    const socket = connectPlain(port, "127.0.0.1", async () => {
      for (const part of parts) {
        socket.write(part);
        await new Promise((go) => setTimeout(go, 5));
      }
      socket.end();
    });
    socket.on("data", (chunk: Uint8Array) => chunks.push(chunk));
    socket.on("error", () => {/* the server may be quicker */});
    socket.on("close", () => done());
  });
  return join(...chunks);
}

Deno.test("whatever is injected in plain around STARTTLS never reaches an export", async () => {
  const startTls = option(Option.STARTTLS);
  const go = option(Option.GO, infoData("data"));
  const cases: Uint8Array[][] = [
    [u32(3), join(startTls, go)],
    [join(u32(3), startTls, go)],
    [u32(3), startTls, go],
    [u32(3), startTls, new Uint8Array(70_000)],
    [u32(3), startTls.subarray(0, 7), join(startTls.subarray(7), go.subarray(0, 3))],
    [u32(3), go, startTls, go],
  ];
  await withServer(async (port, told) => {
    for (const parts of cases) {
      const answer = await say(port, ...parts);
      // No ACK of GO: at most one of STARTTLS.
      const answers = new TextDecoder("latin1").decode(answer);
      assertEquals(
        answers.includes(new TextDecoder("latin1").decode(u32(Option.GO)) + "\0\0\0\x01"),
        false,
      );
    }
    assertEquals(told.some((line) => line.startsWith("NBD client connected")), false);
    assertEquals(told.some((line) => line.includes("bug")), false);
    await (await dial(port, ours)).close();
  });
});

/** A server that greets, and answers the first option with `answer`. */
async function withFake(answer: Uint8Array, body: (port: number) => Promise<void>): Promise<void> {
  const sockets: Socket[] = [];
  const server = createServer((socket) => {
    sockets.push(socket);
    socket.on("error", () => {});
    let heard = 0;
    socket.write(join(text("NBDMAGICIHAVEOPT"), u16(3)));
    socket.on("data", (chunk: Uint8Array) => {
      heard += chunk.length;
      if (heard === 20) socket.write(answer);
    });
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", () => done()));
  try {
    await body((server.address() as { port: number }).port);
  } finally {
    for (const socket of sockets) socket.destroy();
    await new Promise((done) => server.close(done));
  }
}

function reply(type: number): Uint8Array {
  const magic = new Uint8Array([0, 3, 0xe8, 0x89, 4, 0x55, 0x65, 0xa9]);
  return join(magic, u32(Option.STARTTLS), u32(type), u32(0));
}

Deno.test("a client that wants TLS takes nothing less, and nothing in plain behind the answer", async () => {
  await withFake(reply(OptionReply.ERR_UNSUP), async (port) => {
    await assertRejects(() => dial(port, ours), CascadeError, "has no TLS");
  });
  await withFake(join(reply(OptionReply.ACK), reply(OptionReply.ACK)), async (port) => {
    await assertRejects(() => dial(port, ours), CascadeError, "in plain where TLS was to begin");
  });
});

Deno.test("an address that is to begin TLS is never served in plain instead", async () => {
  const network = new DenoNetwork();
  for (const address of ["tcp://127.0.0.1:0", "unix:/tmp/never.sock"]) {
    const error = await assertRejects(() => network.listen(address, () => {}, true), CascadeError);
    assertEquals(error.code, "bad-address");
  }
});
