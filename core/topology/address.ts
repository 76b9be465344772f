/**
 * Addresses as a topology writes them: `tcp://host:port`, `unix:/path` (or relative to the file),
 * `tls://`, `quic://`, and `http://host:port` (or a Unix socket) for the admin side.
 *
 * @module
 */
import { resolvePath } from "./paths.ts";

/** Schemes of streams. */
export type StreamScheme = "tcp" | "unix" | "tls" | "quic";

/** An address, taken apart. A host has no brackets, even if it is an IPv6 one. */
export type Endpoint =
  | { readonly scheme: "tcp" | "tls" | "quic" | "http" | "https"; host: string; port: number }
  | { readonly scheme: "unix"; readonly path: string };

/** An address, or what was expected in its place. */
export type EndpointResult =
  | { readonly ok: true; readonly endpoint: Endpoint }
  | { readonly ok: false; readonly expected: string };

export const STREAM_EXPECTED = "an address such as tls://10.0.0.1:7420 or unix:/run/cascade.sock";
export const ADMIN_EXPECTED = "a URL such as http://127.0.0.1:7421, or unix:/PATH";

/** The kernel's `sun_path` has 108 bytes, of which one ends the text. */
export const SOCKET_PATH_BYTES_MAX = 107;

const TEXT_LENGTH_MAX = 4096;

/** Reads the address of a stream; a Unix path may still be relative. */
export function parseStreamAddress(text: string): EndpointResult {
  if (text.length > TEXT_LENGTH_MAX) return { ok: false, expected: STREAM_EXPECTED };
  if (text.startsWith("unix:")) {
    const path = text.replace(/^unix:(\/\/(?=\/))?/, "");
    if (path === "" || path.endsWith("/") || path.includes("\0")) {
      return {
        ok: false,
        expected: "unix: and the path of a socket, such as unix:/run/cascade.sock",
      };
    }
    return { ok: true, endpoint: { scheme: "unix", path } };
  }
  const scheme = /^(tcp|tls|quic):\/\//.exec(text)?.[1];
  if (scheme === undefined) return { ok: false, expected: STREAM_EXPECTED };
  return parseHostPort(text, scheme as "tcp" | "tls" | "quic");
}

/** Reads the address of an admin side: a URL with nothing behind the port, or a Unix socket. */
export function parseAdminUrl(text: string): EndpointResult {
  if (text.startsWith("unix:")) return parseStreamAddress(text);
  const scheme = text.length > TEXT_LENGTH_MAX ? undefined : /^(https?):\/\//.exec(text)?.[1];
  if (scheme === undefined) return { ok: false, expected: ADMIN_EXPECTED };
  return parseHostPort(text, scheme as "http" | "https");
}

function parseHostPort(
  text: string,
  scheme: "tcp" | "tls" | "quic" | "http" | "https",
): EndpointResult {
  const rest = text.slice(scheme.length + 3);
  const match = /^(?:\[([0-9A-Fa-f:.]+(?:%[\w.-]+)?)\]|([\w.-]+))(?::(\d{1,5}))?\/?$/.exec(rest);
  const host = match?.[1] ?? match?.[2];
  if (match === null || host === undefined) {
    return { ok: false, expected: `${scheme}://HOST:PORT (an IPv6 host in brackets)` };
  }
  if (match[3] === undefined) {
    return { ok: false, expected: `a port as well: ${scheme}://${rest.replace(/\/$/, "")}:PORT` };
  }
  const port = Number(match[3]);
  if (port > 65535) return { ok: false, expected: "a port of 65535 at most" };
  return { ok: true, endpoint: { scheme, host: host.toLowerCase(), port } };
}

/** The text of an address, with a Unix path resolved from `folder`. */
export function formatEndpoint(endpoint: Endpoint, folder: string): string {
  if (endpoint.scheme === "unix") return `unix:${resolvePath(folder, endpoint.path)}`;
  const host = endpoint.host.includes(":") ? `[${endpoint.host}]` : endpoint.host;
  return `${endpoint.scheme}://${host}:${endpoint.port}`;
}

const EXEC = "exec:";

/** A command in the place of an address: who dials it speaks with what it starts. */
export function formatExec(command: readonly string[]): string {
  return EXEC + JSON.stringify(command);
}

/** The command of {@linkcode formatExec}; null: it is another kind of address. */
export function parseExec(text: string): string[] | null {
  if (!text.startsWith(EXEC)) return null;
  const command: unknown = JSON.parse(text.slice(EXEC.length));
  return Array.isArray(command) ? command.map(String) : null;
}

/** Whether only programs of the same machine reach a listener on `host`. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Whether `host` stands for every address of the machine: good to listen on, not to dial. */
export function isWildcard(host: string): boolean {
  return host === "0.0.0.0" || host === "::";
}
