/**
 * Who a node is to others by TLS: its certificate, its key, and whom it believes.
 *
 * @module
 */
import type { NodeConfig, TlsFiles } from "../core/config.ts";
import { assert } from "../core/assert.ts";
import { CascadeError } from "../core/errors.ts";
import { certificatesIn, isKeyOf } from "./certificate.ts";
import type { NbdTlsSelf } from "./nbd_tls.ts";
import { readPrivateText } from "./private_file.ts";
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
  return new NodeIdentity(config.cluster, config.tls);
}

/** Who a node is to NBD clients over TLS; null: it serves none. */
export function nbdTlsSelf(
  { cluster, nbdTls = null }: Pick<NodeConfig, "cluster" | "nbdTls">,
): NbdTlsSelf | null {
  if (nbdTls === null) return null;
  const identity = new NodeIdentity(cluster, nbdTls.files);
  return nbdSelf(identity, () => nbdTls.clients);
}

/** The same of an identity. */
export function nbdSelf(
  identity: NodeIdentity,
  clients: () => readonly string[] | null,
): NbdTlsSelf {
  return {
    cluster: identity.cluster,
    identity: () => {
      const found = identity.identity();
      assert(found !== null, "NBD over TLS is served with files");
      return found;
    },
    clients,
  };
}

/** The same, and it can be read again while the node runs. */
export class NodeIdentity implements TlsSelf {
  readonly cluster: string;
  #files: TlsFiles | null;
  #known: TlsIdentity | null = null;

  constructor(cluster: string, files: TlsFiles | null) {
    this.cluster = cluster;
    this.#files = files;
  }

  /** What was read last; null: nothing was needed yet. */
  get known(): TlsIdentity | null {
    return this.#known;
  }

  /** Null: it has no files. Throws `topology`. */
  readonly identity = (): TlsIdentity | null => {
    if (this.#files === null) return null;
    return this.#known ??= readIdentity(this.#files);
  };

  /**
   * Reads the files, which may be others now; connections from now on are made with what is in them. True when that
   * is something else than before. Throws `topology`: then all stays as it was.
   */
  reload(files: TlsFiles | null): boolean {
    const next = files === null ? null : readIdentity(files);
    const before = this.#known;
    this.#files = files;
    if (JSON.stringify(before) === JSON.stringify(next)) return false;
    this.#known = next;
    return true;
  }
}

/** Reads a node's PEM files, and sees whether they belong together. Throws `topology`, naming the file. */
export function readIdentity(files: TlsFiles, hint = ISSUE_HINT): TlsIdentity {
  const { ca, cert, key } = files;
  const caPem = readPem(ca, "certificates of the CA", hint);
  const certPem = readPem(cert, "certificate", hint);
  const keyPem = readPrivateText({ path: key, what: "private key", hint });
  certificatesIn(caPem, ca);
  const [own] = certificatesIn(certPem, cert);
  if (!isKeyOf(own, keyPem, key)) {
    throw new CascadeError("topology", `${key} is not the private key of the certificate ${cert}`, {
      hint: "Copy both from where they were made; they are a pair",
    });
  }
  return { caPem, certPem, keyPem };
}

const ISSUE_HINT = "`cascade certs issue` makes it";

function readPem(path: string, what: string, hint: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    const isThere = !(error instanceof Deno.errors.NotFound);
    const reason = error instanceof Error ? error.message : String(error);
    throw new CascadeError(
      "topology",
      `the ${what} ${path} ${isThere ? `cannot be read: ${reason}` : "is not there"}`,
      { ...(isThere ? {} : { hint }), cause: error },
    );
  }
}
