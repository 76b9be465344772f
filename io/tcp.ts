/**
 * The TCP transport: `tcp://host:port`, `tcp://[::1]:7420`.
 *
 * @module
 */
import type { Connection, Journal, Listener } from "../core/ports.ts";
import { formatHostPort } from "./address.ts";
import { acceptLoop, listenError, StreamConnection, unreachableError } from "./stream.ts";

/** Where to, and for how long to try. */
export interface TcpDial {
  readonly host: string;
  readonly port: number;
  readonly timeoutMs: number;
}

/** Connects, trying every address of the host. Throws `unreachable`. */
export async function dialTcp({ host, port, timeoutMs }: TcpDial): Promise<Connection> {
  const address = formatHostPort("tcp", host, port);
  const giveUp = new AbortController();
  const reason = new Error(`no answer within ${timeoutMs / 1000} s`);
  const timer = setTimeout(() => giveUp.abort(reason), timeoutMs);
  try {
    const socket = await Deno.connect({ hostname: host, port, signal: giveUp.signal });
    return tcpConnection(socket, address);
  } catch (error) {
    throw unreachableError(address, giveUp.signal.aborted ? reason : error);
  } finally {
    clearTimeout(timer);
  }
}

/** Listens; port 0 takes any free one. Throws `address-in-use` or `bad-address`. */
export function listenTcp(
  host: string,
  port: number,
  accept: (connection: Connection) => void,
  journal: Journal | null,
): Listener {
  const listener = openListener(host, port);
  const address = formatHostPort("tcp", host, listener.addr.port);
  acceptLoop(listener, address, journal, (socket) => {
    const { hostname, port } = socket.remoteAddr as Deno.NetAddr;
    let connection: Connection;
    try {
      connection = tcpConnection(socket as Deno.TcpConn, formatHostPort("tcp", hostname, port));
    } catch {
      return; // It was gone before it was greeted.
    }
    accept(connection);
  });
  return { address, close: () => listener.close() };
}

function openListener(host: string, port: number): Deno.TcpListener {
  try {
    return Deno.listen({ hostname: host, port });
  } catch (error) {
    throw listenError(formatHostPort("tcp", host, port), error);
  }
}

/** No delay: frames are batched by whoever writes. Keep-alive finds clients that are long gone. */
function tcpConnection(socket: Deno.TcpConn, remote: string): Connection {
  try {
    socket.setNoDelay(true);
    socket.setKeepAlive(true);
  } catch (error) {
    socket.close();
    throw error;
  }
  return new StreamConnection(socket, "tcp", remote);
}
