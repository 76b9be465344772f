/**
 * The TLS transport: `tls://host:port`. TLS 1.3 alone, and a certificate on both sides.
 *
 * Host names are not looked at: the node that a certificate is for is compared with the node that the peer says
 * to be, by the handshake of the link. What only the two ends know is the client's Finished message: a man in
 * between would have one with each of them.
 *
 * @module
 */
import { connect as connectPlain, createServer, type Server, type Socket } from "node:net";
import tls from "node:tls";
import { StrangerJournal } from "../core/stranger_journal.ts";
import { CascadeError, describeError, isCascadeError } from "../core/errors.ts";
import { addressOf, Doorkeeper, type Pass } from "../core/link/doorkeeper.ts";
import type { Bytes, Connection, Journal, Listener } from "../core/ports.ts";
import { DenoClock } from "./clock.ts";
import { formatHostPort } from "./address.ts";
import type { TlsIdentity } from "./identity.ts";
import { listenError } from "./stream.ts";
import { SocketStream } from "./socket_stream.ts";
import { certifiedPeer } from "./tls_peer.ts";

/** What both ends say they speak. */
export const ALPN = "cascade/1";
/** A client that has not shown its certificate after this is cut off. */
export const TLS_HANDSHAKE_MS = 5_000;
/**
 * For the runtime, whose own timer of a handshake keeps all that there was of it until the time is over, also when the
 * client has long gone: half a hundred megabytes in a flood. Less than nothing: it sets none; whoever begins a
 * handshake limits its time.
 */
export const NO_TIMER_MS = -1;
/** Handshakes at one time; who has to go when there are more: see the doorkeeper. */
export const TLS_HANDSHAKES_MAX = 256;

/** Who this end is, asked for with every connection: certificates are renewed while a node runs. */
export interface TlsSelf {
  readonly cluster: string;
  /** Null: this node has no certificate. Throws `topology` when it cannot be read. */
  readonly identity: () => TlsIdentity | null;
}

/** Where to, and for how long to try. */
export interface TlsDial {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
  readonly self: TlsSelf;
}

/** The identity, or an error that tells what to do. */
export function identityOf(self: TlsSelf, address: string): TlsIdentity {
  const identity = self.identity();
  if (identity !== null) return identity;
  throw new CascadeError("bad-address", "this node has no certificate", {
    where: { address },
    hint: "Name the folder of certificates in the topology: `certs: ./certs`",
  });
}

function optionsOf({ caPem, certPem, keyPem }: TlsIdentity) {
  const minVersion = "TLSv1.3" as const;
  return { ca: caPem, cert: certPem, key: keyPem, minVersion, ALPNProtocols: [ALPN] };
}

/** Connects. Throws `unreachable`; `refused` when the peer's certificate is not believed. */
export async function dialTls({ host, port, timeoutMs, self }: TlsDial): Promise<Connection> {
  const address = formatHostPort("tls", host, port);
  const identity = identityOf(self, address);
  const plain = connectPlain({ host, port, noDelay: true, keepAlive: true });
  const socket = tls.connect({
    ...optionsOf(identity),
    socket: plain,
    rejectUnauthorized: true,
    checkServerIdentity: () => undefined,
  });
  try {
    await secured(socket, plain, timeoutMs);
    return tlsConnection(socket, address, identity, self.cluster, "dial");
  } catch (error) {
    socket.destroy();
    plain.destroy();
    if (isCascadeError(error)) throw error;
    throw dialError(address, error);
  }
}

function secured(socket: tls.TLSSocket, plain: Socket, timeoutMs: number): Promise<void> {
  return new Promise((done, fail) => {
    const reason = new Error(`no answer within ${timeoutMs / 1000} s`);
    const timer = setTimeout(() => fail(reason), timeoutMs);
    const end = (error: Error | null) => {
      clearTimeout(timer);
      if (error === null) done();
      else fail(error);
    };
    socket.once("secureConnect", () => end(null));
    socket.on("error", end);
    plain.on("error", end);
    socket.once("close", () => end(new Error("the peer closed the connection")));
  });
}

/** The codes of the system are of one word: `ECONNREFUSED`. All others are of TLS and certificates. */
const SYSTEM_CODE = /^E[A-Z0-9]+$/;

function dialError(address: string, error: unknown): CascadeError {
  const code = (error as { code?: unknown }).code;
  const message = describeError(error);
  if (typeof code !== "string" || SYSTEM_CODE.test(code)) {
    return new CascadeError("unreachable", `nobody answers: ${message}`, {
      where: { address },
      retryable: true,
      cause: error,
    });
  }
  return new CascadeError("unreachable", `no TLS with the peer: ${message}`, {
    where: { address },
    hint:
      "`cascade certs show` tells of the certificates of a node; both ends need one of the same CA",
    retryable: true,
    cause: error,
  });
}

