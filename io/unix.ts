/**
 * The transport over Unix sockets: `unix:/path`.
 *
 * @module
 */
import { chmodSync, lstatSync, renameSync, statSync, unlinkSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { CascadeError } from "../core/errors.ts";
import type { Connection, Journal, Listener } from "../core/ports.ts";
import { systemCode } from "./disk_errors.ts";
import { acceptLoop, listenError, StreamConnection, unreachableError } from "./stream.ts";

/** Owner and group may connect: QEMU and its like often run as a user of their own. */
const SOCKET_MODE = 0o660;

/** Connects. Throws `unreachable`. */
export async function dialUnix(path: string): Promise<Connection> {
  try {
    const socket = await Deno.connect({ transport: "unix", path });
    return new StreamConnection(socket, "unix", `unix:${path}`);
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
  const bind = (path: string) => Deno.listen({ transport: "unix", path });
  const { bound: listener, remove } = await bindSocket(path, bind);
  let count = 0;
  acceptLoop(listener, address, journal, (socket) => {
    count += 1;
    accept(new StreamConnection(socket, "unix", `${address}#${count}`));
  });
  return {
    address,
    close() {
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
 * Makes a socket file, for owner and group only, in the place of a stale one. `bind` gets another
 * path than `path`: the file takes its place, all at once, when it is ready. It also keeps the file safe
 * from the runtime, which removes whatever has the path of a listener some time after that was closed.
 * Throws `address-in-use`, `bad-address`.
 */
export async function bindSocket<T>(
  path: string,
  bind: (path: string) => T | Promise<T>,
): Promise<BoundSocket<T>> {
  refuseWithoutFolder(path);
  await refuseUnlessStale(path);
  const fresh = join(dirname(path), freshName(basename(path)));
  try {
    const bound = await bind(fresh);
    chmodSync(fresh, SOCKET_MODE);
    const made = lstatSync(fresh).ino;
    renameSync(fresh, path);
    return { bound, remove: () => removeIfSame(path, made) };
  } catch (error) {
    throw listenError(`unix:${path}`, error);
  }
}

/** No longer than the name that it gives way to: the system takes no path that is much longer. */
function freshName(name: string): string {
  const random = crypto.randomUUID().replaceAll("-", "");
  return name.length > 2
    ? `.${random.slice(0, Math.min(8, name.length - 1))}`
    : random.slice(0, name.length);
}

function refuseWithoutFolder(path: string): void {
  const folder = dirname(path);
  try {
    if (statSync(folder).isDirectory()) return;
  } catch (error) {
    const code = systemCode(error);
    if (code !== "ENOENT" && code !== "ENOTDIR") throw listenError(`unix:${path}`, error);
  }
  throw new CascadeError("bad-address", `there is no folder ${folder}`, {
    where: { address: `unix:${path}` },
    hint: "Make the folder, or choose another path for the socket.",
  });
}

/** What a killed program has left may be replaced, and nothing else. */
async function refuseUnlessStale(path: string): Promise<void> {
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
    if (error instanceof Deno.errors.ConnectionRefused) return;
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
