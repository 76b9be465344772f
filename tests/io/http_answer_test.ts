import { assert, assertEquals, assertRejects } from "@std/assert";
import { askHttp, type HttpStream } from "../../io/http_answer.ts";

/** Gives `text` in pieces that end at each of `cuts`, then the end. */
class Answering implements HttpStream {
  asked = "";
  readonly #pieces: Uint8Array[];

  constructor(text: string, ...cuts: number[]) {
    const bytes = new TextEncoder().encode(text);
    const ends = [...cuts, bytes.length];
    this.#pieces = ends.map((end, i) => bytes.subarray(i === 0 ? 0 : ends[i - 1], end));
  }

  read(into: Uint8Array): Promise<number | null> {
    let piece = this.#pieces.shift();
    while (piece?.length === 0) piece = this.#pieces.shift();
    if (piece === undefined) return Promise.resolve(null);
    into.set(piece.subarray(0, into.length));
    if (piece.length > into.length) this.#pieces.unshift(piece.subarray(into.length));
    return Promise.resolve(Math.min(piece.length, into.length));
  }

  /** As little at a time as a socket may take. */
  write(bytes: Uint8Array): Promise<number> {
    this.asked += new TextDecoder().decode(bytes.subarray(0, 7));
    return Promise.resolve(Math.min(bytes.length, 7));
  }
}

async function ask(stream: HttpStream) {
  const { status, headers, body } = await askHttp(stream, {
    method: "POST",
    path: "/sync?link=a",
    headers: { "cascade-control": "1" },
  });
  const decoder = new TextDecoder();
  let text = "";
  for await (const piece of body) text += decoder.decode(piece, { stream: true });
  return { status, headers: Object.fromEntries(headers), text };
}

const HEAD = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n";
const BODY = "a body of späte\r\nletters";
const BYTES = new TextEncoder().encode(BODY).length;

const ANSWERS = {
  "of a known length": `${HEAD}Content-Length: ${BYTES}\r\n\r\n${BODY}and what nobody asked for`,
  "until the end of the connection": `${HEAD}\r\n${BODY}`,
  "in chunks": `${HEAD}Transfer-Encoding: chunked\r\n\r\n6\r\na body\r\n` +
    `${(BYTES - 6).toString(16)};why=not\r\n${BODY.slice(6)}\r\n0\r\ntrailer: none\r\n\r\n`,
  "behind an interim one": `HTTP/1.1 103 Early\r\nlink: x\r\n\r\n${HEAD}\r\n${BODY}`,
  "with bare line ends": `${HEAD}Content-Length: ${BYTES}\r\n\r\n`.replaceAll("\r", "") + BODY,
};

for (const [name, text] of Object.entries(ANSWERS)) {
  Deno.test(`an answer ${name} is read, wherever it is split`, async () => {
    const bytes = new TextEncoder().encode(text).length;
    for (let cut = 0; cut <= bytes; cut++) {
      const answer = await ask(new Answering(text, cut));
      assertEquals([answer.status, answer.text], [200, BODY], `split at ${cut}`);
      assertEquals(answer.headers["content-type"], "text/plain");
    }
    const each = Array.from({ length: bytes }, (_, i) => i);
    assertEquals((await ask(new Answering(text, ...each))).text, BODY);
  });
}

Deno.test("an answer without a body has none, whatever its headers say", async () => {
  const text = "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\nhello";
  assertEquals(await ask(new Answering(text)), {
    status: 204,
    headers: { "content-length": "5" },
    text: "",
  });
});

Deno.test("the request is whole, however little the socket takes at a time", async () => {
  const stream = new Answering("HTTP/1.1 204 No Content\r\n\r\n");
  await ask(stream);
  const lines = stream.asked.split("\r\n");
  assertEquals(lines[0], "POST /sync?link=a HTTP/1.1");
  assertEquals(lines.slice(-2), ["", ""]);
  assert(lines.includes("host: localhost") && lines.includes("cascade-control: 1"));
  assert(lines.includes("content-length: 0") && lines.includes("connection: close"));
});

const WRONG = {
  "": "closed before the end",
  "HTTP/1.1 200 OK\r\n": "closed before the end",
  "SSH-2.0-OpenSSH_9.6\r\n": "no HTTP",
  "HTTP/1.1 999 What\r\n\r\n": "no HTTP",
  "HTTP/1.1 200 OK\r\nno colon\r\n\r\n": "a header that is none",
  [`HTTP/1.1 200 OK\r\nx: ${"x".repeat(70_000)}\r\n\r\n`]: "a line without an end",
  [`HTTP/1.1 200 OK\r\n${"x: y\r\n".repeat(20_000)}\r\n`]: "a line without an end",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nx": "coded as gzip",
  "HTTP/1.1 200 OK\r\ncontent-length: many\r\n\r\nx": "a length that is none",
  "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nx": "closed before the end",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n": "a chunk without a length",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nabcd\r\n": "a torn chunk",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab": "closed before the end",
  "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nab\r\n": "closed before the end",
};

for (const [text, reason] of Object.entries(WRONG)) {
  Deno.test(`an answer that is ${reason}: ${JSON.stringify(text.slice(0, 70))}`, async () => {
    await assertRejects(() => ask(new Answering(text)), Error, reason);
  });
}