/** The connection over a socket that has shaken hands. Throws `refused`. */
function tlsConnection(
  socket: tls.TLSSocket,
  remote: string,
  identity: TlsIdentity,
  cluster: string,
  side: "dial" | "listen",
): Connection {
  const isSound = socket.authorized && socket.getProtocol() === "TLSv1.3" &&
    socket.alpnProtocol === ALPN;
  if (!isSound) {
    throw new CascadeError("refused", "the peer does not speak as a node of Cascade does");
  }
  const certificate = socket.getPeerCertificate(true);
  const certifiedNames = certifiedPeer(certificate, identity.caPem, cluster, Date.now());
  const finished = side === "dial" ? socket.getFinished() : socket.getPeerFinished();
  if (finished === undefined || finished.length === 0) {
    throw new CascadeError("refused", "TLS gives nothing to bind the proof to");
  }
  return new TlsConnection(socket, remote, Uint8Array.from(finished), certifiedNames, side);
}

class TlsConnection implements Connection {
  readonly remote: string;
  readonly transport = "tls";
  readonly channelBinding: Bytes;
  readonly certifiedNames: readonly string[];
  readonly #stream: SocketStream;
  readonly #side: "dial" | "listen";
  #heard = false;

  constructor(
    socket: tls.TLSSocket,
    remote: string,
    channelBinding: Bytes,
    certifiedNames: readonly string[],
    side: "dial" | "listen",
  ) {
    this.#stream = new SocketStream(socket, remote);
    this.remote = remote;
    this.channelBinding = channelBinding;
    this.certifiedNames = certifiedNames;
    this.#side = side;
  }

  async read(into: Bytes): Promise<number | null> {
    const count = await this.#stream.read(into);
    if (count !== null) this.#heard = true;
    else if (!this.#heard && this.#side === "dial") {
      // With TLS 1.3 a server that refuses a client's certificate tells after the client is through.
      throw new CascadeError("connection-lost", "the peer closed the connection after TLS began", {
        where: { peer: this.remote },
        hint: "It may not believe this node's certificate: its journal says so",
        retryable: true,
      });
    }
    return count;
  }

  write(bytes: Bytes): Promise<void> {
    return this.#stream.write(bytes);
  }

  close(): void {
    this.#stream.close();
  }
}

/** What {@linkcode listenTls} needs to know. */
export interface TlsListen {
  readonly host: string;
  readonly port: number;
  readonly self: TlsSelf;
  readonly accept: (connection: Connection) => void;
  /** Where strangers are told of. */
  readonly journal: Journal | null;
}

/** Listens; port 0 takes any free one. Throws `address-in-use`, `bad-address` or `topology`. */
export async function listenTls(what: TlsListen): Promise<Listener> {
  const { host, port } = what;
  const asked = formatHostPort("tls", host, port);
  identityOf(what.self, asked);
  const greeter = new TlsGreeter(what, asked);
  const server = createServer({ noDelay: true, keepAlive: true }, (s) => greeter.begin(s));
  try {
    await listening(server, host, port);
  } catch (error) {
    throw listenError(asked, asSystemError(error));
  }
  const bound = server.address();
  const realPort = bound !== null && typeof bound === "object" ? bound.port : port;
  return {
    address: formatHostPort("tls", host, realPort),
    close() {
      server.close();
      greeter.close();
    },
  };
}

/** Settles when a server listens, or cannot. */
export function listening(server: Server, host: string, port: number): Promise<void> {
  return new Promise((done, fail) => {
    server.once("error", fail);
    server.listen(port, host, () => {
      server.off("error", fail);
      server.on("error", () => {/* what fails later is one connection's business */});
      done();
    });
  });
}

/** The two runtimes' names for an address that is taken. */
export function asSystemError(error: unknown): unknown {
  if ((error as { code?: unknown }).code !== "EADDRINUSE") return error;
  return new Deno.errors.AddrInUse(error instanceof Error ? error.message : String(error));
}

/** Shakes hands with whoever connects, with the newest identity, and with few at a time. */
class TlsGreeter {
  readonly #what: TlsListen;
  readonly #address: string;
  readonly #strangers: StrangerJournal | null;
  readonly #underway = new Map<string, Handshake>();
  /** What was ended here, and told of: that its TLS breaks off then is no news. */
  readonly #ended = new WeakSet<Socket>();
  readonly #door = new Doorkeeper(new DenoClock(), TLS_HANDSHAKES_MAX);
  #made: { readonly identity: TlsIdentity; readonly server: tls.Server } | null = null;

