/**
 * One HTTP/1.1 request and its answer, over a connection of its own: as much of it as the admin side of a node,
 * or a proxy before one, speaks.
 *
 * (The runtime's `fetch` takes 25 ms to be there for the first time; this takes none, and a command asks once.)
 *
 * @module
 */

/** What an answer comes over, such as a `Deno.Conn`. */
export interface HttpStream {
  read(into: Uint8Array): Promise<number | null>;
  write(bytes: Uint8Array): Promise<number>;
}

/** What is asked. Header names are in lower case. */
export interface HttpRequest {
  readonly method: "GET" | "POST";
  /** With the query. */
  readonly path: string;
  readonly headers: Readonly<Record<string, string>>;
}

/** An answer that has begun. */
export interface HttpAnswer {
  readonly status: number;
  /** By name, in lower case. */
  readonly headers: ReadonlyMap<string, string>;
  /** Each piece holds until the next is asked for. Throws when the connection ends before the body does. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Our own heads have a few hundred bytes. */
const HEAD_BYTES_MAX = 64 * 1024;
/** A line before a chunk: its length, and what nobody uses. */
const LINE_BYTES_MAX = 1024;
const BUFFER_BYTES = 256 * 1024;

/** Asks, and returns once the head of the answer is there. Throws what `stream` throws, and when it is no HTTP. */
export async function askHttp(stream: HttpStream, request: HttpRequest): Promise<HttpAnswer> {
  const headers = { host: "localhost", connection: "close", ...request.headers };
  // None of our requests has a body; some servers want to be told so.
  const length = request.method === "POST" ? "content-length: 0\r\n" : "";
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`);
  await writeAll(
    stream,
    `${request.method} ${request.path} HTTP/1.1\r\n${lines.join("")}${length}\r\n`,
  );
  const input = new Input(stream);
  for (;;) {
    const { status, headers } = await readHead(input);
    // The real answer is still to come behind an interim one.
    if (status < 200) continue;
    const hasBody = status !== 204 && status !== 304;
    return { status, headers, body: hasBody ? bodyOf(input, headers) : none() };
  }
}

async function writeAll(stream: HttpStream, text: string): Promise<void> {
  let rest = new TextEncoder().encode(text);
  while (rest.length > 0) rest = rest.subarray(await stream.write(rest));
}

async function readHead(input: Input): Promise<{ status: number; headers: Map<string, string> }> {
  let left = HEAD_BYTES_MAX;
  const line = async () => {
    const text = await input.line(left);
    left -= text.length;
    return text;
  };
  const first = await line();
  const status = /^HTTP\/1\.[01] ([1-5]\d\d)(?: |$)/.exec(first)?.[1];
  if (status === undefined) throw new Error("the answer is no HTTP");
  const headers = new Map<string, string>();
  for (let text = await line(); text !== ""; text = await line()) {
    const colon = text.indexOf(":");
    if (colon < 1) throw new Error("the answer has a header that is none");
    headers.set(text.slice(0, colon).toLowerCase(), text.slice(colon + 1).trim());
  }
  return { status: Number(status), headers };
}

function bodyOf(input: Input, headers: ReadonlyMap<string, string>): AsyncIterable<Uint8Array> {
  const coding = headers.get("transfer-encoding");
  if (coding?.toLowerCase() === "chunked") return chunks(input);
  if (coding !== undefined) throw new Error(`the answer is coded as ${coding}`);
  const length = headers.get("content-length");
  if (length === undefined) return untilClose(input);
  if (!/^\d{1,15}$/.test(length)) throw new Error("the answer has a length that is none");
  return exactly(input, Number(length));
}

async function* none(): AsyncGenerator<Uint8Array> {}

async function* untilClose(input: Input): AsyncGenerator<Uint8Array> {
  for (;;) {
    const bytes = await input.some(BUFFER_BYTES);
    if (bytes === null) return;
    yield bytes;
  }
}

async function* exactly(input: Input, length: number): AsyncGenerator<Uint8Array> {
  for (let left = length; left > 0;) {
    const bytes = await input.some(left);
    if (bytes === null) throw brokenOff();
    left -= bytes.length;
    yield bytes;
  }
}

async function* chunks(input: Input): AsyncGenerator<Uint8Array> {
  for (;;) {
    const digits = /^([\da-f]{1,12})\s*(?:;|$)/i.exec(await input.line(LINE_BYTES_MAX))?.[1];
    if (digits === undefined) throw new Error("the answer has a chunk without a length");
    const length = Number.parseInt(digits, 16);
    if (length === 0) break;
    yield* exactly(input, length);
    if (await input.line(LINE_BYTES_MAX) !== "") throw new Error("the answer has a torn chunk");
  }
  // Trailers, which nobody uses.
  let left = HEAD_BYTES_MAX;
  for (let text = await input.line(left); text !== ""; text = await input.line(left)) {
    left -= text.length;
  }
}

function brokenOff(): Error {
  return new Error("the connection was closed before the end of the answer");
}

/** What has come and was not taken yet. */
class Input {
  readonly #stream: HttpStream;
  readonly #buffer = new Uint8Array(BUFFER_BYTES);
  #start = 0;
  #end = 0;

  constructor(stream: HttpStream) {
    this.#stream = stream;
  }

  /** The next line, without its end. Throws when it has more than `bytesMax`. */
  async line(bytesMax: number): Promise<string> {
    let looked = this.#start;
    for (;;) {
      const at = this.#buffer.subarray(0, this.#end).indexOf(LF, looked);
      const length = (at < 0 ? this.#end : at) - this.#start;
      if (length > bytesMax) throw new Error("the answer has a line without an end");
      if (at >= 0) {
        const line = latin1(this.#buffer.subarray(this.#start, at));
        this.#start = at + 1;
        return line.endsWith("\r") ? line.slice(0, -1) : line;
      }
      looked = this.#end;
      if (this.#start > 0) {
        this.#buffer.copyWithin(0, this.#start, this.#end);
        looked -= this.#start;
        this.#end -= this.#start;
        this.#start = 0;
      }
      if (!await this.#fill()) throw brokenOff();
    }
  }

  /** What is there, or comes next, up to `bytesMax`; null at the end. */
  async some(bytesMax: number): Promise<Uint8Array | null> {
    if (this.#start === this.#end) {
      this.#start = this.#end = 0;
      if (!await this.#fill()) return null;
    }
    const end = Math.min(this.#end, this.#start + bytesMax);
    const bytes = this.#buffer.subarray(this.#start, end);
    this.#start = end;
    return bytes;
  }

  async #fill(): Promise<boolean> {
    const count = await this.#stream.read(this.#buffer.subarray(this.#end));
    this.#end += count ?? 0;
    return count !== null;
  }
}

const LF = 10;

function latin1(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes);
}
