/**
 * Looking at certificates: until when, for whom, by whom. Making them is the matter of x509.ts.
 *
 * @module
 */
import { createPrivateKey, X509Certificate } from "node:crypto";
import { CascadeError } from "../core/errors.ts";

const PEM = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** The certificates in a PEM text, in their order. Throws `topology`, naming `place`, when there is none. */
export function certificatesIn(
  pem: string,
  place: string,
): readonly [X509Certificate, ...X509Certificate[]] {
  let found: X509Certificate[];
  try {
    found = (pem.match(PEM) ?? []).map((text) => new X509Certificate(text));
  } catch (cause) {
    throw new CascadeError("topology", `${place} holds no certificate in PEM`, { cause });
  }
  const [first, ...rest] = found;
  if (first === undefined) {
    throw new CascadeError("topology", `${place} holds no certificate in PEM`);
  }
  return [first, ...rest];
}

/** Whether a key is that of a certificate. Throws `topology`, naming `place`, when it is none. */
export function isKeyOf(certificate: X509Certificate, keyPem: string, place: string): boolean {
  if (/ENCRYPTED/.test(keyPem)) {
    throw new CascadeError("topology", `${place} is encrypted with a passphrase`, {
      hint: "Nobody can type one while a node starts. Decrypt it: openssl pkey -in KEY -out PLAIN",
    });
  }
  try {
    return certificate.checkPrivateKey(createPrivateKey(keyPem));
  } catch (cause) {
    throw new CascadeError("topology", `${place} holds no private key in PEM`, { cause });
  }
}

/** What a certificate says of itself. */
export interface CertificateFacts {
  /** The common name, or all of the subject if it has none. */
  readonly subject: string;
  readonly uris: readonly string[];
  readonly dns: readonly string[];
  readonly ips: readonly string[];
  readonly notBeforeMs: number;
  /** Exclusive. */
  readonly notAfterMs: number;
  /** SHA-256 over its DER, in hexadecimal digits with colons: as `openssl x509 -fingerprint -sha256`. */
  readonly fingerprint: string;
}

/** Reads a certificate. Names in quotes are left out: they hold what no name holds. */
export function factsOf(certificate: X509Certificate): CertificateFacts {
  const names = (certificate.subjectAltName ?? "").split(", ");
  const those = (kind: string) =>
    names.filter((name) => name.startsWith(`${kind}:`) && !name.includes('"'))
      .map((name) => name.slice(kind.length + 1));
  const commonName = /^CN=(.*)$/m.exec(certificate.subject)?.[1];
  return {
    subject: commonName ?? certificate.subject.replaceAll("\n", ", "),
    uris: those("URI"),
    dns: those("DNS"),
    ips: those("IP Address").map(shortIp),
    notBeforeMs: Date.parse(certificate.validFrom),
    notAfterMs: Date.parse(certificate.validTo),
    fingerprint: certificate.fingerprint256,
  };
}

/** The runtime writes an IPv6 address out; people write it short. */
function shortIp(text: string): string {
  if (!text.includes(":")) return text;
  try {
    return new URL(`http://[${text}]`).hostname.slice(1, -1);
  } catch {
    return text;
  }
}

/** Whether `issuer` made it, by name and by signature. */
export function isIssuedBy(certificate: X509Certificate, issuer: X509Certificate): boolean {
  return certificate.checkIssued(issuer) && certificate.verify(issuer.publicKey);
}
