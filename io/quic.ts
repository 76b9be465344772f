/**
 * The QUIC transport: `quic://host:port`, over UDP.
 *
 * The server shows a certificate, which the client checks against the CA for the name of the node that it dials;
 * see core/topology/certified_names.ts. The runtime knows no certificates of clients, and tells nothing that only
 * the two ends know: a client is known by its proof of the secret alone.
 *
 * @module
 */
import { StrangerJournal } from "../core/stranger_journal.ts";
import { CascadeError, describeError } from "../core/errors.ts";
import type { Connection, Journal, Listener } from "../core/ports.ts";
import { certificateDnsName } from "../core/topology/certified_names.ts";
import { DenoClock } from "./clock.ts";
import { formatHostPort } from "./address.ts";
import type { TlsIdentity } from "./identity.ts";
import { QuicStream } from "./quic_stream.ts";
import { listenError } from "./stream.ts";
import { ALPN, identityOf, type TlsSelf } from "./tls.ts";

/** A client that has not opened its stream after this is cut off. */
const HANDSHAKE_MS = 5_000;
/** Connections that have not opened their stream, at one time: those beyond are refused unanswered. */
const HANDSHAKES_MAX = 1024;
/**
 * Of these, such as are younger than this. The runtime does not tell the address of who comes before it was let
 * in, and hellos under false addresses never go on: they take no place from others for longer than a node needs.
 */
const HANDSHAKES_YOUNG_MAX = 256;
const YOUNG_MS = 1_000;

const TRANSPORT = {
  // Often enough that a NAT on the way does not forget.
  keepAliveInterval: 2_000,
  maxIdleTimeout: 10_000,
  maxConcurrentBidirectionalStreams: 2,
  maxConcurrentUnidirectionalStreams: 0,
  alpnProtocols: [ALPN],
} as const;

const transport = () => ({ ...TRANSPORT, alpnProtocols: [ALPN] });

/** Where to, whom, and for how long to try. */
export interface QuicDial {
  readonly host: string;
  readonly port: number;
  /** The node that is expected there. */
  readonly to: string;
  readonly timeoutMs: number;
  readonly self: TlsSelf;
}

/** Connects. Throws `unreachable`. */
export async function dialQuic(what: QuicDial): Promise<Connection> {
  const { host, port, to, timeoutMs, self } = what;
  const address = formatHostPort("quic", host, port);
  const { caPem } = identityOf(self, address);
  const endpoint = clientEndpoint(address);
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    const late = new Promise<never>((_, fail) => {
      const reason = new Error(`no answer over UDP within ${timeoutMs / 1000} s`);
      timer = setTimeout(() => fail(reason), timeoutMs);
    });
    const connecting = connect(endpoint, what, caPem);
    connecting.catch(() => {/* it may fail after it was given up */});
    const { conn, stream } = await Promise.race([connecting, late]);
    return new QuicStream(conn, stream, address, [to], () => endpoint.close());
  } catch (error) {
    endpoint.close({ closeCode: 0, reason: "" });
    const isCertificate = describeError(error).includes("certificate");
    throw new CascadeError(
      "unreachable",
      `${isCertificate ? "no TLS with the peer" : "nobody answers"}: ${describeError(error)}`,
      {
        where: { address },
        ...(isCertificate ? { hint: wantedName(self.cluster, to) } : {}),
        retryable: true,
        cause: error,
      },
    );
  } finally {
    clearTimeout(timer);
  }
}

function wantedName(cluster: string, node: string): string {
  return `Over QUIC the certificate of ${node} needs the DNS name ${
    certificateDnsName(cluster, node)
  }, and a CA that this node believes`;
}

async function connect(endpoint: Deno.QuicEndpoint, what: QuicDial, caPem: string) {
  const conn = await Deno.connectQuic({
    ...transport(),
    endpoint,
    hostname: what.host,
    port: what.port,
    serverName: certificateDnsName(what.self.cluster, what.to),
    caCerts: [caPem],
  });
  return { conn, stream: await conn.createBidirectionalStream() };
}

/** A socket of its own, so that it goes with the connection. */
function clientEndpoint(address: string): Deno.QuicEndpoint {
  refuseUnlessThere(address);
  try {
    return new Deno.QuicEndpoint({ hostname: "::", port: 0 });
  } catch {
    // A machine without IPv6.
    return new Deno.QuicEndpoint({ hostname: "0.0.0.0", port: 0 });
  }
}

function refuseUnlessThere(address: string): void {
  if (typeof Deno.QuicEndpoint === "function") return;
  throw new CascadeError("bad-address", "this runtime was started without QUIC", {
    where: { address },
    hint: "Run it with --unstable-net",
  });
}

