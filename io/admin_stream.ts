/**
 * A connection to the admin side of a node.
 *
 * @module
 */
import { parseAdminAddress } from "./address.ts";
import type { HttpStream } from "./http_answer.ts";

/** No connection was made: whoever was to be asked never heard of it. */
export class NotConnected extends Error {}

/** A connection that a signal breaks off: whatever it does then fails with the reason of the signal. */
export class AdminStream implements HttpStream {
  readonly #connection: Deno.Conn;
  readonly #signal: AbortSignal;
  #isOpen = true;
  readonly #abort = () => this.close();

  private constructor(connection: Deno.Conn, signal: AbortSignal) {
    this.#connection = connection;
    this.#signal = signal;
    signal.addEventListener("abort", this.#abort);
    if (signal.aborted) this.close();
  }

  /** Throws {@linkcode NotConnected}, the reason of the signal, `bad-address`. */
  static async connect(address: string, signal: AbortSignal): Promise<AdminStream> {
    const parsed = parseAdminAddress(address);
    try {
      const connection = parsed.scheme === "unix"
        ? await Deno.connect({ transport: "unix", path: parsed.path })
        : await Deno.connect({ hostname: parsed.host, port: parsed.port, signal });
      return new AdminStream(connection, signal);
    } catch (cause) {
      if (signal.aborted) throw signal.reason;
      throw new NotConnected(cause instanceof Error ? cause.message : String(cause), { cause });
    }
  }

  read(into: Uint8Array): Promise<number | null> {
    return this.#connection.read(into).catch((error) => this.#failed(error));
  }

  write(bytes: Uint8Array): Promise<number> {
    return this.#connection.write(bytes).catch((error) => this.#failed(error));
  }

  #failed(error: unknown): never {
    throw this.#signal.aborted ? this.#signal.reason : error;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#signal.removeEventListener("abort", this.#abort);
    this.#connection.close();
  }
}
