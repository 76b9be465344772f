/**
 * Streams by address on Deno: the {@linkcode Network} port. A transport is a file beside this one.
 *
 * @module
 */
import { unreachable } from "../core/assert.ts";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import type { Connection, Journal, Listener, Network } from "../core/ports.ts";
import { parseExec } from "../core/topology/address.ts";
import { parseAddress } from "./address.ts";
import { listenNbd, type NbdTlsSelf } from "./nbd_tls.ts";
import { CommandsSaid, dialExec } from "./exec.ts";
import { dialQuic, listenQuic } from "./quic.ts";
import { dialTcp, listenTcp } from "./tcp.ts";
import { dialTls, listenTls, type TlsSelf } from "./tls.ts";
import { dialUnix, listenUnix } from "./unix.ts";

/** How long a dial may take before it counts as unreachable. */
export const DIAL_TIMEOUT_MS = 10_000;

/** What {@linkcode DenoNetwork} can be told. */
export interface NetworkOptions {
  readonly dialTimeoutMs?: number;
  /** Where it tells that it cannot accept connections. */
  readonly journal?: Journal;
  /** Who this node is over TLS and QUIC; left out: it has no certificate. */
  readonly tls?: TlsSelf;
  /** Who it is to NBD clients over TLS; left out: it serves none. */
  readonly nbdTls?: NbdTlsSelf;
}

/** A dial over UDP gives up early: nothing tells that UDP does not get through. */
const QUIC_DIAL_TIMEOUT_MS = 4_000;

const NOBODY: TlsSelf = { cluster: "", identity: () => null };

/** The real network. */
export class DenoNetwork implements Network {
  readonly #dialTimeoutMs: number;
  readonly #journal: Journal | null;
  readonly #self: TlsSelf;
  readonly #nbdTls: NbdTlsSelf | null;
  readonly #said: CommandsSaid;

  constructor(options: NetworkOptions = {}) {
    this.#dialTimeoutMs = options.dialTimeoutMs ?? DIAL_TIMEOUT_MS;
    this.#journal = options.journal ?? null;
    this.#self = options.tls ?? NOBODY;
    this.#nbdTls = options.nbdTls ?? null;
    this.#said = new CommandsSaid(this.#journal);
  }

  async dial(address: string, to = ""): Promise<Connection> {
    const command = parseExec(address);
    if (command !== null) return dialExec(command, this.#said);
    const parsed = parseAddress(address);
    const timeoutMs = this.#dialTimeoutMs;
    switch (parsed.scheme) {
      case "tcp":
        return await dialTcp({ ...parsed, timeoutMs });
      case "tls":
        return await dialTls({ ...parsed, timeoutMs, self: this.#self });
      case "quic": {
        const soonMs = Math.min(timeoutMs, QUIC_DIAL_TIMEOUT_MS);
        return await dialQuic({ ...parsed, to, timeoutMs: soonMs, self: this.#self });
      }
      case "unix":
        return await dialUnix(parsed.path);
      default:
        return unreachable(parsed);
    }
  }

  async listen(
    address: string,
    accept: (connection: Connection) => void,
    startsTls = false,
  ): Promise<Listener> {
    try {
      return await this.#listen(address, accept, startsTls);
    } catch (error) {
      if (!isCascadeError(error, "address-in-use")) throw error;
      // A listener of ours that was closed just now lets go of its address a turn later.
      await new Promise((resolve) => setTimeout(resolve, 0));
      return await this.#listen(address, accept, startsTls);
    }
  }

  async #listen(
    address: string,
    accept: (connection: Connection) => void,
    startsTls: boolean,
  ): Promise<Listener> {
    const parsed = parseAddress(address);
    if (startsTls) {
      // Never in plain instead.
      if (parsed.scheme === "tcp" && this.#nbdTls !== null) {
        return await listenNbd({ ...parsed, self: this.#nbdTls, accept });
      }
      throw new CascadeError("bad-address", "TLS cannot be begun there", { where: { address } });
    }
    switch (parsed.scheme) {
      case "tcp":
        return listenTcp(parsed.host, parsed.port, accept, this.#journal);
      case "tls":
        return await listenTls({ ...parsed, self: this.#self, accept, journal: this.#journal });
      case "quic":
        return listenQuic({ ...parsed, self: this.#self, accept, journal: this.#journal });
      case "unix":
        return await listenUnix(parsed.path, accept, this.#journal);
      default:
        return unreachable(parsed);
    }
  }
}
