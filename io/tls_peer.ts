/**
 * Whom the certificate of a peer is for, once its chain has been looked at again: the runtime has checked it,
 * and nobody is let in on its word alone.
 *
 * @module
 */
import { X509Certificate } from "node:crypto";
import type { DetailedPeerCertificate } from "node:tls";
import { CascadeError } from "../core/errors.ts";
import { type CertificateNames, certifiedNodes } from "../core/topology/certified_names.ts";

/** Certificates between a node's own and the CA. */
const CHAIN_LENGTH_MAX = 8;
const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The nodes of `cluster` that a certificate is for. Throws `refused` as {@linkcode vouchedNames} does. */
export function certifiedPeer(
  found: DetailedPeerCertificate | null,
  caPem: string,
  cluster: string,
  nowMs: number,
): string[] {
  return certifiedNodes(vouchedNames(found, caPem, nowMs), cluster);
}

/**
 * The names in a certificate. Throws `refused` when there is none, when nothing in `caPem` vouches for it, or when
 * its time has not come or is over.
 */
export function vouchedNames(
  found: DetailedPeerCertificate | null,
  caPem: string,
  nowMs: number,
): CertificateNames {
  if (found === null || !(found.raw instanceof Uint8Array)) {
    throw new CascadeError("refused", "the peer showed no certificate");
  }
  const leaf = new X509Certificate(found.raw);
  if (!isVouchedFor(leaf, chainOf(found), authorities(caPem), nowMs)) {
    const subject = leaf.subject.replaceAll("\n", ", ");
    throw new CascadeError(
      "refused",
      `no CA of this node vouches for the certificate of ${subject}`,
    );
  }
  return namesOf(leaf);
}

function authorities(caPem: string): X509Certificate[] {
  return (caPem.match(PEM) ?? []).map((pem) => new X509Certificate(pem));
}

/** The certificates that the peer sent along. */
function chainOf(found: DetailedPeerCertificate): X509Certificate[] {
  const chain: X509Certificate[] = [];
  let next: DetailedPeerCertificate | undefined = found.issuerCertificate;
  while (next?.raw instanceof Uint8Array && chain.length < CHAIN_LENGTH_MAX) {
    chain.push(new X509Certificate(next.raw));
    if (next.issuerCertificate === next) break;
    next = next.issuerCertificate;
  }
  return chain;
}

function isVouchedFor(
  leaf: X509Certificate,
  chain: readonly X509Certificate[],
  roots: readonly X509Certificate[],
  nowMs: number,
): boolean {
  let current = leaf;
  for (let step = 0; step <= CHAIN_LENGTH_MAX; step++) {
    if (!isInTime(current, nowMs)) return false;
    const isBy = (issuer: X509Certificate) => issued(current, issuer);
    if (roots.some((root) => isInTime(root, nowMs) && isBy(root))) return true;
    const between = chain.find((other) => other.ca && isBy(other) && other !== current);
    if (between === undefined) return false;
    current = between;
  }
  return false;
}

function isInTime(certificate: X509Certificate, nowMs: number): boolean {
  return Date.parse(certificate.validFrom) <= nowMs && nowMs < Date.parse(certificate.validTo);
}

function issued(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}

/** The names in a certificate. The runtime gives them as one text: `DNS:a, URI:b`; what is in quotes is left out. */
function namesOf(leaf: X509Certificate): CertificateNames {
  const alternatives = (leaf.subjectAltName ?? "").split(", ");
  const those = (kind: string) =>
    alternatives.filter((name) => name.startsWith(`${kind}:`) && !name.includes('"'))
      .map((name) => name.slice(kind.length + 1));
  const commonName = /^CN=(.*)$/m.exec(leaf.subject)?.[1] ?? null;
  return { uris: those("URI"), dns: those("DNS"), commonName };
}
