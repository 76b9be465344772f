import { assertEquals, assertRejects } from "@std/assert";
import { CascadeError, type ErrorCode } from "../../../core/errors.ts";
import { NbdServer } from "../../../core/nbd/server.ts";
import { NbdClient } from "../../../core/nbd_client/nbd_client.ts";
import type { Connection } from "../../../core/ports.ts";
import { DenoClock } from "../../../io/clock.ts";
import { MemoryBackend } from "../nbd/memory_backend.ts";
import { ListJournal, PipeNetwork } from "../nbd/pipe.ts";

const SIZE = 8 * 1024 * 1024;
const clock = new DenoClock();
const place = { address: "here", exportName: "data", tls: null };

async function served(
  body: (client: NbdClient, backend: MemoryBackend) => Promise<void>,
  readOnly = false,
): Promise<void> {
  const network = new PipeNetwork();
  const backend = new MemoryBackend(SIZE, { readOnly });
  const server = new NbdServer({ network, clock, journal: new ListJournal(), exports: [backend] });
  await server.listen("here");
  const client = await NbdClient.connect({ network, clock }, place);
  try {
    await body(client, backend);
  } finally {
    await client.close();
    await server.stop();
  }
}

Deno.test("what is written, zeroed and read through the client is what the server holds", async () => {
  await served(async (client, backend) => {
    assertEquals(client.export.sizeBytes, SIZE);
    const block = new Uint8Array(100_000).fill(3);
    await Promise.all([client.write(block, 4096), client.write(block, 1 << 20)]);
    await client.zero(1 << 20, 4096);
    await client.flush();
    const into = new Uint8Array(100_000);
    await client.read(into, (1 << 20) + 4096 - 10);
    assertEquals(into, backend.bytes.slice((1 << 20) + 4086, (1 << 20) + 104_086));
    const extents = await client.blockStatus(0, 8192);
    assertEquals(extents, [
      { start: 0, end: 4096, zero: true },
      { start: 4096, end: 8192, zero: false },
    ]);
  });
});

Deno.test("hundreds of requests at once stay within bounds and all are answered", async () => {
  await served(async (client, backend) => {
    const blocks = Array.from({ length: 400 }, (_, i) => new Uint8Array(65536).fill(i % 250 + 1));
    await Promise.all(blocks.map((block, i) => client.write(block, (i % 128) * 65536)));
    const all = await Promise.all(Array.from({ length: 128 }, async (_, i) => {
      const into = new Uint8Array(65536);
      await client.read(into, i * 65536);
      return into;
    }));
    all.forEach((into, i) => assertEquals(into, backend.bytes.slice(i * 65536, (i + 1) * 65536)));
  });
});

Deno.test("an error of the server is the error of that request alone", async () => {
  await served(async (client, backend) => {
    backend.badOffset = 5000;
    await assertRejects(() => client.read(new Uint8Array(8192), 0), CascadeError, "READ with EIO");
    await client.read(new Uint8Array(4096), 0);
  });
});

Deno.test("an export that is not there is refused in words", async () => {
  const network = new PipeNetwork();
  const server = new NbdServer({ network, clock, journal: new ListJournal(), exports: [] });
  await server.listen("here");
  const error = await assertRejects(
    () => NbdClient.connect({ network, clock }, place),
    CascadeError,
  );
  assertEquals(error.code, "refused");
  await server.stop();
});

/** A server that says what a test tells it to, whatever it is asked. */
async function hostile(bytes: readonly (Uint8Array<ArrayBuffer>)[]): Promise<CascadeError> {
  const network = new PipeNetwork();
  await network.listen("here", (connection) => void answer(connection, bytes));
  return await assertRejects(async () => {
    const client = await NbdClient.connect({ network, clock }, place);
    try {
      await client.read(new Uint8Array(512), 0);
    } finally {
      await client.close();
    }
  }, CascadeError);
}

