/**
 * A small NBD client: enough to put a real load on an export through the real protocol, and to
 * live through a restart of the server. What was sent and not answered is sent again after a
 * reconnect, in order, as kernel and QEMU do.
 *
 * Protocol: NetworkBlockDevice/nbd, doc/proto.md (fixed newstyle, NBD_OPT_GO, simple replies).
 *
 * @module
 */
import { delay } from "@std/async/delay";

const OPTION_MAGIC = 0x49484156454f5054n;
const REQUEST_MAGIC = 0x25609513;
const SIMPLE_REPLY_MAGIC = 0x67446698;
const OPT_GO = 7;
const REP_ACK = 1;
const CLIENT_FLAGS = 3;
const RECONNECT_MS = 50;

const READ = 0;
const WRITE = 1;
const FLUSH = 3;

interface Waiting {
  readonly request: Uint8Array;
  readonly into: Uint8Array<ArrayBuffer> | null;
  readonly done: () => void;
  readonly failed: (error: Error) => void;
}

/** One connection to one export over a Unix socket, kept alive for `reconnectMs`. */
export class NbdClient {
  readonly #path: string;
  readonly #exportName: string;
  readonly #reconnectMs: number;
  readonly #waiting = new Map<bigint, Waiting>();
  #connection: Deno.UnixConn | null = null;
  #sending: Promise<void> = Promise.resolve();
  #nextHandle = 1n;
  #closed = false;
  /** How often the connection was lost and made again. */
  reconnects = 0;
  sizeBytes = 0;

  private constructor(path: string, exportName: string, reconnectMs: number) {
    this.#path = path;
    this.#exportName = exportName;
    this.#reconnectMs = reconnectMs;
  }

  /** Connects to `exportName` at the Unix socket `path`. Throws when that fails for too long. */
  static async connect(path: string, exportName: string, reconnectMs = 10_000): Promise<NbdClient> {
    const client = new NbdClient(path, exportName, reconnectMs);
    await client.#connect();
    return client;
  }

  async #connect(): Promise<void> {
    const deadline = performance.now() + this.#reconnectMs;
    for (;;) {
      try {
        const connection = await Deno.connect({ transport: "unix", path: this.#path });
        await this.#negotiate(connection);
        this.#connection = connection;
        this.#receive(connection);
        return;
      } catch (error) {
        if (performance.now() > deadline || this.#closed) throw error;
        await delay(RECONNECT_MS);
      }
    }
  }

  async #negotiate(connection: Deno.UnixConn): Promise<void> {
    await readFull(connection, new Uint8Array(18));
    const name = new TextEncoder().encode(this.#exportName);
    const hello = new Uint8Array(4 + 16 + 4 + name.length + 2);
    const view = new DataView(hello.buffer);
    view.setUint32(0, CLIENT_FLAGS);
    view.setBigUint64(4, OPTION_MAGIC);
    view.setUint32(12, OPT_GO);
    view.setUint32(16, 4 + name.length + 2);
    view.setUint32(20, name.length);
    hello.set(name, 24);
    await writeFull(connection, hello);
    for (;;) {
      const head = await readFull(connection, new Uint8Array(20));
      const reply = new DataView(head.buffer);
      const type = reply.getUint32(12);
      const body = await readFull(connection, new Uint8Array(reply.getUint32(16)));
      if (type === REP_ACK) return;
      if (type >= 0x8000_0000) throw new Error(`the export was refused (NBD reply ${type})`);
      const info = new DataView(body.buffer);
      if (info.getUint16(0) === 0) this.sizeBytes = Number(info.getBigUint64(2));
    }
  }

  async #receive(connection: Deno.UnixConn): Promise<void> {
    const head = new Uint8Array(16);
    const view = new DataView(head.buffer);
    try {
      for (;;) {
        await readFull(connection, head);
        if (view.getUint32(0) !== SIMPLE_REPLY_MAGIC) throw new Error("no NBD reply");
        const waiting = this.#waiting.get(view.getBigUint64(8));
        if (waiting === undefined) throw new Error("a reply that nobody asked for");
        const code = view.getUint32(4);
        if (code === 0 && waiting.into !== null) await readFull(connection, waiting.into);
        this.#waiting.delete(view.getBigUint64(8));
        if (code === 0) waiting.done();
        else waiting.failed(new Error(`the server answered error ${code}`));
      }
    } catch (error) {
      if (this.#closed) return;
      connection.close();
      await this.#reconnect(error);
    }
  }

  async #reconnect(cause: unknown): Promise<void> {
    this.reconnects++;
    this.#connection = null;
    try {
      await this.#connect();
    } catch {
      const error = new Error("the server did not come back", { cause });
      for (const waiting of this.#waiting.values()) waiting.failed(error);
      this.#waiting.clear();
      return;
    }
    for (const waiting of [...this.#waiting.values()]) this.#send(waiting.request);
  }

  #send(request: Uint8Array): void {
    this.#sending = this.#sending.then(async () => {
      if (this.#connection !== null) await writeFull(this.#connection, request);
    }).catch(() => {/* the reader notices the loss and sends again */});
  }

  #ask(
    type: number,
    offset: number,
    length: number,
    payload: Uint8Array | null,
    into: Uint8Array<ArrayBuffer> | null,
  ) {
    const handle = this.#nextHandle++;
    const request = new Uint8Array(28 + (payload?.length ?? 0));
    const view = new DataView(request.buffer);
    view.setUint32(0, REQUEST_MAGIC);
    view.setUint16(6, type);
    view.setBigUint64(8, handle);
    view.setBigUint64(16, BigInt(offset));
    view.setUint32(24, length);
    if (payload !== null) request.set(payload, 28);
    return new Promise<void>((done, failed) => {
      this.#waiting.set(handle, { request, into, done, failed });
      this.#send(request);
    });
  }

  write(payload: Uint8Array, offset: number): Promise<void> {
    return this.#ask(WRITE, offset, payload.length, payload, null);
  }

  read(into: Uint8Array<ArrayBuffer>, offset: number): Promise<void> {
    return this.#ask(READ, offset, into.length, null, into);
  }

  flush(): Promise<void> {
    return this.#ask(FLUSH, 0, 0, null, null);
  }

  /** Ends the connection; what is unanswered fails. */
  close(): void {
    this.#closed = true;
    this.#connection?.close();
    for (const waiting of this.#waiting.values()) waiting.failed(new Error("the client has left"));
    this.#waiting.clear();
  }
}

async function readFull(
  connection: Deno.UnixConn,
  into: Uint8Array<ArrayBuffer>,
): Promise<Uint8Array<ArrayBuffer>> {
  for (let at = 0; at < into.length;) {
    const count = await connection.read(into.subarray(at));
    if (count === null) throw new Error("the server hung up");
    at += count;
  }
  return into;
}

async function writeFull(connection: Deno.UnixConn, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await connection.write(bytes.subarray(at));
}
