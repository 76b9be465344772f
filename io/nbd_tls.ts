/**
 * NBD over TLS: connections that begin in plain and go on over TLS when both ends have agreed to (STARTTLS). Here is the
 * server's side, and what it shares with the client's, nbd_tls_client.ts.
 *
 * Both ends show a certificate. A server lets in whoever its CA has certified as a client.
 *
 * @module
 */
import { createServer, type Socket } from "node:net";
import tls from "node:tls";
import { CascadeError, describeError } from "../core/errors.ts";
import type { Bytes, Connection, Listener } from "../core/ports.ts";
import { certifiedClients } from "../core/topology/certified_names.ts";
import { formatHostPort } from "./address.ts";
import type { TlsIdentity } from "./identity.ts";
import { SocketStream } from "./socket_stream.ts";
import { listenError } from "./stream.ts";
import { asSystemError, keyOf, listening, NO_TIMER_MS } from "./tls.ts";
import { vouchedNames } from "./tls_peer.ts";

/** Clients come with distributions that are years old; what TLS 1.2 has left of ciphers here is sound. */
export const VERSION_MIN = "TLSv1.2";

/** Who a node is to NBD clients, and whom it lets in; asked for with every connection. */
export interface NbdTlsSelf {
  readonly cluster: string;
  /** Throws `topology`. */
  readonly identity: () => TlsIdentity;
  /** The names of the clients that are let in; null: all that are certified. */
  readonly clients: () => readonly string[] | null;
}

/** What {@linkcode listenNbd} needs to know. */
export interface NbdListen {
  readonly host: string;
  readonly port: number;
  readonly self: NbdTlsSelf;
  readonly accept: (connection: Connection) => void;
}

/** Listens for clients that may ask for TLS. Throws `address-in-use`, `bad-address` or `topology`. */
export async function listenNbd({ host, port, self, accept }: NbdListen): Promise<Listener> {
  const asked = formatHostPort("tcp", host, port);
  self.identity();
  const greeter = new NbdGreeter(self);
  const server = createServer({ noDelay: true, keepAlive: true }, (socket) => {
    const { remoteAddress = "?", remotePort = 0 } = socket;
    const remote = formatHostPort("tcp", remoteAddress, remotePort);
    accept(new UpgradableConnection(socket, remote, () => greeter.upgrade(socket, remote)));
  });
  try {
    await listening(server, host, port);
  } catch (error) {
    throw listenError(asked, asSystemError(error));
  }
  const bound = server.address();
  const realPort = bound !== null && typeof bound === "object" ? bound.port : port;
  return { address: formatHostPort("tcp", host, realPort), close: () => void server.close() };
}

/** Begins in plain, and goes on as `upgrade` makes it; see {@linkcode Connection.startTls}. */
export class UpgradableConnection implements Connection {
  readonly transport = "tcp";
  readonly remote: string;
  readonly channelBinding = null;
  readonly certifiedNames = null;
  readonly #socket: Socket;
  readonly #stream: SocketStream;
  readonly #upgrade: () => Promise<Connection>;

  constructor(socket: Socket, remote: string, upgrade: () => Promise<Connection>) {
    socket.on("error", () => {/* whoever reads or writes meets it */});
    this.#socket = socket;
    this.remote = remote;
    this.#stream = new SocketStream(socket, remote);
    this.#upgrade = upgrade;
  }

  startTls(lastWords: Bytes): Promise<Connection> {
    if (!this.#stream.release()) {
      throw new CascadeError("protocol", "there is more in plain where TLS was to begin", {
        where: { peer: this.remote },
      });
    }
    // In this very turn: what the peer says after it has heard this is TLS, and goes to nobody else.
    if (lastWords.length > 0) this.#socket.write(lastWords);
    return this.#upgrade();
  }

  read(into: Bytes): Promise<number | null> {
    return this.#stream.read(into);
  }

  write(bytes: Bytes): Promise<void> {
    return this.#stream.write(bytes);
  }

  close(): void {
    this.#stream.close();
    // Where TLS has begun, the stream has let go of it.
    if (!this.#socket.writableEnded) this.#socket.destroy();
  }
}

/** Over a socket that has shaken hands. */
export class NbdTlsConnection implements Connection {
  readonly transport = "tls";
  readonly remote: string;
  readonly channelBinding = null;
  /** Of a client; null: the peer is the server. */
  readonly certifiedNames: readonly string[] | null;
  readonly #stream: SocketStream;
  #heard = false;

  constructor(socket: tls.TLSSocket, remote: string, certifiedNames: readonly string[] | null) {
    this.#stream = new SocketStream(socket, remote);
    this.remote = remote;
    this.certifiedNames = certifiedNames;
  }

  async read(into: Bytes): Promise<number | null> {
    try {
      const count = await this.#stream.read(into);
      if (count !== null) this.#heard = true;
      else if (this.#isUnheard) throw new Error("it hung up");
      return count;
    } catch (error) {
      throw this.#isUnheard ? unheard(this.remote, error) : error;
    }
  }

  /** The server has said nothing yet. */
  get #isUnheard(): boolean {
    return !this.#heard && this.certifiedNames === null;
  }

