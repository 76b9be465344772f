import { assert, assertEquals, assertRejects } from "@std/assert";
import { CascadeError, type ErrorCode } from "../../core/errors.ts";
import type { Bytes, Connection, Listener } from "../../core/ports.ts";
import { DenoNetwork } from "../../io/network.ts";
import { TestCa } from "../support/certificates.ts";
import { withFolder } from "./helpers.ts";

const network = new DenoNetwork();

async function rejectsWith(code: ErrorCode, promise: Promise<unknown>): Promise<CascadeError> {
  const error = await assertRejects(() => promise, CascadeError);
  assertEquals(error.code, code, error.message);
  return error;
}

/** A listener whose connections come out one by one. */
async function open(
  address: string,
  listening: DenoNetwork = network,
): Promise<{ listener: Listener; next(): Promise<Connection> }> {
  const arrived: Connection[] = [];
  let wake = () => {};
  const listener = await listening.listen(address, (connection) => {
    arrived.push(connection);
    wake();
  });
  return {
    listener,
    async next() {
      while (arrived.length === 0) await new Promise<void>((resolve) => wake = resolve);
      return arrived.shift()!;
    },
  };
}

async function readExactly(connection: Connection, count: number): Promise<Bytes> {
  const bytes = new Uint8Array(count);
  for (let at = 0; at < count;) {
    const got = await connection.read(bytes.subarray(at));
    if (got === null) throw new Error(`ended after ${at} of ${count} bytes`);
    assert(got > 0);
    at += got;
  }
  return bytes;
}

const folder = Deno.makeTempDirSync({ prefix: "cascade-certs-" });
addEventListener("unload", () => Deno.removeSync(folder, { recursive: true }));
const ca = new TestCa(folder);

function networkOf(node: string): DenoNetwork {
  const identity = ca.issue("prod", node);
  return new DenoNetwork({ tls: { cluster: "prod", identity: () => identity } });
}

const [hq, dr1] = [networkOf("hq"), networkOf("dr1")];
const SCHEMES = [
  "tcp 127.0.0.1",
  "tcp [::1]",
  "unix",
  "tls 127.0.0.1",
  "tls [::1]",
  "quic 127.0.0.1",
  "quic [::1]",
];

/** Runs `body` over each transport, with both ends of a connection. */
function onEachTransport(
  name: string,
  body: (near: Connection, far: Connection) => Promise<void>,
): void {
  for (const scheme of SCHEMES) {
    Deno.test(`${name} (${scheme})`, () =>
      withFolder(async (folder) => {
        const address = scheme === "unix"
          ? `unix:${folder}/socket`
          : `${scheme.replace(" ", "://")}:0`;
        const { listener, next } = await open(address, hq);
        const near = await dr1.dial(listener.address, "hq");
        // Over QUIC the other end knows of a connection when something was written.
        await near.write(new Uint8Array([7]));
        const far = await next();
        assertEquals(await readExactly(far, 1), new Uint8Array([7]));
        try {
          await body(near, far);
        } finally {
          near.close();
          far.close();
          listener.close();
        }
      }));
  }
}

onEachTransport("bytes arrive whole and in order, both ways at once", async (near, far) => {
  const bytes = Uint8Array.from({ length: 5_000_000 }, (_, index) => index * 7 + (index >> 9));
  const [, , there, back] = await Promise.all([
    near.write(bytes),
    far.write(bytes),
    readExactly(far, bytes.length),
    readExactly(near, bytes.length),
  ]);
  assertEquals(there, bytes);
  assertEquals(back, bytes);
});

onEachTransport("the end of the stream reads as null", async (near, far) => {
  await near.write(new Uint8Array([1, 2, 3]));
  near.close();
  assertEquals(await readExactly(far, 3), new Uint8Array([1, 2, 3]));
  assertEquals(await far.read(new Uint8Array(9)), null);
});

onEachTransport("closing here fails what waits and all that follows", async (near, far) => {
  const read = rejectsWith("connection-lost", near.read(new Uint8Array(9)));
  // Nobody reads at the other end, so this cannot end by itself.
  const write = rejectsWith("connection-lost", near.write(new Uint8Array(50_000_000)));
  await far.write(new Uint8Array(0));
  near.close();
  near.close();
  await Promise.all([read, write]);
  await rejectsWith("connection-lost", near.read(new Uint8Array(9)));
  await rejectsWith("connection-lost", near.write(new Uint8Array(9)));
});

onEachTransport("writing to an end that is gone fails", async (near, far) => {
  far.close();
  const error = await rejectsWith(
    "connection-lost",
    (async () => {
      while (true) await near.write(new Uint8Array(1_000_000));
    })(),
  );
  assert(error.retryable);
});

Deno.test("a refused, unknown or silent peer is unreachable, and worth another try", async () => {
  const { listener } = await open("tcp://127.0.0.1:0");
  const { address } = listener;
  listener.close();
  for (const target of [address, "tcp://no-such-host.invalid:1", "unix:/nonexistent/socket"]) {
    const error = await rejectsWith("unreachable", network.dial(target));
    assert(error.retryable);
    assertEquals(error.where.address, target);
  }
});

