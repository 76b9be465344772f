/**
 * The folder of certificates, and how they get there. Made once, kept, renewed; no key is ever overwritten unless a
 * new one is asked for.
 *
 *     ca.crt                        whom all believe: to every host
 *     NODE.crt, NODE.key            a node's own: to its host, and to no other
 *     clients/NAME/ca-cert.pem      what an NBD client needs, under the names that QEMU and libnbd look for
 *     clients/NAME/client-cert.pem
 *     clients/NAME/client-key.pem
 *
 * The key of the CA lies elsewhere, beside the topology: whoever copies this folder does not give it away.
 *
 * @module
 */
import type { X509Certificate } from "node:crypto";
import { CascadeError } from "../core/errors.ts";
import { certificateDnsName, certificateUri, clientUri } from "../core/topology/certified_names.ts";
import type { CertificateHosts } from "../core/topology/certificate_hosts.ts";
import { certificatesIn } from "./certificate.ts";
import { readPrivateText } from "./private_file.ts";
import { makePrivateFolder, makeWhole, replaceWhole } from "./whole_file.ts";
import type { Certified } from "./x509.ts";

/** How long a CA is good for. */
export const CA_DAYS = 3650;
/** How long a node's or a client's certificate is good for, unless something else is asked for. */
export const LEAF_DAYS = 730;

const CA_NAME = "Cascade CA of ";
const PUBLIC = 0o644;
const PRIVATE = 0o600;

/** A certificate and its key, and the CA beside them. */
export interface PairFiles {
  readonly cert: string;
  readonly key: string;
  /** A copy of the CA's certificate that goes with them; null: it is the folder's own. */
  readonly ca: string | null;
}

/** Whom a certificate is for. */
export type Holder =
  | { readonly kind: "node"; readonly name: string; readonly hosts: CertificateHosts }
  | { readonly kind: "client"; readonly name: string };

/** For how long, from when. */
export interface Term {
  readonly nowMs: number;
  readonly days: number;
}

/** What became of a pair of files. */
export interface Issued {
  readonly files: PairFiles;
  readonly made: boolean;
  readonly certificate: X509Certificate;
}

/** See the module's text. */
export class CertificateFolder {
  readonly cluster: string;
  readonly path: string;
  readonly caKeyPath: string;

  constructor(cluster: string, path: string, caKeyPath: string) {
    this.cluster = cluster;
    this.path = path;
    this.caKeyPath = caKeyPath;
  }

  get caPath(): string {
    return `${this.path}/ca.crt`;
  }

  filesOf({ kind, name }: Pick<Holder, "kind" | "name">): PairFiles {
    if (kind === "node") {
      return { cert: `${this.path}/${name}.crt`, key: `${this.path}/${name}.key`, ca: null };
    }
    const folder = `${this.path}/clients/${name}`;
    return {
      cert: `${folder}/client-cert.pem`,
      key: `${folder}/client-key.pem`,
      ca: `${folder}/ca-cert.pem`,
    };
  }

  /** Clients that have a folder, sorted. */
  clients(): string[] {
    return names(`${this.path}/clients`);
  }

  /** Those that have a certificate, in the topology or not, sorted. */
  nodes(): string[] {
    return names(this.path).flatMap((file) => /^(.+)\.crt$/.exec(file)?.[1] ?? [])
      .filter((name) => name !== "ca");
  }

  /** The CA's certificate; null when there is none. Throws `topology`. */
  ca(): X509Certificate | null {
    const pem = textOf(this.caPath);
    return pem === null ? null : certificatesIn(pem, this.caPath)[0];
  }

  /** The certificate of a holder; null when there is none. Throws `topology`. */
  certificate(holder: Pick<Holder, "kind" | "name">): X509Certificate | null {
    const { cert } = this.filesOf(holder);
    const pem = textOf(cert);
    return pem === null ? null : certificatesIn(pem, cert)[0];
  }

  /** Throws `usage` if one of these nodes has no certificate, and none can be made here. */
  checkCanIssue(nodes: readonly string[]): void {
    const missing = nodes.filter((name) => this.certificate({ kind: "node", name }) === null);
    if (missing.length > 0 && exists(this.caPath) && !exists(this.caKeyPath)) {
      throw this.#keyIsElsewhere();
    }
  }

  /** Makes the CA unless there is one; true if it was made. Throws `usage` when half of it is missing. */
  async ensureCa({ nowMs }: Pick<Term, "nowMs">): Promise<boolean> {
    const hasKey = exists(this.caKeyPath);
    if (exists(this.caPath)) {
      if (!hasKey) throw this.#keyIsElsewhere();
      return false;
    }
    // A key without a certificate is what is left of a run that was cut off: it goes on from there.
    const keyPem = hasKey ? this.#caKey() : null;
    const { makeAuthority } = await import("./x509.ts");
    const commonName = `${CA_NAME}${this.cluster}`;
    const ca = await makeAuthority({ commonName, nowMs, days: CA_DAYS, keyPem });
    makePrivateFolder(this.path);
    if (!hasKey) makeKey(this.caKeyPath, ca.keyPem);
    return makeWhole({ path: this.caPath, text: ca.certPem, mode: PUBLIC });
  }

  /** Whether the CA is one that this made, and not one of people's own. */
  isCaOurs(): boolean {
    return this.#caName() !== null;
  }

