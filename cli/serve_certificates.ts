/**
 * The certificates of a node that runs: whether they will do, until when, and new ones while it runs.
 *
 * @module
 */
import type { NodeConfig, TlsFiles } from "../core/config.ts";
import { describeError } from "../core/errors.ts";
import type { Journal } from "../core/ports.ts";
import type { CertificateStatus } from "../core/status.ts";
import { certificatesIn, factsOf, isIssuedBy } from "../io/certificate.ts";
import { nbdSelf, NodeIdentity, type TlsIdentity } from "../io/identity.ts";
import type { NbdTlsSelf } from "../io/nbd_tls.ts";
import { isWildcard } from "../core/topology/address.ts";
import { endpointOf } from "../core/topology/hosts.ts";
import { CertificateEnds } from "./certificate_ends.ts";

/** How often is looked: what ends is told once a day. */
const LOOK_MS = 3_600_000;

/** See the module's text. */
export class ServedCertificates {
  /** Who the node is to other nodes. */
  readonly links: NodeIdentity;
  /** Who it is to NBD clients over TLS; null: it serves none. */
  readonly nbd: NbdTlsSelf | null;
  readonly #nbdIdentity: NodeIdentity | null;
  #nbdClients: readonly string[] | null;
  readonly #journal: Journal;
  readonly #ends: CertificateEnds;
  /** What was read from the files: the same texts say the same. */
  readonly #read = new WeakMap<TlsIdentity, readonly Ends[]>();
  readonly #timer: ReturnType<typeof setInterval>;

  /** Throws `topology` when the node needs a certificate, and its files do not do. */
  constructor(config: NodeConfig, journal: Journal) {
    const { cluster, nbdTls = null } = config;
    this.#journal = journal;
    this.links = new NodeIdentity(cluster, config.tls);
    if (needsCertificate(config)) this.links.identity();
    this.#nbdClients = nbdTls?.clients ?? null;
    this.#nbdIdentity = nbdTls === null ? null : new NodeIdentity(cluster, nbdTls.files);
    this.#nbdIdentity?.identity();
    this.nbd = this.#nbdIdentity === null
      ? null
      : nbdSelf(this.#nbdIdentity, () => this.#nbdClients);
    this.#ends = new CertificateEnds(journal);
    this.#look();
    this.#lookAtHosts(config);
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Those that are in use, each once. */
  status(): CertificateStatus[] {
    const links = this.#endsOf(this.links).map((ends, index): CertificateStatus => ({
      kind: index === 0 ? "node" : "ca",
      ...ends,
    }));
    const nbd = this.#endsOf(this.#nbdIdentity).map((ends, index): CertificateStatus => ({
      kind: index === 0 ? "nbd" : "nbd-ca",
      ...ends,
    }));
    const known = new Set(links.map(({ fingerprint }) => fingerprint));
    return [...links, ...nbd.filter(({ fingerprint }) => !known.has(fingerprint))];
  }

  #endsOf(identity: NodeIdentity | null): readonly Ends[] {
    const texts = identity?.known ?? null;
    if (texts === null) return [];
    const ends = this.#read.get(texts) ?? endsOf(texts);
    this.#read.set(texts, ends);
    return ends;
  }

  /**
   * Reads the files again, for connections that are made from now on. Returns what has changed, as parts of the
   * topology are named. What cannot be read is told, and all stays as it was.
   */
  reload(config: NodeConfig): string[] {
    const { nbdTls = null } = config;
    const changed: string[] = [];
    // What was never needed is not read: it may be another host's.
    const isNeeded = this.links.known !== null || needsCertificate(config);
    const links = isNeeded && this.#reload(this.links, config.tls);
    const nbd = this.#nbdIdentity !== null && nbdTls !== null &&
      this.#reload(this.#nbdIdentity, nbdTls.files);
    if (links || nbd) changed.push("certificates");
    if (nbdTls !== null && String(nbdTls.clients) !== String(this.#nbdClients)) {
      this.#nbdClients = nbdTls.clients;
      changed.push("nbdClients");
    }
    this.#look();
    if (nbd) this.#lookAtHosts(config);
    return changed;
  }

  /** NBD clients want the host that they dialled in the certificate: where it is missing, they cannot tell why. */
  #lookAtHosts({ name, nbd }: NodeConfig): void {
    const texts = this.#nbdIdentity?.known ?? null;
    if (texts === null) return;
    const { dns, ips } = factsOf(certificatesIn(texts.certPem, "")[0]);
    for (const address of nbd) {
      const endpoint = endpointOf(address);
      if (endpoint.scheme === "unix" || isWildcard(endpoint.host)) continue;
      if ([...dns, ...ips].includes(endpoint.host)) continue;
      this.#journal.write("warn", "NBD clients over TLS will not believe the certificate", {
        address,
        reason: `${endpoint.host} is not among its names`,
        do: `cascade certs renew ${name}`,
      });
    }
  }

  #reload(identity: NodeIdentity, files: TlsFiles | null): boolean {
    try {
      return identity.reload(files);
    } catch (error) {
      const message = "the certificates were not reloaded: those from before go on";
      this.#journal.write("error", message, { reason: describeError(error) });
      return false;
    }
  }

  #look(): void {
    this.#ends.look(this.status(), Date.now());
  }
}

type Ends = Omit<CertificateStatus, "kind">;

/** The node's own, then the CA's that issued it, where that is among those it believes. */
function endsOf({ certPem, caPem }: TlsIdentity): readonly Ends[] {
  const [own, ...between] = certificatesIn(certPem, "");
  const last = between.at(-1) ?? own;
  const ca = certificatesIn(caPem, "").find((root) => isIssuedBy(last, root));
  return [own, ...(ca === undefined ? [] : [ca])].map((certificate) => {
    const { subject, notBeforeMs, notAfterMs, fingerprint } = factsOf(certificate);
    return { subject, notBeforeMs, notAfterMs, fingerprint };
  });
}

/** Whether the node listens or dials where it has to show a certificate. */
function needsCertificate({ name, listen, upstream, downstream }: NodeConfig): boolean {
  const dialled = [...(upstream === null ? [] : [upstream]), ...downstream]
    .filter(({ from, to, dial }) => (dial === "to" ? to : from) === name)
    .flatMap(({ addresses }) => addresses);
  return [...listen, ...dialled].some((address) => /^(tls|quic):/.test(address));
}
