/**
 * Tells the service manager how the process is, as sd_notify(3) does: a datagram to the socket that
 * `NOTIFY_SOCKET` names. Through the C library, since the runtime has no such sockets.
 *
 * @module
 */
import { openLibc } from "./libc_path.ts";

const AF_UNIX = 1;
const SOCK_DGRAM_CLOEXEC = 0o2000002;
const MSG_NOSIGNAL = 0x4000;

const SYMBOLS = {
  socket: { parameters: ["i32", "i32", "i32"], result: "i32" },
  sendto: { parameters: ["i32", "buffer", "usize", "i32", "buffer", "u32"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

/**
 * Sends `state` (`READY=1`, `STOPPING=1`) if a service manager asked for it. Whether it arrives is the
 * manager's business alone: nothing here fails for it.
 */
export function notifyService(state: string): void {
  if (Deno.build.os !== "linux") return;
  const asked = { name: "env", variable: "NOTIFY_SOCKET" } as const;
  if (Deno.permissions.querySync(asked).state !== "granted") return;
  const path = Deno.env.get("NOTIFY_SOCKET");
  if (path === undefined || !/^[/@]/.test(path)) return;
  try {
    send(path, state);
  } catch {
    // Another C library: the manager will have to do without.
  }
}

function send(path: string, state: string): void {
  const library = openLibc(SYMBOLS);
  if (library === null) return;
  try {
    const fd = library.symbols.socket(AF_UNIX, SOCK_DGRAM_CLOEXEC, 0);
    if (fd < 0) return;
    const text = new TextEncoder().encode(state);
    const address = socketAddress(path);
    library.symbols.sendto(
      fd,
      text,
      BigInt(text.length),
      MSG_NOSIGNAL,
      address,
      address.length,
    );
    library.symbols.close(fd);
  } finally {
    library.close();
  }
}

/** A `sockaddr_un`: family in the machine's order, path; `@` stands for the NUL of an abstract one. */
function socketAddress(path: string): Uint8Array<ArrayBuffer> {
  const name = new TextEncoder().encode(path);
  const address = new Uint8Array(2 + name.length + (path.startsWith("@") ? 0 : 1));
  new Uint16Array(address.buffer, 0, 1)[0] = AF_UNIX;
  address.set(name, 2);
  if (path.startsWith("@")) address[2] = 0;
  return address;
}