Deno.test("a dial gives up after its time", async () => {
  // Nobody accepts here, so that its short queue fills and the next one is left without an answer.
  const full = Deno.listen({ hostname: "127.0.0.1", port: 0, tcpBacklog: 1 });
  const hasty = new DenoNetwork({ dialTimeoutMs: 100 });
  const queued: Connection[] = [];
  try {
    const error = await rejectsWith(
      "unreachable",
      (async () => {
        while (queued.length < 10) {
          queued.push(await hasty.dial(`tcp://127.0.0.1:${full.addr.port}`));
        }
      })(),
    );
    assert(error.message.includes("no answer within 0.1 s"), error.message);
  } finally {
    for (const connection of queued) connection.close();
    full.close();
  }
});

Deno.test("a host name is tried at all of its addresses", async () => {
  const { listener, next } = await open("tcp://127.0.0.1:0");
  const near = await network.dial(listener.address.replace("127.0.0.1", "localhost"));
  (await next()).close();
  near.close();
  listener.close();
});

Deno.test("a listener gives its real port, frees it on close, and takes it again at once", async () => {
  const { listener, next } = await open("tcp://127.0.0.1:0");
  assert(/^tcp:\/\/127\.0\.0\.1:[1-9]\d*$/.test(listener.address), listener.address);
  await rejectsWith("address-in-use", network.listen(listener.address, () => {}));
  const near = await network.dial(listener.address);
  const far = await next();
  // The side that closes first keeps the port in TIME_WAIT.
  far.close();
  assertEquals(await near.read(new Uint8Array(1)), null);
  near.close();
  listener.close();
  (await network.listen(listener.address, () => {})).close();
});

Deno.test("addresses that make no sense are refused, with the address", async () => {
  const bad = [
    "",
    "7420",
    "tcp://",
    "tcp://host",
    "tcp://host:",
    "tcp://host:65536",
    "tcp://ho st:1",
    "tcp://::1:7420",
    "tcp://host:1/path",
    "quic://host:1",
    "unix:relative",
    "unix:",
    "unix:/folder/",
    `unix:/${"x".repeat(107)}`,
  ];
  for (const address of bad) {
    assertEquals((await rejectsWith("bad-address", network.dial(address))).where, { address });
    await rejectsWith("bad-address", network.listen(address, () => {}));
  }
  await rejectsWith("bad-address", network.listen("tcp://192.0.2.1:0", () => {}));
  await rejectsWith("bad-address", network.listen("unix:/nonexistent/socket", () => {}));
});

Deno.test("a socket file is for owner and group, and goes when its listener closes", () =>
  withFolder(async (folder) => {
    const path = `${folder}/socket`;
    const listener = await network.listen(`unix:${path}`, () => {});
    assertEquals(listener.address, `unix:${path}`);
    assertEquals(Deno.lstatSync(path).mode! & 0o777, 0o660);
    await rejectsWith("address-in-use", network.listen(`unix:${path}`, () => {}));
    listener.close();
    await rejectsWith("unreachable", network.dial(`unix:${path}`));
    assertEquals([...Deno.readDirSync(folder)], []);
  }));

Deno.test("a listener that takes the place of one just closed keeps its file", () =>
  withFolder(async (folder) => {
    const address = `unix:${folder}/socket`;
    for (let round = 0; round < 3; round++) {
      const { listener, next } = await open(address);
      const near = await network.dial(address);
      (await next()).close();
      near.close();
      listener.close();
    }
    const listener = await network.listen(address, () => {});
    await new Promise((resolve) => setTimeout(resolve, 0));
    assert(Deno.lstatSync(`${folder}/socket`).isSocket);
    listener.close();
  }));

Deno.test("a socket file that a killed program left is replaced, any other file is not", () =>
  withFolder(async (folder) => {
    const path = `${folder}/socket`;
    const script = `Deno.listen({ transport: "unix", path: ${JSON.stringify(path)} });
      Deno.stdout.writeSync(new Uint8Array(1));
      setInterval(() => {}, 1000);`;
    const child = new Deno.Command(Deno.execPath(), {
      args: ["eval", script],
      stdout: "piped",
    }).spawn();
    await child.stdout.getReader().read();
    await rejectsWith("address-in-use", network.listen(`unix:${path}`, () => {}));
    child.kill("SIGKILL");
    await child.status;
    assert(Deno.lstatSync(path).isSocket);
    (await network.listen(`unix:${path}`, () => {})).close();

    // Written in the same turn, while the runtime still tidies up behind that listener.
    await Deno.writeTextFile(path, "precious");
    await rejectsWith("address-in-use", network.listen(`unix:${path}`, () => {}));
    assertEquals(await Deno.readTextFile(path), "precious");
  }));
