/**
 * The certificates of a node that runs: whether they will do, until when, and new ones while it runs.
 *
 * @module
 */
import type { NodeConfig } from "../core/config.ts";
import { describeError } from "../core/errors.ts";
import type { Journal } from "../core/ports.ts";
import type { CertificateStatus } from "../core/status.ts";
import { certificatesIn, factsOf, isIssuedBy } from "../io/certificate.ts";
import { NodeIdentity, type TlsIdentity } from "../io/identity.ts";
import { CertificateEnds } from "./certificate_ends.ts";

/** How often is looked: what ends is told once a day. */
const LOOK_MS = 3_600_000;

/** See the module's text. */
export class ServedCertificates {
  /** Who the node is to other nodes. */
  readonly links: NodeIdentity;
  readonly #journal: Journal;
  readonly #ends: CertificateEnds;
  /** What is said of the identity that it is of. */
  #told: { readonly of: TlsIdentity; readonly status: CertificateStatus[] } | null = null;
  readonly #timer: ReturnType<typeof setInterval>;

  /** Throws `topology` when the node needs a certificate, and its files do not do. */
  constructor(config: NodeConfig, journal: Journal) {
    this.#journal = journal;
    this.links = new NodeIdentity(config.cluster, config.tls);
    if (needsCertificate(config)) this.links.identity();
    this.#ends = new CertificateEnds(journal);
    this.#look();
    this.#timer = setInterval(() => this.#look(), LOOK_MS);
    Deno.unrefTimer(this.#timer);
  }

  close(): void {
    clearInterval(this.#timer);
  }

  /** Those that are in use. */
  status(): CertificateStatus[] {
    const { known } = this.links;
    if (known === null) return [];
    if (this.#told?.of !== known) this.#told = { of: known, status: statusesOf(known) };
    return this.#told.status;
  }

  /**
   * Reads the files again, for connections that are made from now on. Returns what has changed, as parts of the
   * topology are named. What cannot be read is told, and all stays as it was.
   */
  reload(config: NodeConfig): string[] {
    try {
      // What was never needed is not read: it may be another host's.
      if (this.links.known === null && !needsCertificate(config)) return [];
      if (!this.links.reload(config.tls)) return [];
    } catch (error) {
      const message = "the certificates were not reloaded: those from before go on";
      this.#journal.write("error", message, { reason: describeError(error) });
      return [];
    }
    this.#look();
    return ["certificates"];
  }

  #look(): void {
    this.#ends.look(this.status(), Date.now());
  }
}

function statusesOf({ certPem, caPem }: TlsIdentity): CertificateStatus[] {
  const [own] = certificatesIn(certPem, "");
  const ca = certificatesIn(caPem, "").find((root) => isIssuedBy(own, root));
  return [
    statusOf("node", factsOf(own)),
    ...(ca === undefined ? [] : [statusOf("ca", factsOf(ca))]),
  ];
}

function statusOf(
  kind: CertificateStatus["kind"],
  { subject, notBeforeMs, notAfterMs, fingerprint }: ReturnType<typeof factsOf>,
): CertificateStatus {
  return { kind, subject, notBeforeMs, notAfterMs, fingerprint };
}

/** Whether the node listens or dials where it has to show a certificate. */
function needsCertificate({ name, listen, upstream, downstream }: NodeConfig): boolean {
  const dialled = [...(upstream === null ? [] : [upstream]), ...downstream]
    .filter(({ from, to, dial }) => (dial === "to" ? to : from) === name)
    .flatMap(({ addresses }) => addresses);
  return [...listen, ...dialled].some((address) => /^(tls|quic):/.test(address));
}
