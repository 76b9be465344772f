/**
 * The admin side of a node: HTTP on the address of `admin:`.
 *
 *     GET  /status                  the status as JSON (core/status.ts, docs/status.md)
 *     GET  /metrics                 the same figures for Prometheus
 *     GET  /healthz                 200 when all is well here, else 503 and why
 *     GET  /marks                   the marks in the log as JSON
 *     POST                          what changes something: admin_control.ts
 *
 * Who may ask: anybody on this machine when it listens on loopback, who may open the file of a Unix
 * socket, or who shows the token. Without a token it listens nowhere else. On loopback the Host header has to name
 * loopback too, or any web page could reach it through the browser of somebody on this machine (DNS rebinding).
 * What changes something wants the header `cascade-control: 1` as well, which no page can send to another
 * site without asking first.
 *
 * Over `node:http`: unlike the runtime's own server it has limits on time and connections.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash, timingSafeEqual } from "node:crypto";
import type { Socket } from "node:net";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { CascadeError, describeError } from "../core/errors.ts";
import type { NodeStatus } from "../core/status.ts";
import { isLoopback } from "../core/topology/address.ts";
import {
  actOn,
  type Answer,
  answerProgress,
  type Controls,
  isControlUrl,
} from "./admin_control.ts";
import { listMarks } from "./admin_marks.ts";
import { formatHostPort, parseAdminAddress } from "./address.ts";
import { METRICS_TYPE, metricsText } from "./metrics.ts";
import { listenError } from "./stream.ts";
import { bindSocket } from "./unix.ts";

/** Scrapers, probes and people: more at once means that something is wrong with them. */
const CONNECTIONS_MAX = 32;
/** A request is a few lines: who takes longer to send it does not mean well. */
const REQUEST_TIMEOUT_MS = 5_000;
const HEADER_BYTES_MAX = 8 * 1024;
/** How long a connection may wait for its next request. */
const IDLE_TIMEOUT_MS = 60_000;
const TOKEN_LENGTH_MAX = 1024;

/** What {@linkcode startAdmin} needs. Without controls the admin side is read-only. */
export interface AdminOptions extends Controls {
  /** `http://host:port` or `unix:/path`. */
  readonly address: string;
  /** Whoever asks must show it, if there is one. It may change, or come, but not go. */
  readonly token: () => string | null;
  readonly status: () => NodeStatus;
}

/** A running admin side. */
export interface AdminServer {
  /** With the real port. */
  readonly address: string;
  /** Ends it, and every connection to it. */
  close(): void;
}

/** Starts it. Throws `bad-address` (also: off loopback without a token) or `address-in-use`. */
export async function startAdmin(options: AdminOptions): Promise<AdminServer> {
  const parsed = parseAdminAddress(options.address);
  if (parsed.scheme === "unix") return await startOnSocket(parsed.path, options);
  const { host, port } = parsed;
  if (options.token() === null && !isLoopback(host)) {
    throw new CascadeError("bad-address", "the admin side off loopback needs a token", {
      where: { address: options.address },
      hint: "Listen on 127.0.0.1, or set a token.",
    });
  }
  const server = makeServer(options, true);
  try {
    await listening(server, () => server.listen(port, host));
  } catch (error) {
    throw listenError(options.address, error);
  }
  const bound = server.address();
  const realPort = bound !== null && typeof bound === "object" ? bound.port : port;
  return { address: formatHostPort("http", host, realPort), close: () => closeServer(server) };
}

async function startOnSocket(path: string, options: AdminOptions): Promise<AdminServer> {
  const server = makeServer(options, false);
  const bind = (fresh: string) => listening(server, () => server.listen(fresh));
  const { remove } = await bindSocket(path, bind);
  return {
    address: options.address,
    close() {
      remove();
      closeServer(server);
    },
  };
}

function listening(server: Server, listen: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.once("listening", () => {
      server.off("error", reject);
      // From here on an error concerns one client at most.
      server.on("error", () => {});
      resolve();
    });
    listen();
  });
}

function closeServer(server: Server): void {
  server.close();
  server.closeAllConnections();
}

function makeServer(options: AdminOptions, hostMatters: boolean): Server {
  const server = createServer({
    maxHeaderSize: HEADER_BYTES_MAX,
    headersTimeout: REQUEST_TIMEOUT_MS,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionsCheckingInterval: REQUEST_TIMEOUT_MS,
    keepAliveTimeout: IDLE_TIMEOUT_MS,
  }, async (request, response) => {
    crowd.begin(request.socket, response);
    const answer = await answerTo(request, options, hostMatters);
    if (answer.stream !== undefined) return await streamAnswer(response, answer);
    const body = Buffer.from(answer.body);
    response.writeHead(answer.code, {
      "content-type": answer.type ?? "text/plain; charset=utf-8",
      "content-length": body.length,
      "cache-control": "no-store",
      "x-content-type-options": "nosniff",
      ...answer.headers,
      // A body is never read: what follows it could not be told from it.
      ...(hasBody(request) ? { connection: "close" } : {}),
    });
    response.end(request.method === "HEAD" ? undefined : body);
  });
  const crowd = new Crowd();
  server.on("connection", (socket) => crowd.enter(socket));
  return server;
}

/** Who is connected. Where there are too many, the one that has asked for nothing for the longest time goes. */
class Crowd {
  readonly #idle = new Set<Socket>();
  readonly #busy = new Set<Socket>();