  write(bytes: Bytes): Promise<void> {
    return this.#stream.write(bytes);
  }

  close(): void {
    this.#stream.close();
  }
}

/** A client that is beginning TLS. */
interface Upgrade {
  readonly remote: string;
  readonly identity: TlsIdentity;
  readonly done: (connection: Connection) => void;
  readonly refuse: (error: unknown) => void;
}

/** Does TLS for the clients of a listener, with the newest identity. */
class NbdGreeter {
  readonly #self: NbdTlsSelf;
  /** By the address of the client: the runtime tells no more of whose handshake it was. */
  readonly #underway = new Map<string, Upgrade>();
  #made: { readonly identity: TlsIdentity; readonly server: tls.Server } | null = null;

  constructor(self: NbdTlsSelf) {
    this.#self = self;
  }

  /** Takes the socket over, in this very turn. Rejects with `refused` or `connection-lost`. */
  upgrade(plain: Socket, remote: string): Promise<Connection> {
    const key = keyOf(plain);
    return new Promise((done, fail) => {
      const refuse = (error: unknown) => {
        // Another client may have come from the same port since.
        if (this.#underway.get(key)?.refuse === refuse) this.#underway.delete(key);
        plain.destroy();
        fail(error instanceof CascadeError ? error : refused(remote, describeError(error)));
      };
      plain.once("close", () => refuse(lost(remote)));
      try {
        const { identity, server } = this.#server();
        this.#underway.set(key, { remote, identity, done, refuse });
        server.emit("connection", plain);
      } catch (error) {
        refuse(error);
      }
    });
  }

  /** Another one when the identity is another. */
  #server(): { readonly identity: TlsIdentity; readonly server: tls.Server } {
    const identity = this.#self.identity();
    if (this.#made?.identity === identity) return this.#made;
    const { caPem: ca, certPem: cert, keyPem: key } = identity;
    const server = tls.createServer({
      ...{ ca, cert, key, minVersion: VERSION_MIN, handshakeTimeout: NO_TIMER_MS },
      requestCert: true,
      rejectUnauthorized: true,
    });
    server.on("secureConnection", (socket) => this.#secured(socket));
    server.on("tlsClientError", (error, socket) => {
      const { _parent: plain } = socket as { _parent?: Socket };
      const upgrade = this.#underway.get(plain === undefined ? "" : keyOf(plain));
      const { authorizationError: why } = socket;
      upgrade?.refuse(
        refused(upgrade.remote, why ? `its certificate is not believed: ${why}` : error.message),
      );
      socket.destroy();
    });
    return this.#made = { identity, server };
  }

  #secured(socket: tls.TLSSocket): void {
    socket.on("error", () => {/* whoever reads or writes meets it */});
    const key = keyOf(socket);
    const upgrade = this.#underway.get(key);
    if (upgrade === undefined) return void socket.destroy();
    try {
      const names = clientNames(socket, upgrade.identity, this.#self);
      this.#underway.delete(key);
      upgrade.done(new NbdTlsConnection(socket, upgrade.remote, names));
    } catch (error) {
      socket.destroy();
      upgrade.refuse(error);
    }
  }
}

/** Whom the client's certificate is for. Throws `refused` when that is nobody who is let in. */
function clientNames(
  socket: tls.TLSSocket,
  { caPem }: TlsIdentity,
  { cluster, clients }: NbdTlsSelf,
): string[] {
  if (!socket.authorized) throw new CascadeError("refused", "its certificate is not believed");
  const found = vouchedNames(socket.getPeerCertificate(true), caPem, Date.now());
  const names = certifiedClients(found, cluster);
  const listed = clients();
  if (names.length === 0) {
    const whose = found.uris.join(", ") || "nobody";
    throw new CascadeError("refused", `its certificate is for no NBD client but for ${whose}`, {
      hint: "`cascade certs issue --client NAME` makes one for a client",
    });
  }
  if (listed === null || names.some((name) => listed.includes(name))) return names;
  throw new CascadeError(
    "refused",
    `the topology lets no client in that is named ${names.join(" or ")}`,
  );
}

/** With TLS 1.3 a server that does not believe a client tells so after the client is through. */
function unheard(remote: string, cause: unknown): CascadeError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new CascadeError("refused", `the NBD server went when TLS had begun: ${reason}`, {
    where: { peer: remote },
    hint: "It may not believe client-cert.pem: its journal says so",
    cause,
  });
}

function refused(remote: string, reason: string): CascadeError {
  return new CascadeError("refused", `no TLS with the client: ${reason}`, {
    where: { peer: remote },
  });
}

/** The peer went meanwhile. */
export function lost(remote: string): CascadeError {
  return new CascadeError("connection-lost", "it hung up while TLS began", {
    where: { peer: remote },
    retryable: true,
  });
}