/** What {@linkcode listenQuic} needs to know. */
export interface QuicListen {
  readonly host: string;
  readonly port: number;
  readonly self: TlsSelf;
  readonly accept: (connection: Connection) => void;
  readonly journal: Journal | null;
}

/** Listens; port 0 takes any free one. Throws `address-in-use`, `bad-address` or `topology`. */
export function listenQuic(what: QuicListen): Listener {
  const asked = formatHostPort("quic", what.host, what.port);
  const identity = identityOf(what.self, asked);
  refuseUnlessThere(asked);
  let endpoint: Deno.QuicEndpoint;
  try {
    endpoint = new Deno.QuicEndpoint({ hostname: what.host, port: what.port });
  } catch (error) {
    throw listenError(asked, error);
  }
  const address = formatHostPort("quic", what.host, endpoint.addr.port);
  const greeter = new QuicGreeter(what, address, endpoint, identity);
  greeter.run();
  return { address, close: () => greeter.close() };
}

/** Takes connections, with the newest identity, and few at a time. */
class QuicGreeter {
  readonly #what: QuicListen;
  readonly #address: string;
  readonly #endpoint: Deno.QuicEndpoint;
  readonly #strangers: StrangerJournal | null;
  #identity: TlsIdentity;
  #listener: Deno.QuicListener;
  readonly #underway = new Set<{ readonly atMs: number }>();
  #closed = false;

  constructor(
    what: QuicListen,
    address: string,
    endpoint: Deno.QuicEndpoint,
    identity: TlsIdentity,
  ) {
    this.#what = what;
    this.#address = address;
    this.#endpoint = endpoint;
    const { journal } = what;
    this.#strangers = journal === null ? null : new StrangerJournal(journal, new DenoClock());
    this.#identity = identity;
    this.#listener = this.#listen(identity);
  }

  #listen({ certPem, keyPem }: TlsIdentity): Deno.QuicListener {
    try {
      return this.#endpoint.listen({ ...transport(), cert: certPem, key: keyPem });
    } catch (error) {
      throw listenError(this.#address, error);
    }
  }

  async run(): Promise<void> {
    while (!this.#closed) {
      let incoming: Deno.QuicIncoming;
      try {
        incoming = await this.#listener.incoming();
      } catch (error) {
        if (this.#closed) return;
        this.#tell("", describeError(error));
        await new Promise((resolve) => setTimeout(resolve, 100));
        continue;
      }
      const isFull = this.#isFull();
      if (this.#closed || isFull) {
        if (isFull) this.#tell("", "all places for strangers were taken");
        incoming.refuse();
        continue;
      }
      const begun = { atMs: performance.now() };
      this.#underway.add(begun);
      this.#greet(incoming).finally(() => this.#underway.delete(begun));
      this.#renew();
    }
  }

  #isFull(): boolean {
    if (this.#underway.size < HANDSHAKES_YOUNG_MAX) return false;
    const youngFromMs = performance.now() - YOUNG_MS;
    let young = 0;
    for (const { atMs } of this.#underway) if (atMs >= youngFromMs) young++;
    return young >= HANDSHAKES_YOUNG_MAX || this.#underway.size >= HANDSHAKES_MAX;
  }

  /** The next client is shown a certificate that was renewed meanwhile. */
  #renew(): void {
    try {
      const identity = identityOf(this.#what.self, this.#address);
      if (identity === this.#identity) return;
      this.#identity = identity;
      this.#listener.stop();
      this.#listener = this.#listen(identity);
    } catch (error) {
      this.#tell("", describeError(error));
    }
  }

  async #greet(incoming: Deno.QuicIncoming): Promise<void> {
    let conn: Deno.QuicConn | null = null;
    const timer = setTimeout(() => {
      conn?.close({ closeCode: 1, reason: "too slow" });
    }, HANDSHAKE_MS);
    try {
      conn = await incoming.accept();
      const { hostname, port } = conn.remoteAddr;
      const streams = conn.incomingBidirectionalStreams.getReader();
      const { value: stream } = await streams.read();
      if (stream === undefined || this.#closed) return conn.close();
      const remote = formatHostPort("quic", hostname, port);
      this.#what.accept(new QuicStream(conn, stream, remote, null, () => {}));
    } catch (error) {
      this.#tell(conn === null ? "" : conn.remoteAddr.hostname, describeError(error));
    } finally {
      clearTimeout(timer);
    }
  }

  #tell(remote: string, reason: string): void {
    if (this.#closed) return;
    this.#strangers?.write("warn", "a QUIC handshake failed", {
      ...(remote === "" ? {} : { remote }),
      reason,
    });
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#strangers?.close();
    this.#listener.stop();
    this.#endpoint.close({ closeCode: 0, reason: "" });
  }
}
