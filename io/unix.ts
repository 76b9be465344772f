/**
 * The transport over Unix sockets: `unix:/path`.
 *
 * @module
 */
import { chmodSync, lstatSync, unlinkSync } from "node:fs";
import { CascadeError } from "../core/errors.ts";
import type { Connection, Journal, Listener } from "../core/ports.ts";
import { systemCode } from "./disk_errors.ts";
import { acceptLoop, listenError, StreamConnection, unreachableError } from "./stream.ts";

/** Owner and group may connect: QEMU and its like often run as a user of their own. */
const SOCKET_MODE = 0o660;
/** While a socket is made: nobody else may slip in before its mode is set. */
const SOCKET_UMASK = 0o007;

/** Connects. Throws `unreachable`. */
export async function dialUnix(path: string): Promise<Connection> {
  try {
    const socket = await Deno.connect({ transport: "unix", path });
    return new StreamConnection(socket, `unix:${path}`);
  } catch (error) {
    throw unreachableError(`unix:${path}`, error);
  }
}

/** Listens, in the place of a socket file that nobody serves any more. Throws `address-in-use`, `bad-address`. */
export async function listenUnix(
  path: string,
  accept: (connection: Connection) => void,
  journal: Journal | null,
): Promise<Listener> {
  const address = `unix:${path}`;
  const { bound: listener, remove } = await bindSocket(
    path,
    () => Deno.listen({ transport: "unix", path }),
  );
  let count = 0;
  acceptLoop(listener, address, journal, (socket) => {
    count += 1;
    accept(new StreamConnection(socket, `${address}#${count}`));
  });
  return {
    address,
    close() {
      // The file goes first: the runtime removes whatever has this path when the listener closes.
      remove();
      listener.close();
    },
  };
}

/** A socket that {@linkcode bindSocket} made. */
export interface BoundSocket<T> {
  readonly bound: T;
  /** Removes the socket file, unless another program has put its own in the place. */
  remove(): void;
}

/**
 * Makes a socket file with `bind`: clears away a stale one, sees to it that only owner and group may
 * connect, at no moment anybody else. Throws `address-in-use`, `bad-address`.
 */
export async function bindSocket<T>(
  path: string,
  bind: () => T | Promise<T>,
): Promise<BoundSocket<T>> {
  await clearStale(path);
  const umask = Deno.umask(SOCKET_UMASK);
  let bound: T;
  try {
    bound = await bind();
  } catch (error) {
    throw listenError(`unix:${path}`, error);
  } finally {
    Deno.umask(umask);
  }
  chmodSync(path, SOCKET_MODE);
  const made = lstatSync(path).ino;
  return { bound, remove: () => removeIfSame(path, made) };
}

async function clearStale(path: string): Promise<void> {
  const kind = kindAt(path);
  if (kind === "nothing") return;
  if (kind === "other") {
    throw new CascadeError("address-in-use", "there is a file of another kind at this path", {
      where: { address: `unix:${path}` },
      hint: "Move it away, or choose another path for the socket.",
    });
  }
  try {
    (await Deno.connect({ transport: "unix", path })).close();
  } catch (error) {
    // Refused: the file is what a program that was killed has left.
    if (error instanceof Deno.errors.ConnectionRefused) return removeFile(path);
    if (error instanceof Deno.errors.NotFound) return;
    throw listenError(`unix:${path}`, error);
  }
  throw new CascadeError("address-in-use", "another program serves this socket", {
    where: { address: `unix:${path}` },
    hint: "Stop that program, or choose another path for the socket.",
    retryable: true,
  });
}

function kindAt(path: string): "nothing" | "socket" | "other" {
  try {
    return lstatSync(path).isSocket() ? "socket" : "other";
  } catch (error) {
    if (systemCode(error) === "ENOENT") return "nothing";
    throw listenError(`unix:${path}`, error);
  }
}

function removeIfSame(path: string, ino: number): void {
  try {
    if (lstatSync(path).ino === ino) unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw listenError(`unix:${path}`, error);
  }
}

function removeFile(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (systemCode(error) !== "ENOENT") throw listenError(`unix:${path}`, error);
  }
}
