/**
 * Who a node is to others by TLS: its certificate, its key, and whom it believes.
 *
 * @module
 */
import type { NodeConfig, TlsFiles } from "../core/config.ts";
import { CascadeError } from "../core/errors.ts";
import type { TlsSelf } from "./tls.ts";

/** The texts of a node's PEM files. The key is never shown anywhere. */
export interface TlsIdentity {
  /** One certificate or more: whoever was certified by one of them is believed. */
  readonly caPem: string;
  /** The node's own certificate, and those between it and the CA, in this order. */
  readonly certPem: string;
  readonly keyPem: string;
}

/** Who a node is over TLS and QUIC: its files are read when they are first needed. */
export function tlsSelf(config: Pick<NodeConfig, "cluster" | "tls">): TlsSelf {
  let known: TlsIdentity | null = null;
  return {
    cluster: config.cluster,
    identity: () => known ??= config.tls === null ? null : readIdentity(config.tls),
  };
}

/** Reads a node's PEM files. Throws `topology`, naming the file. */
export function readIdentity(files: TlsFiles): TlsIdentity {
  return {
    caPem: readPem(files.ca, "certificates of the CA"),
    certPem: readPem(files.cert, "certificate"),
    keyPem: readPem(files.key, "private key"),
  };
}

function readPem(path: string, what: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new CascadeError("topology", `the ${what} ${path} cannot be read: ${reason}`, {
      hint: "`cascade certs issue` makes it",
      cause: error,
    });
  }
}
