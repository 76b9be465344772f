/**
 * NBD URIs, as libnbd and QEMU read them: `nbd://host[:port]/export` and
 * `nbd+unix:///export?socket=/path` (NetworkBlockDevice/nbd, doc/uri.md). With `nbds` in place of `nbd` it is over TLS,
 * with `tls-certificates=/folder`, and `tls-hostname=NAME` where the server's certificate has another name.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import { SOCKET_PATH_BYTES_MAX } from "../topology/address.ts";

/** The port that the protocol was given. */
const PORT_DEFAULT = 10809;
const TEXT_LENGTH_MAX = 8192;

/** Where an export is. */
export interface NbdPlace {
  /** For the network port: `tcp://host:port` or `unix:/path`. */
  readonly address: string;
  readonly exportName: string;
  /** Null: in plain. */
  readonly tls: NbdPlaceTls | null;
}

/** How it is spoken to over TLS. */
export interface NbdPlaceTls {
  /** The folder of `ca-cert.pem`, `client-cert.pem` and `client-key.pem`, as it was written. */
  readonly certificates: string;
  /** What has to stand in the server's certificate. */
  readonly hostname: string;
}

/** Whether a text wants to be an NBD URI. */
export function isNbdUri(text: string): boolean {
  return /^nbds?(?:\+\w+)?:/i.test(text);
}

/** Reads an NBD URI. Throws `usage`, saying what is wrong with it. */
export function parseNbdUri(text: string): NbdPlace {
  if (text.length > TEXT_LENGTH_MAX) throw wrong(text.slice(0, 80), "it is too long");
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    throw wrong(text, "it cannot be read");
  }
  switch (url.protocol) {
    case "nbd:":
    case "nbds:":
      return placeOf(url, tcpAddress(url, text), text);
    case "nbd+unix:":
    case "nbds+unix:":
      return placeOf(url, `unix:${socketOf(url, text)}`, text);
    default:
      throw wrong(text, `${url.protocol}// is not there yet`);
  }
}

function placeOf(url: URL, address: string, text: string): NbdPlace {
  const isTls = url.protocol.startsWith("nbds");
  return { address, exportName: exportOf(url, text), tls: isTls ? tlsOf(url, text) : null };
}

function tlsOf(url: URL, text: string): NbdPlaceTls {
  const certificates = url.searchParams.get("tls-certificates") ?? "";
  if (certificates === "") {
    throw wrong(text, "over TLS it needs ?tls-certificates= and a folder of certificates");
  }
  // What would make it less of a proof is not there to be left unseen.
  if (url.searchParams.get("tls-verify-peer") === "false") {
    throw wrong(text, "the server's certificate is always looked at");
  }
  const host = url.hostname.replace(/^\[(.*)\]$/, "$1");
  const hostname = url.searchParams.get("tls-hostname") ?? host;
  return { certificates, hostname: hostname === "" ? "localhost" : hostname };
}

function tcpAddress(url: URL, text: string): string {
  if (url.hostname === "") throw wrong(text, "it names no host");
  return `tcp://${url.hostname}:${url.port === "" ? PORT_DEFAULT : url.port}`;
}

function socketOf(url: URL, text: string): string {
  const socket = url.searchParams.get("socket");
  if (url.hostname !== "") throw wrong(text, "a Unix socket has no host: write three slashes");
  if (socket === null || !socket.startsWith("/")) {
    throw wrong(text, "it needs ?socket= and the absolute path of a socket");
  }
  const bytes = new TextEncoder().encode(socket).length;
  if (bytes > SOCKET_PATH_BYTES_MAX) {
    throw wrong(text, `the socket's path is longer than ${SOCKET_PATH_BYTES_MAX} bytes`);
  }
  return socket;
}

function exportOf(url: URL, text: string): string {
  try {
    return decodeURIComponent(url.pathname.replace(/^\//, ""));
  } catch {
    throw wrong(text, "the export's name cannot be read");
  }
}

function wrong(uri: string, reason: string): CascadeError {
  return new CascadeError("usage", `not a usable NBD URI: ${reason}`, {
    where: { uri },
    hint: "Write nbd://HOST[:PORT]/EXPORT, nbd+unix:///EXPORT?socket=/PATH, or, over TLS, " +
      "nbds://HOST[:PORT]/EXPORT?tls-certificates=FOLDER.",
  });
}
