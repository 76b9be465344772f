/**
 * NBD over TLS as a client: the name that was dialled has to stand in the server's certificate.
 *
 * @module
 */
import { connect as connectPlain, isIP, type Socket } from "node:net";
import { join } from "node:path";
import tls from "node:tls";
import { CascadeError, describeError } from "../core/errors.ts";
import type { NbdPlaceTls } from "../core/nbd_client/uri.ts";
import type { Connection, Network } from "../core/ports.ts";
import { parseAddress } from "./address.ts";
import { readIdentity, type TlsIdentity } from "./identity.ts";
import { lost, NbdTlsConnection, UpgradableConnection, VERSION_MIN } from "./nbd_tls.ts";
import { unreachableError } from "./stream.ts";

const DIAL_TIMEOUT_MS = 10_000;

/**
 * Dials NBD servers for TLS, with the certificates of a folder as QEMU and libnbd have them. Throws `topology` when
 * they will not do.
 */
export function nbdTlsNetwork({ certificates, hostname }: NbdPlaceTls, plain: Network): Network {
  const identity = readIdentity({
    ca: join(certificates, "ca-cert.pem"),
    cert: join(certificates, "client-cert.pem"),
    key: join(certificates, "client-key.pem"),
  }, "`cascade certs issue --client NAME` makes a folder with it");
  return {
    dial(address) {
      const to = parseAddress(address);
      const client = { identity, hostname };
      return dialNbd({ to, address, timeoutMs: DIAL_TIMEOUT_MS, client });
    },
    listen: (address, accept) => plain.listen(address, accept),
  };
}

/** Who a client is, and whom it expects to meet. */
interface NbdTlsClient {
  readonly identity: TlsIdentity;
  /** The name or address that has to stand in the server's certificate. */
  readonly hostname: string;
}

/** Where to, and for how long to try. */
interface NbdDial {
  /** Either of the two. */
  readonly to: { readonly host: string; readonly port: number } | { readonly path: string };
  readonly address: string;
  readonly timeoutMs: number;
  readonly client: NbdTlsClient;
}

/** Connects in plain, to go on over TLS. Throws `unreachable`. */
function dialNbd({ to, address, timeoutMs, client }: NbdDial): Promise<Connection> {
  return new Promise((done, fail) => {
    const socket = connectPlain({ ...to, noDelay: true, keepAlive: true });
    const giveUp = (error: unknown) => {
      clearTimeout(timer);
      socket.destroy();
      fail(unreachableError(address, error));
    };
    const timer = setTimeout(
      () => giveUp(new Error(`no answer within ${timeoutMs / 1000} s`)),
      timeoutMs,
    );
    socket.once("error", giveUp);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.off("error", giveUp);
      done(new UpgradableConnection(socket, address, () => clientSide(socket, address, client)));
    });
  });
}

function clientSide(plain: Socket, remote: string, client: NbdTlsClient): Promise<Connection> {
  const { identity: { caPem: ca, certPem: cert, keyPem: key }, hostname } = client;
  return new Promise((done, fail) => {
    const socket = tls.connect({
      ...{ socket: plain, ca, cert, key, minVersion: VERSION_MIN, rejectUnauthorized: true },
      // No name is asked for by its address.
      ...(isIP(hostname) === 0 ? { servername: hostname } : {}),
      checkServerIdentity: (_, certificate) => tls.checkServerIdentity(hostname, certificate),
    });
    const refuse = (error: unknown) => {
      plain.destroy();
      socket.destroy();
      fail(error instanceof CascadeError ? error : distrusted(remote, error));
    };
    socket.on("error", refuse);
    plain.once("close", () => refuse(lost(remote)));
    socket.once("secureConnect", () => {
      if (!socket.authorized) return refuse(new Error("the server's certificate is not believed"));
      socket.off("error", refuse);
      socket.on("error", () => {/* whoever reads or writes meets it */});
      done(new NbdTlsConnection(socket, remote, null));
    });
  });
}

function distrusted(remote: string, error: unknown): CascadeError {
  return new CascadeError("refused", `no TLS with the NBD server: ${describeError(error)}`, {
    where: { peer: remote },
    hint:
      "Is ca-cert.pem of the CA that made its certificate, and does the host that was named stand in that?",
    cause: error,
  });
}