async function answer(connection: Connection, bytes: readonly Uint8Array<ArrayBuffer>[]) {
  try {
    for (const each of bytes) await connection.write(each);
    const into = new Uint8Array(4096);
    // Hears it out up to the first request, so that all that was written counts, and hangs up.
    for (let heard = ""; !heard.includes("25609513");) {
      const count = await connection.read(into);
      if (count === null) break;
      heard += Array.from(into.subarray(0, count), (byte) => byte.toString(16).padStart(2, "0"))
        .join("");
    }
  } catch {
    // The client hung up first, as it should.
  }
  connection.close();
}

function hex(text: string): Uint8Array<ArrayBuffer> {
  const clean = text.replace(/\s/g, "");
  return Uint8Array.from(
    { length: clean.length / 2 },
    (_, i) => parseInt(clean.substr(2 * i, 2), 16),
  );
}

const GREETING = hex("4e42444d41474943 49484156454f5054 0003");
const REPLY = "0003e889045565a9";
const NO_STRUCTURED = hex(`${REPLY} 00000008 80000001 00000000`);
const STRUCTURED = hex(`${REPLY} 00000008 00000001 00000000`);
const NO_CONTEXT = hex(`${REPLY} 0000000a 00000001 00000000`);
const GO = hex(
  `${REPLY} 00000007 00000003 0000000c 0000 0000000000001000 0001 ${REPLY} 00000007 00000001 00000000`,
);
const HANDLE = "0000000000000001";

Deno.test("a server that breaks the protocol is left, with words", async () => {
  const simple = [GREETING, NO_STRUCTURED, GO];
  const structured = [GREETING, STRUCTURED, NO_CONTEXT, GO];
  const chunk = (flags: string, type: string, length: string, payload = "") =>
    hex(`668e33ef ${flags} ${type} ${HANDLE} ${length} ${payload}`);
  const cases: [what: string, bytes: Uint8Array<ArrayBuffer>[], code: ErrorCode][] = [
    ["no NBD", [hex("48".repeat(18))], "protocol"],
    ["oldstyle", [hex("4e42444d41474943 00420281861253 00000000")], "protocol"],
    ["a huge reply", [GREETING, hex(`${REPLY} 00000008 00000001 ffffffff`)], "protocol"],
    [
      "a reply to another option",
      [GREETING, hex(`${REPLY} 00000001 00000001 00000000`)],
      "protocol",
    ],
    ["no size", [GREETING, NO_STRUCTURED, hex(`${REPLY} 00000007 00000001 00000000`)], "protocol"],
    ["an answer to nothing", [...simple, hex("67446698 00000000 00000000000000ff")], "protocol"],
    ["a wrong magic", [...simple, hex("12345678")], "protocol"],
    ["a chunk that was not agreed on", [...simple, chunk("0001", "0000", "00000000")], "protocol"],
    ["a simple reply to a READ", [...structured, hex(`67446698 00000000 ${HANDLE}`)], "protocol"],
    ["no data", [...structured, chunk("0001", "0000", "00000000")], "protocol"],
    [
      "data beyond the request",
      [...structured, chunk("0001", "0001", "00000010", "00000000000001fc aabbccddaabbccdd")],
      "protocol",
    ],
    [
      "data twice",
      [
        ...structured,
        chunk("0000", "0002", "0000000c", "0000000000000000 00000100"),
        chunk("0001", "0002", "0000000c", "0000000000000080 00000100"),
      ],
      "protocol",
    ],
    ["a huge chunk", [...structured, chunk("0001", "8001", "ffffffff")], "protocol"],
    [
      "a status",
      [...structured, chunk("0001", "0005", "0000000c", "00000001 00000200 00000000")],
      "protocol",
    ],
    ["the end", simple, "connection-lost"],
  ];
  for (const [what, bytes, code] of cases) {
    const error = await hostile(bytes);
    assertEquals([what, error.code], [what, code], error.message);
  }
});