  enter(socket: Socket): void {
    this.#idle.add(socket);
    socket.once("close", () => {
      this.#idle.delete(socket);
      this.#busy.delete(socket);
    });
    if (this.#idle.size + this.#busy.size <= CONNECTIONS_MAX) return;
    const [oldest = socket] = this.#idle;
    this.#idle.delete(oldest);
    oldest.destroy();
  }

  /** A request came, and is being answered. */
  begin(socket: Socket, response: ServerResponse): void {
    if (!this.#idle.delete(socket)) return;
    this.#busy.add(socket);
    response.once("close", () => {
      if (this.#busy.delete(socket) && !socket.destroyed) this.#idle.add(socket);
    });
  }
}

/** Sends a body of unknown length; a client that goes away ends it. */
async function streamAnswer(response: ServerResponse, answer: Answer): Promise<void> {
  response.writeHead(answer.code, {
    "content-type": answer.type ?? "application/octet-stream",
    "cache-control": "no-store",
    ...answer.headers,
    connection: "close",
  });
  const gone = new Promise<never>((_, reject) => {
    response.once("close", () => reject(new CascadeError("connection-lost", "the client is gone")));
  });
  gone.catch(() => {/* it may go once all is sent */});
  const write = (bytes: Uint8Array) =>
    Promise.race([
      gone,
      new Promise<void>((go, fail) => {
        // Settles once the bytes were handed on: their memory is used again.
        response.write(bytes, (error) => error ? fail(error) : go());
      }),
    ]);
  try {
    await answer.stream?.(write);
    response.end();
  } catch {
    // The maker has told why: the client sees that the file has no end.
    response.destroy();
  }
}

async function answerTo(
  request: IncomingMessage,
  options: AdminOptions,
  hostMatters: boolean,
): Promise<Answer> {
  const token = options.token();
  const { url, host } = asked(request);
  if (hostMatters && token === null && !isLocalHost(host)) {
    return { code: 421, body: "Ask for 127.0.0.1 or localhost.\n" };
  }
  if (token !== null && !showsToken(request.headers.authorization, token)) {
    const headers = { "www-authenticate": 'Bearer realm="cascade"' };
    return { code: 401, body: "Show the token: Authorization: Bearer TOKEN\n", headers };
  }
  const isControl = isControlUrl(url, options);
  const allow = isControl ? "POST" : "GET, HEAD";
  if (!allow.split(", ").includes(request.method ?? "")) {
    return { code: 405, body: `Only ${allow.replace(",", " and")}.\n`, headers: { allow } };
  }
  try {
    if (isControl) return await actOn(url, request.headers, options, options.status().name);
    const path = url.split("?")[0];
    if (path === "/marks" && options.marks !== undefined) return listMarks(options.marks);
    if (path === "/order" && options.control !== undefined) {
      return await answerProgress(
        new URL(url, "http://localhost").searchParams.get("node"),
        options.control,
      );
    }
    return page(url, options.status);
  } catch (error) {
    return { code: 500, body: `${describeError(error)}\n` };
  }
}

/** What is asked for, and of whom: the target may be a whole URL, whose host counts then (RFC 9112, 3.2.2). */
function asked({ url = "", headers }: IncomingMessage): { url: string; host: string | undefined } {
  const whole = /^http:\/\/([^/?]*)(.*)$/i.exec(url);
  if (whole === null) return { url, host: headers.host };
  return { url: whole[2] ?? "", host: whole[1] };
}

function page(url: string, status: () => NodeStatus): Answer {
  switch (url.split("?")[0]) {
    case "/status":
      return { code: 200, body: JSON.stringify(status()) + "\n", type: "application/json" };
    case "/metrics": {
      const residentBytes = Deno.memoryUsage().rss;
      return { code: 200, body: metricsText(status(), { residentBytes }), type: METRICS_TYPE };
    }
    case "/healthz": {
      const ailment = ailmentOf(status());
      return ailment === null ? { code: 200, body: "ok\n" } : { code: 503, body: `${ailment}\n` };
    }
    default:
      return { code: 404, body: "There is /status, /metrics and /healthz.\n" };
  }
}

/** Why a node is not well, or null if it is: `/healthz` says no more than that. */
export function ailmentOf(status: NodeStatus): string | null {
  const conflict = status.tree?.conflict ?? null;
  if (conflict !== null) return conflict;
  if (status.state !== "running") {
    return status.state + (status.reason === null ? "" : `: ${status.reason}`);
  }
  // A node that runs gives a reason only for what keeps it from its work: a full disk, say.
  const until = status.inconsistentUntil;
  if (status.consistent && until === null) return status.reason;
  const lsn = until?.lsn ?? null;
  return `inconsistent${lsn === null ? "" : ` until LSN ${lsn}`}` +
    (until === null ? "" : `: ${until.reason}`);
}

function isLocalHost(header: string | undefined): boolean {
  if (header === undefined) return false;
  const host = header.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1").toLowerCase();
  return isLoopback(host);
}

/** Compared by digest and in constant time, so that the time tells neither token nor its length. */
function showsToken(header: string | undefined, token: string): boolean {
  const match = /^Bearer +(\S+)$/i.exec(header ?? "");
  if (match === null || match[1]!.length > TOKEN_LENGTH_MAX) return false;
  return timingSafeEqual(digest(match[1]!), digest(token));
}

function digest(text: string): Uint8Array {
  return createHash("sha256").update(text).digest();
}

function hasBody(request: IncomingMessage): boolean {
  const { "content-length": length, "transfer-encoding": encoding } = request.headers;
  return (length !== undefined && length !== "0") || encoding !== undefined;
}
