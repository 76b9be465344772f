/**
 * The NBD server of a node: listens, admits clients up to a bound, and stops without losing an
 * answer.
 *
 * @module
 */
import type { Clock, Connection, Journal, Listener, Network, Timer } from "../ports.ts";
import { StrangerJournal } from "../stranger_journal.ts";
import type { ExportBackend } from "./backend.ts";
import { BlockPool } from "./buffers.ts";
import { NbdClient } from "./client.ts";
import type { TlsMode } from "./handshake.ts";
import { addressOf, Doorkeeper } from "../link/doorkeeper.ts";
import {
  CONNECTIONS_MAX,
  DRAIN_TIMEOUT_MS,
  HANDSHAKE_TIMEOUT_MS,
  HANDSHAKES_MAX,
} from "./nbd_limits.ts";

/** What an {@linkcode NbdServer} is made of. The bounds have their defaults in nbd_limits.ts. */
export interface NbdServerOptions {
  readonly network: Network;
  readonly clock: Clock;
  readonly journal: Journal;
  readonly exports: readonly ExportBackend[];
  /** Of clients over TCP; left out: off. Those of a Unix socket are on this host. */
  readonly tls?: TlsMode;
  readonly connectionsMax?: number;
  readonly handshakesMax?: number;
  readonly handshakeTimeoutMs?: number;
  readonly drainTimeoutMs?: number;
}

/** One address, and how many clients came through it and are still here. */
export interface ListeningAddress {
  readonly address: string;
  readonly clients: number;
}

interface Door {
  readonly listener: Listener;
  readonly tls: TlsMode;
  clients: number;
}

/**
 * Serves exports to NBD clients.
 *
 * @example
 * ```ts ignore
 * const server = new NbdServer({ network, clock, journal, exports });
 * await server.listen("unix:/run/cascade/hq.sock");
 * // ...
 * await server.stop();
 * ```
 */
export class NbdServer {
  readonly #options: NbdServerOptions;
  readonly #pool = new BlockPool();
  /** For clients that have not chosen an export. */
  readonly #strangers: StrangerJournal;
  readonly #doors: Door[] = [];
  readonly #clients = new Set<NbdClient>();
  /** Places of those that have not chosen an export. */
  readonly #strangersDoor: Doorkeeper;
  #stopping = false;
  #stopped: Promise<void> | null = null;
  /** Called whenever a client has gone, while the server stops. */
  #onLeft: () => void = () => {};

  constructor(options: NbdServerOptions) {
    this.#options = options;
    this.#strangers = new StrangerJournal(options.journal, options.clock);
    const { clock, handshakesMax = HANDSHAKES_MAX } = options;
    this.#strangersDoor = new Doorkeeper(clock, handshakesMax);
  }

  /** The addresses in the order in which they were asked for, with real ports. */
  get listening(): ListeningAddress[] {
    return this.#doors.map(({ listener, clients }) => ({ address: listener.address, clients }));
  }

  /**
   * Listens on `tcp://host:port` or `unix:/path`; returns the address with its real port. Throws
   * `address-in-use` or `bad-address`.
   */
  async listen(address: string): Promise<string> {
    let door: Door | null = null;
    const early: Connection[] = [];
    const tls = address.startsWith("tcp:") ? this.#options.tls ?? "off" : "off";
    const listener = await this.#options.network.listen(address, (connection) => {
      if (door === null) early.push(connection);
      else this.#admit(connection, door);
    }, tls !== "off");
    door = { listener, tls, clients: 0 };
    if (this.#stopping) listener.close();
    else this.#doors.push(door);
    for (const connection of early) this.#admit(connection, door);
    return listener.address;
  }

  /**
   * Takes no more clients, refuses new requests, answers what is in flight, and closes; after the
   * drain deadline it closes in any case. Resolves when every client is gone.
   */
  stop(): Promise<void> {
    this.#stopped ??= this.#drain();
    return this.#stopped;
  }

  /** Closes everything at once, answered or not. */
  abort(): void {
    this.#shutDoors();
    for (const client of [...this.#clients]) client.close("the server stops", "stopping");
    this.#strangers.close();
  }

  async #drain(): Promise<void> {
    this.#shutDoors();
    for (const client of [...this.#clients]) client.drain();
    let deadline: Timer | null = null;
    await new Promise<void>((resolve) => {
      const { clock, drainTimeoutMs = DRAIN_TIMEOUT_MS } = this.#options;
      this.#onLeft = () => {
        if (![...this.#clients].some((client) => client.isServing)) resolve();
      };
      deadline = clock.after(drainTimeoutMs, resolve);
      this.#onLeft();
    });
    (deadline as Timer | null)?.cancel();
    this.abort();
  }

  #shutDoors(): void {
    this.#stopping = true;
    for (const { listener } of this.#doors) listener.close();
    this.#doors.length = 0;
  }

  #admit(connection: Connection, door: Door): void {
    if (this.#stopping) return connection.close();
    if (!this.#hasPlace()) {
      this.#strangers.write("warn", "turned an NBD client away: too many are connected", {
        remote: connection.remote,
        clients: this.#clients.size,
      });
      return connection.close();
    }
    const client = this.#welcome(connection, door);
    this.#clients.add(client);
    door.clients++;
    client.run();
  }

  /** Whether there is a place for another client: that of one who has not chosen an export will do. */
  #hasPlace(): boolean {
    const { connectionsMax = CONNECTIONS_MAX } = this.#options;
    return this.#clients.size < connectionsMax || this.#strangersDoor.makePlace();
  }

  #welcome(connection: Connection, door: Door): NbdClient {
    const { clock, exports, handshakeTimeoutMs = HANDSHAKE_TIMEOUT_MS, journal } = this.#options;
    const { remote } = connection;
    let teller: Journal = this.#strangers;
    const crowd = "others came meanwhile, and all places of those who chose no export were taken";
    const pass = this.#strangersDoor.enter(addressOf(remote), () => client.close(crowd, "crowded"));
    const client = new NbdClient({
      connection,
      exports,
      tls: door.tls,
      pool: this.#pool,
      clock,
      handshakeTimeoutMs,
      onServing: (name, certifiedNames) => {
        teller = journal;
        pass.proved();
        journal.write("info", "NBD client connected", {
          remote,
          export: name,
          ...(certifiedNames === null ? {} : { tls: certifiedNames.join(" ") }),
        });
      },
      onClosed: (reason, unexpected, code) => {
        this.#clients.delete(client);
        pass.left();
        door.clients--;
        const how = { remote, ...(code === "done" ? {} : { code }), reason };
        teller.write(unexpected ? "error" : "info", "NBD client gone", how);
        this.#onLeft();
      },
    });
    return client;
  }
}
