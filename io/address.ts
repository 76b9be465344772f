/**
 * Addresses as the transports take them: what the topology understands, taken apart.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import {
  parseAdminUrl,
  parseStreamAddress,
  SOCKET_PATH_BYTES_MAX,
} from "../core/topology/address.ts";

/** A host has no brackets, even if it is an IPv6 one. */
export type HostAddress = {
  readonly scheme: "tcp" | "tls" | "quic";
  readonly host: string;
  readonly port: number;
};
export type HttpAddress = { readonly scheme: "http"; readonly host: string; readonly port: number };
/** The path is absolute. */
export type UnixAddress = { readonly scheme: "unix"; readonly path: string };

/** Reads the address of a stream. Throws `bad-address`, saying what is wrong with it. */
export function parseAddress(text: string): HostAddress | UnixAddress {
  const parsed = parseStreamAddress(text);
  if (!parsed.ok) throw badAddress(text, `expected ${parsed.expected}`);
  const { endpoint } = parsed;
  if (endpoint.scheme === "unix") return checkedUnix(text, endpoint.path);
  if (endpoint.scheme === "http" || endpoint.scheme === "https") {
    throw badAddress(text, "expected the address of a stream");
  }
  return { scheme: endpoint.scheme, host: endpoint.host, port: endpoint.port };
}

/** Reads the address of an admin side: `http://host:port` or `unix:/path`. Throws `bad-address`. */
export function parseAdminAddress(text: string): HttpAddress | UnixAddress {
  if (text.startsWith("unix:")) return parseAddress(text) as UnixAddress;
  const parsed = parseAdminUrl(text);
  if (!parsed.ok) throw badAddress(text, `expected ${parsed.expected}`);
  const { endpoint } = parsed;
  if (endpoint.scheme !== "http") throw badAddress(text, `${endpoint.scheme} is not there yet`);
  return { scheme: "http", host: endpoint.host, port: endpoint.port };
}

function checkedUnix(text: string, path: string): UnixAddress {
  if (!path.startsWith("/")) throw badAddress(text, "expected an absolute path");
  const bytes = new TextEncoder().encode(path).length;
  if (bytes <= SOCKET_PATH_BYTES_MAX) return { scheme: "unix", path };
  throw badAddress(
    text,
    `the path has ${bytes} bytes, and the system takes ${SOCKET_PATH_BYTES_MAX} at most`,
  );
}

/** The text of an address with a host; IPv6 ones in brackets. */
export function formatHostPort(
  scheme: HostAddress["scheme"] | "http",
  host: string,
  port: number,
): string {
  return `${scheme}://${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function badAddress(address: string, message: string): CascadeError {
  return new CascadeError("bad-address", message, { where: { address } });
}
