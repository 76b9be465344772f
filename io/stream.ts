/**
 * What TCP and Unix sockets share on Deno: a connection, and a loop that accepts.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { Bytes, Connection, Journal } from "../core/ports.ts";

/** How long accepting rests after it failed (no file descriptors left, say). */
const ACCEPT_PAUSE_MS = 100;

/** A {@linkcode Connection} over a socket of the runtime. */
export class StreamConnection implements Connection {
  readonly remote: string;
  readonly transport: string;
  /** Plain streams have nothing that only their two ends know, */
  readonly channelBinding = null;
  /** and show no certificate. */
  readonly certifiedNames = null;
  readonly #socket: Deno.Conn;
  #closed = false;

  constructor(socket: Deno.Conn, transport: "tcp" | "unix", remote: string) {
    this.#socket = socket;
    this.transport = transport;
    this.remote = remote;
  }

  async read(into: Bytes): Promise<number | null> {
    try {
      return await this.#socket.read(into);
    } catch (error) {
      throw this.#lost(error);
    }
  }

  async write(bytes: Bytes): Promise<void> {
    try {
      let done = await this.#socket.write(bytes);
      while (done < bytes.length) done += await this.#socket.write(bytes.subarray(done));
    } catch (error) {
      throw this.#lost(error);
    }
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    try {
      this.#socket.close();
    } catch {
      // The runtime had closed it already, which is all that was wanted.
    }
  }

  #lost(error: unknown): CascadeError {
    return new CascadeError(
      "connection-lost",
      this.#closed ? "the connection was closed here" : `the connection broke: ${reasonOf(error)}`,
      { where: { peer: this.remote }, retryable: true, cause: error },
    );
  }
}

/**
 * Accepts until the listener is closed. A failure to accept is told once in a row, and accepting goes
 * on after a pause: nothing that a client does may end it.
 */
export async function acceptLoop(
  listener: Deno.Listener,
  address: string,
  journal: Journal | null,
  accepted: (socket: Deno.Conn) => void,
): Promise<void> {
  let failing = false;
  while (true) {
    let socket: Deno.Conn;
    try {
      socket = await listener.accept();
    } catch (error) {
      // Closing the listener makes the pending accept fail in this way.
      if (error instanceof Deno.errors.BadResource) return;
      if (!failing) {
        journal?.write("warn", "cannot accept connections", { address, reason: reasonOf(error) });
      }
      failing = true;
      await new Promise((resolve) => setTimeout(resolve, ACCEPT_PAUSE_MS));
      continue;
    }
    failing = false;
    accepted(socket);
  }
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** An `unreachable` error for a dial that failed. */
export function unreachableError(address: string, error: unknown): CascadeError {
  return new CascadeError("unreachable", `nobody answers: ${reasonOf(error)}`, {
    where: { address },
    retryable: true,
    cause: error,
  });
}

/** The error for an address that cannot be listened on. */
export function listenError(address: string, error: unknown): CascadeError {
  const inUse = error instanceof Deno.errors.AddrInUse;
  return new CascadeError(
    inUse ? "address-in-use" : "bad-address",
    `cannot listen: ${reasonOf(error)}`,
    {
      where: { address },
      hint: inUse
        ? "Stop the program that listens there, or choose another address."
        : "Use an address of this machine that this user may listen on.",
      retryable: inUse,
      cause: error,
    },
  );
}
