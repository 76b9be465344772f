/**
 * Streams by address on Deno: the {@linkcode Network} port. A transport is a file beside this one.
 *
 * @module
 */
import { unreachable } from "../core/assert.ts";
import { isCascadeError } from "../core/errors.ts";
import type { Connection, Journal, Listener, Network } from "../core/ports.ts";
import { parseAddress } from "./address.ts";
import { dialTcp, listenTcp } from "./tcp.ts";
import { dialUnix, listenUnix } from "./unix.ts";

/** How long a dial may take before it counts as unreachable. */
export const DIAL_TIMEOUT_MS = 10_000;

/** What {@linkcode DenoNetwork} can be told. */
export interface NetworkOptions {
  readonly dialTimeoutMs?: number;
  /** Where it tells that it cannot accept connections. */
  readonly journal?: Journal;
}

/** The real network. */
export class DenoNetwork implements Network {
  readonly #dialTimeoutMs: number;
  readonly #journal: Journal | null;

  constructor(options: NetworkOptions = {}) {
    this.#dialTimeoutMs = options.dialTimeoutMs ?? DIAL_TIMEOUT_MS;
    this.#journal = options.journal ?? null;
  }

  async dial(address: string): Promise<Connection> {
    const parsed = parseAddress(address);
    switch (parsed.scheme) {
      case "tcp":
        return await dialTcp({ ...parsed, timeoutMs: this.#dialTimeoutMs });
      case "unix":
        return await dialUnix(parsed.path);
      default:
        return unreachable(parsed);
    }
  }

  async listen(address: string, accept: (connection: Connection) => void): Promise<Listener> {
    try {
      return await this.#listen(address, accept);
    } catch (error) {
      if (!isCascadeError(error, "address-in-use")) throw error;
      // A listener of ours that was closed just now lets go of its address a turn later.
      await new Promise((resolve) => setTimeout(resolve, 0));
      return await this.#listen(address, accept);
    }
  }

  async #listen(address: string, accept: (connection: Connection) => void): Promise<Listener> {
    const parsed = parseAddress(address);
    switch (parsed.scheme) {
      case "tcp":
        return listenTcp(parsed.host, parsed.port, accept, this.#journal);
      case "unix":
        return await listenUnix(parsed.path, accept, this.#journal);
      default:
        return unreachable(parsed);
    }
  }
}
