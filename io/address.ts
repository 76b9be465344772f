/**
 * Addresses of streams, `tcp://host:port` and `unix:/path`, as the transports take them.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";

/** An address, taken apart. A host has no brackets, even if it is an IPv6 one. */
export type Address =
  | { readonly scheme: "tcp"; readonly host: string; readonly port: number }
  | { readonly scheme: "unix"; readonly path: string };

/** The kernel's `sun_path` has 108 bytes, of which one ends the text. */
const SOCKET_PATH_BYTES_MAX = 107;

/** Reads an address. Throws `bad-address`, saying what is wrong with it. */
export function parseAddress(text: string): Address {
  const colon = text.indexOf(":");
  const scheme = text.slice(0, Math.max(colon, 0));
  if (scheme === "tcp") return parseTcp(text);
  if (scheme === "unix") return parseUnix(text);
  throw badAddress(text, "no transport for this kind of address");
}

function parseTcp(text: string): Address {
  const { host, port } = parseHostPort(text, "tcp");
  return { scheme: "tcp", host, port };
}

/** Takes `scheme://host:port` apart; nothing may follow but a slash. Throws `bad-address`. */
export function parseHostPort(text: string, scheme: string): { host: string; port: number } {
  const rest = text.startsWith(`${scheme}://`) ? text.slice(scheme.length + 3) : "";
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+)):(\d{1,5})\/?$/.exec(rest);
  const host = match?.[1] ?? match?.[2];
  if (match === null || host === undefined) {
    throw badAddress(text, `expected ${scheme}://HOST:PORT`);
  }
  const port = Number(match[3]);
  if (port > 65535) throw badAddress(text, "a port is 65535 at most");
  return { host, port };
}

function parseUnix(text: string): Address {
  const path = text.replace(/^unix:(\/\/(?=\/))?/, "");
  if (!path.startsWith("/") || path.endsWith("/") || path.includes("\0")) {
    throw badAddress(text, "expected unix:/PATH, with an absolute path");
  }
  const bytes = new TextEncoder().encode(path).length;
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    throw badAddress(
      text,
      `the path has ${bytes} bytes, and the system takes ${SOCKET_PATH_BYTES_MAX} at most`,
    );
  }
  return { scheme: "unix", path };
}

/** The text of a TCP address; IPv6 hosts in brackets. */
export function formatTcp(host: string, port: number, scheme = "tcp"): string {
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

/** Whether only programs of this machine can reach a listener on `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" ||
    /^127(\.\d{1,3}){3}$/.test(host);
}

/** A `bad-address` error. */
export function badAddress(address: string, message: string): CascadeError {
  return new CascadeError("bad-address", message, {
    where: { address },
    hint: "Write tcp://HOST:PORT or unix:/PATH.",
  });
}