  #caName(): string | null {
    const subject = this.ca()?.subject ?? "";
    return subject.startsWith(`CN=${CA_NAME}`) ? subject.slice("CN=".length) : null;
  }

  /** The same CA with the same key, for as long again. What it has certified stays good. Throws `usage`. */
  async renewCa({ nowMs }: Pick<Term, "nowMs">): Promise<void> {
    const { keyPem } = this.#authority();
    if (!this.isCaOurs()) {
      throw new CascadeError("usage", `${this.caPath} is a CA that was not made here`, {
        hint: "Have it renewed by whoever made it: what has the same name and key takes its place",
      });
    }
    const { makeAuthority } = await import("./x509.ts");
    // Its name stays, too: what it has certified names it.
    const commonName = this.#caName() ?? "";
    const { certPem } = await makeAuthority({ commonName, nowMs, days: CA_DAYS, keyPem });
    replaceWhole({ path: this.caPath, text: certPem, mode: PUBLIC });
    for (const name of this.clients()) {
      const { ca } = this.filesOf({ kind: "client", name });
      if (ca !== null) replaceWhole({ path: ca, text: certPem, mode: PUBLIC });
    }
  }

  /** Makes a certificate unless there is one. Throws `usage`. */
  async issue(holder: Holder, term: Term): Promise<Issued> {
    const files = this.filesOf(holder);
    const there = this.certificate(holder);
    if (there !== null) return { files, made: false, certificate: there };
    const keyPem = exists(files.key) ? readKey(files.key) : null;
    const pair = await this.#certify(holder, term, keyPem);
    makePrivateFolder(this.path);
    if (files.ca !== null) {
      makePrivateFolder(`${this.path}/clients`);
      makePrivateFolder(`${this.path}/clients/${holder.name}`);
      makeWhole({ path: files.ca, text: this.#authority().certPem, mode: PUBLIC });
    }
    // The key first: a certificate is there with its key, or not at all.
    if (keyPem === null) makeKey(files.key, pair.keyPem);
    const made = makeWhole({ path: files.cert, text: pair.certPem, mode: PUBLIC });
    return { files, made, certificate: certificatesIn(pair.certPem, files.cert)[0] };
  }

  /** Makes a certificate anew, for the same key unless `newKey`. Throws `usage` and `topology`. */
  async renew(holder: Holder, term: Term, newKey: boolean): Promise<Issued> {
    const files = this.filesOf(holder);
    const keyPem = newKey ? null : readKey(files.key);
    const pair = await this.#certify(holder, term, keyPem);
    if (newKey) replaceWhole({ path: files.key, text: pair.keyPem, mode: PRIVATE });
    replaceWhole({ path: files.cert, text: pair.certPem, mode: PUBLIC });
    return { files, made: true, certificate: certificatesIn(pair.certPem, files.cert)[0] };
  }

  async #certify(holder: Holder, term: Term, keyPem: string | null): Promise<Certified> {
    const ca = this.#authority();
    const { certify } = await import("./x509.ts");
    return await certify(ca, { ...this.#names(holder), ...term, keyPem });
  }

  #names(holder: Holder) {
    const { cluster } = this;
    const { name } = holder;
    if (holder.kind === "client") {
      return { commonName: name, uris: [clientUri(cluster, name)], dns: [], ips: [] };
    }
    return {
      commonName: name,
      uris: [certificateUri(cluster, name)],
      dns: [certificateDnsName(cluster, name), ...holder.hosts.dns],
      ips: holder.hosts.ips,
    };
  }

  #authority(): Certified {
    const certPem = textOf(this.caPath);
    if (certPem === null) {
      throw new CascadeError("usage", `there is no CA: ${this.caPath} is not there`, {
        hint: "`cascade certs issue` makes it, with what it certifies",
      });
    }
    if (!exists(this.caKeyPath)) throw this.#keyIsElsewhere();
    return { certPem, keyPem: this.#caKey() };
  }

  #caKey(): string {
    return readPrivateText({ path: this.caKeyPath, what: "key of the CA", hint: KEY_HINT });
  }

  #keyIsElsewhere(): CascadeError {
    return new CascadeError("usage", `the key of the CA is not here: ${this.caKeyPath}`, {
      hint: KEY_HINT,
    });
  }
}

const KEY_HINT =
  "It stays on the host where the CA was made (`cascade init`): run this there and copy what it makes, or name " +
  "the file with --ca-key";

/** What is certified next is for this very key, and not for one that another run has made meanwhile. */
function makeKey(path: string, text: string): void {
  if (makeWhole({ path, text, mode: PRIVATE })) return;
  throw new CascadeError("usage", `${path} was made by somebody else just now`, {
    hint: "Run the same command again: it goes on from there",
  });
}

function readKey(path: string): string {
  return readPrivateText({ path, what: "private key", hint: "Make a pair anew with --new-key" });
}

function exists(path: string): boolean {
  return textOf(path, true) !== null;
}

/** Null: it is not there. Throws `topology` for anything else. */
function textOf(path: string, onlyWhether = false): string | null {
  try {
    if (!onlyWhether) return Deno.readTextFileSync(path);
    Deno.statSync(path);
    return "";
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    const reason = error instanceof Error ? error.message : String(error);
    throw new CascadeError("topology", `${path} cannot be read: ${reason}`, { cause: error });
  }
}

function names(folder: string): string[] {
  try {
    return [...Deno.readDirSync(folder)].map(({ name }) => name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    const reason = error instanceof Error ? error.message : String(error);
    throw new CascadeError("topology", `${folder} cannot be read: ${reason}`, { cause: error });
  }
}