  constructor(what: TlsListen, address: string) {
    this.#what = what;
    this.#address = address;
    const { journal } = what;
    this.#strangers = journal === null ? null : new StrangerJournal(journal, new DenoClock());
  }

  begin(plain: Socket): void {
    plain.on("error", () => {/* its TLS tells of it */});
    const key = keyOf(plain);
    const pass = this.#door.enter(addressOf(`tls://${key}`), () => {
      this.#tell(key, "crowded", "others came meanwhile, and all places for strangers were taken");
      handshake.end();
    });
    const timer = setTimeout(() => {
      this.#tell(key, "timed-out", `no TLS handshake within ${TLS_HANDSHAKE_MS} ms`);
      pass.failed();
      handshake.end();
    }, TLS_HANDSHAKE_MS);
    const handshake: Handshake = {
      pass,
      end: () => {
        this.#done(key);
        this.#ended.add(plain);
        plain.destroy();
      },
      timer,
    };
    this.#underway.set(key, handshake);
    plain.once("close", () => this.#done(key));
    pass.admitted.then((isWelcome) => isWelcome && !plain.destroyed && this.#shake(plain, key));
  }

  #shake(plain: Socket, key: string): void {
    try {
      this.#server().emit("connection", plain);
    } catch (error) {
      this.#tell(key, codeOf(error), describeError(error));
      this.#underway.get(key)?.end();
    }
  }

  #done(key: string): void {
    const handshake = this.#underway.get(key);
    clearTimeout(handshake?.timer);
    this.#underway.delete(key);
    handshake?.pass.left();
  }

  /** Does TLS for sockets that come from elsewhere; another one when the identity is another. */
  #server(): tls.Server {
    const identity = identityOf(this.#what.self, this.#address);
    if (this.#made?.identity === identity) return this.#made.server;
    const server = tls.createServer({
      ...optionsOf(identity),
      requestCert: true,
      rejectUnauthorized: true,
      handshakeTimeout: NO_TIMER_MS,
    });
    server.on("secureConnection", (socket) => this.#secured(socket, identity));
    server.on("tlsClientError", (error, socket) => this.#failed(error, socket));
    this.#made = { identity, server };
    return server;
  }

  #secured(socket: tls.TLSSocket, identity: TlsIdentity): void {
    socket.on("error", () => {/* whoever reads or writes meets it */});
    const key = keyOf(socket);
    this.#underway.get(key)?.pass.proved();
    this.#done(key);
    let connection: Connection;
    try {
      const { cluster } = this.#what.self;
      connection = tlsConnection(socket, `tls://${key}`, identity, cluster, "listen");
    } catch (error) {
      this.#tell(key, codeOf(error), describeError(error));
      socket.destroy();
      return;
    }
    this.#what.accept(connection);
  }

  #failed(error: Error, socket: tls.TLSSocket): void {
    // The runtime does not say otherwise whose handshake it was.
    const { _parent: plain } = socket as { _parent?: Socket };
    if (plain !== undefined && this.#ended.has(plain)) return;
    const { authorizationError: why } = socket;
    const reason = why ? `its certificate is not believed: ${why}` : reasonOf(error);
    const key = plain?.remotePort === undefined ? "" : keyOf(plain);
    // Who hangs up was not wrong.
    if (codeOf(error) !== "ECONNRESET") this.#underway.get(key)?.pass.failed();
    this.#tell(key, why ? String(why) : codeOf(error), reason);
  }

  /** `code`: what kind of failure it is; each kind is told of, however many there are of another. */
  #tell(remote: string, code: string, reason: string): void {
    this.#strangers?.write("warn", "a TLS handshake failed", {
      ...(remote === "" ? {} : { remote }),
      code,
      reason,
    });
  }

  close(): void {
    for (const handshake of [...this.#underway.values()]) handshake.end();
    this.#strangers?.close();
  }
}

/** The runtime's codes are as few as ours. */
function codeOf(error: unknown): string {
  const { code } = error as { code?: unknown };
  return typeof code === "string" ? code : "failed";
}

/** Of an alert the runtime tells the name alone. */
function reasonOf(error: Error): string {
  const [, alert] = /^received fatal alert: (\w+)/.exec(error.message) ?? [];
  if (alert === undefined) return describeError(error);
  return `the client hung up with the alert ${alert}: it may not believe this node's certificate`;
}

interface Handshake {
  readonly pass: Pass;
  readonly timer: ReturnType<typeof setTimeout>;
  end(): void;
}

/** Who is at the other end of a socket: the same for the plain one and the one of TLS over it. */
export function keyOf(socket: Socket): string {
  const { remoteAddress = "?", remotePort = 0 } = socket;
  return formatHostPort("tls", remoteAddress, remotePort).slice("tls://".length);
}
