/**
 * A small NBD client, written from the protocol's text and sharing no code with the server: fixed
 * newstyle, one export, simple replies, any number of requests at once.
 *
 * @module
 */
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const OPTION_REPLY_MAGIC = 0x3e889045565a9n;
const OPT_GO = 7;
const REP_ACK = 1;
const REP_INFO = 3;

/** Commands of the transmission phase. */
export const COMMAND = { read: 0, write: 1, disconnect: 2, flush: 3, trim: 4, zero: 6 } as const;
/** The FUA flag of a command. */
export const FUA = 1;

/** An error number that the server answered with. */
export class NbdError extends Error {
  readonly errno: number;
  constructor(errno: number, command: number) {
    super(`errno ${errno} in answer to command ${command}`);
    this.errno = errno;
  }
}

interface Waiting {
  readonly command: number;
  readonly length: number;
  readonly done: (data: Uint8Array) => void;
  readonly fail: (error: Error) => void;
}

/** One connection in the transmission phase. */
export class NbdClient {
  readonly #connection: Deno.Conn;
  readonly #waiting = new Map<bigint, Waiting>();
  readonly #buffer = new Uint8Array(1 << 20);
  #have = 0;
  #at = 0;
  #nextCookie = 1n;
  #sending: Promise<unknown> = Promise.resolve();
  #broken: Error | null = null;
  sizeBytes = 0;

  private constructor(connection: Deno.Conn) {
    this.#connection = connection;
  }

  /** Connects to a Unix socket and enters the transmission phase of an export. */
  static async connect(path: string, exportName = "data"): Promise<NbdClient> {
    const client = new NbdClient(await Deno.connect({ transport: "unix", path }));
    try {
      await client.#negotiate(exportName);
    } catch (error) {
      client.close();
      throw error;
    }
    void client.#receive();
    return client;
  }

  read(offset: number, length: number): Promise<Uint8Array> {
    return this.#request(COMMAND.read, 0, offset, length);
  }

  write(offset: number, bytes: Uint8Array, flags = 0): Promise<Uint8Array> {
    return this.#request(COMMAND.write, flags, offset, bytes.length, bytes);
  }

  flush(): Promise<Uint8Array> {
    return this.#request(COMMAND.flush, 0, 0, 0);
  }

  zero(offset: number, length: number, flags = 0): Promise<Uint8Array> {
    return this.#request(COMMAND.zero, flags, offset, length);
  }

  trim(offset: number, length: number, flags = 0): Promise<Uint8Array> {
    return this.#request(COMMAND.trim, flags, offset, length);
  }

  /** Hangs up; what waits fails. */
  close(): void {
    this.#break(new Error("closed"));
  }

  #request(
    command: number,
    flags: number,
    offset: number,
    length: number,
    payload?: Uint8Array,
  ): Promise<Uint8Array> {
    if (this.#broken !== null) return Promise.reject(this.#broken);
    const cookie = this.#nextCookie++;
    const bytes = new Uint8Array(28 + (payload?.length ?? 0));
    const view = new DataView(bytes.buffer);
    view.setUint32(0, REQUEST_MAGIC);
    view.setUint16(4, flags);
    view.setUint16(6, command);
    view.setBigUint64(8, cookie);
    view.setBigUint64(16, BigInt(offset));
    view.setUint32(24, length);
    if (payload !== undefined) bytes.set(payload, 28);
    const answer = new Promise<Uint8Array>((done, fail) => {
      this.#waiting.set(cookie, { command, length, done, fail });
    });
    this.#sending = this.#sending.then(() => this.#send(bytes)).catch((error) =>
      this.#break(error)
    );
    return answer;
  }

  async #negotiate(exportName: string): Promise<void> {
    const hello = await this.#take(18);
    if (new TextDecoder().decode(hello.subarray(0, 16)) !== "NBDMAGICIHAVEOPT") {
      throw new Error("no fixed newstyle greeting");
    }
    const name = new TextEncoder().encode(exportName);
    const bytes = new Uint8Array(4 + 16 + 6 + name.length);
    const view = new DataView(bytes.buffer);
    view.setUint32(0, 3);
    bytes.set(new TextEncoder().encode("IHAVEOPT"), 4);
    view.setUint32(12, OPT_GO);
    view.setUint32(16, 6 + name.length);
    view.setUint32(20, name.length);
    bytes.set(name, 24);
    await this.#send(bytes);
    while (true) {
      const head = await this.#take(20);
      const reply = new DataView(head.buffer, head.byteOffset);
      if (reply.getBigUint64(0) !== OPTION_REPLY_MAGIC) throw new Error("no option reply");
      const type = reply.getUint32(12);
      const body = await this.#take(reply.getUint32(16));
      if (type === REP_ACK) return;
      if (type !== REP_INFO) {
        throw new Error(`the server refused the export: 0x${type.toString(16)}`);
      }
      const info = new DataView(body.buffer, body.byteOffset);
      if (info.getUint16(0) === 0) this.sizeBytes = Number(info.getBigUint64(2));
    }
  }

  async #receive(): Promise<void> {
    try {
      while (true) {
        const head = await this.#take(16);
        const view = new DataView(head.buffer, head.byteOffset);
        if (view.getUint32(0) !== SIMPLE_REPLY_MAGIC) throw new Error("no simple reply");
        const errno = view.getUint32(4);
        const cookie = view.getBigUint64(8);
        const waiting = this.#waiting.get(cookie);
        if (waiting === undefined) throw new Error(`an answer to nothing: ${cookie}`);
        const data = waiting.command === COMMAND.read && errno === 0
          ? await this.#take(waiting.length)
          : new Uint8Array(0);
        this.#waiting.delete(cookie);
        if (errno === 0) waiting.done(data);
        else waiting.fail(new NbdError(errno, waiting.command));
      }
    } catch (error) {
      this.#break(error instanceof Error ? error : new Error(String(error)));
    }
  }

  async #send(bytes: Uint8Array): Promise<void> {
    let at = 0;
    while (at < bytes.length) at += await this.#connection.write(bytes.subarray(at));
  }

  /** Exactly `length` bytes, copied. */
  async #take(length: number): Promise<Uint8Array<ArrayBuffer>> {
    const out = new Uint8Array(length);
    let filled = 0;
    while (true) {
      const count = Math.min(length - filled, this.#have - this.#at);
      out.set(this.#buffer.subarray(this.#at, this.#at + count), filled);
      this.#at += count;
      filled += count;
      if (filled === length) return out;
      const got = await this.#connection.read(this.#buffer);
      if (got === null) throw new Error("the server hung up");
      this.#at = 0;
      this.#have = got;
    }
  }

  #break(error: Error): void {
    if (this.#broken !== null) return;
    this.#broken = error;
    try {
      this.#connection.close();
    } catch {
      // It broke first.
    }
    for (const waiting of this.#waiting.values()) waiting.fail(error);
    this.#waiting.clear();
  }
}
