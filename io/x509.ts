/**
 * Makes certificates: a CA, and what it certifies. Who may be called what is said by core/topology/certified_names.ts;
 * where it all lies, by certificate_folder.ts.
 *
 * This loads the library for it: import it where a certificate is made, and nowhere else.
 *
 * @module
 */
import "reflect-metadata";
import * as x509 from "@peculiar/x509";
import { Buffer } from "node:buffer";
import { createPrivateKey, createPublicKey, type KeyObject, X509Certificate } from "node:crypto";
import { assert } from "../core/assert.ts";
import { CascadeError } from "../core/errors.ts";

/** How long before it is made a certificate begins: clocks of hosts may be wrong by a time zone. */
const BACKDATED_MS = 24 * 3_600_000;
const DAY_MS = 24 * 3_600_000;
const SERIAL_BYTES = 16;

const KEYS = { name: "ECDSA", namedCurve: "P-256" } as const;

/** A certificate and its key, as PEM. */
export interface Certified {
  readonly certPem: string;
  readonly keyPem: string;
}

/** What stands in a certificate. */
export interface CertificateRequest {
  readonly commonName: string;
  readonly uris: readonly string[];
  readonly dns: readonly string[];
  readonly ips: readonly string[];
  readonly nowMs: number;
  /** From now on; never longer than that of the CA. */
  readonly days: number;
  /** The key that it is for; null: a new one. */
  readonly keyPem: string | null;
}

/** Makes a CA that certifies nodes and clients, and no other CA. With `keyPem`, of that key again. */
export async function makeAuthority(
  { commonName, nowMs, days, keyPem }: Omit<CertificateRequest, "uris" | "dns" | "ips">,
): Promise<Certified> {
  const key = keyPem ?? await newKeyPem();
  const { privateKey, publicKey, algorithm } = await importKeys(key);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber: newSerial(),
    name: [{ CN: [commonName] }],
    notBefore: new Date(nowMs - BACKDATED_MS),
    notAfter: new Date(nowMs + days * DAY_MS),
    signingAlgorithm: algorithm,
    keys: { privateKey, publicKey },
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign, true),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
    ],
  });
  return { certPem: pemOf(certificate), keyPem: key };
}

/** Certifies a node or a client. Throws `usage` when the CA's key is not its key, or its time is over. */
export async function certify(ca: Certified, request: CertificateRequest): Promise<Certified> {
  const issuer = new X509Certificate(ca.certPem);
  checkAuthority(issuer, ca.keyPem, request.nowMs);
  const signer = await importKeys(ca.keyPem);
  const key = request.keyPem ?? await newKeyPem();
  const { publicKey } = await importKeys(key);
  const until = Math.min(request.nowMs + request.days * DAY_MS, Date.parse(issuer.validTo));
  const issuerNames = new x509.X509Certificate(ca.certPem);
  const certificate = await x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ CN: [request.commonName] }],
    issuer: issuerNames.subjectName,
    notBefore: new Date(Math.max(request.nowMs - BACKDATED_MS, Date.parse(issuer.validFrom))),
    notAfter: new Date(until),
    signingAlgorithm: signer.algorithm,
    signingKey: signer.privateKey,
    publicKey,
    extensions: [
      new x509.BasicConstraintsExtension(false, undefined, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
      new x509.ExtendedKeyUsageExtension([
        x509.ExtendedKeyUsage.serverAuth,
        x509.ExtendedKeyUsage.clientAuth,
      ]),
      new x509.SubjectAlternativeNameExtension([
        ...request.uris.map((value) => ({ type: "url" as const, value })),
        ...request.dns.map((value) => ({ type: "dns" as const, value })),
        ...request.ips.map((value) => ({ type: "ip" as const, value })),
      ]),
      await x509.SubjectKeyIdentifierExtension.create(publicKey),
      await x509.AuthorityKeyIdentifierExtension.create(signer.publicKey),
    ],
  });
  const certPem = pemOf(certificate);
  const made = new X509Certificate(certPem);
  assert(made.checkIssued(issuer) && made.verify(issuer.publicKey), "the CA vouches for it");
  assert(made.checkPrivateKey(createPrivateKey(key)), "it is for its key");
  return { certPem, keyPem: key };
}

function checkAuthority(issuer: X509Certificate, keyPem: string, nowMs: number): void {
  if (!issuer.checkPrivateKey(privateKeyOf(keyPem))) {
    throw new CascadeError("usage", "the key of the CA is not that of its certificate", {
      hint: "Take both from where `cascade init` made them",
    });
  }
  if (Date.parse(issuer.validTo) > nowMs) return;
  throw new CascadeError("usage", `the certificate of the CA ended at ${issuer.validTo}`, {
    hint: "Renew it: cascade certs renew --ca",
  });
}

/** A PEM key, understood. Throws `usage` when it is none, or is encrypted. */
export function privateKeyOf(pem: string): KeyObject {
  if (/ENCRYPTED/.test(pem)) {
    throw new CascadeError("usage", "the private key is encrypted with a passphrase", {
      hint: "Nobody can type one while a node starts. Decrypt it: openssl pkey -in KEY -out PLAIN",
    });
  }
  try {
    return createPrivateKey(pem);
  } catch (cause) {
    throw new CascadeError("usage", "that is no private key in PEM", { cause });
  }
}

async function importKeys(pem: string) {
  const key = privateKeyOf(pem);
  const algorithm = algorithmOf(key);
  const privateDer = key.export({ format: "der", type: "pkcs8" });
  const publicDer = createPublicKey(key).export({ format: "der", type: "spki" });
  const { subtle } = crypto;
  return {
    algorithm,
    privateKey: await subtle.importKey("pkcs8", plain(privateDer), algorithm, true, ["sign"]),
    publicKey: await subtle.importKey("spki", plain(publicDer), algorithm, true, ["verify"]),
  };
}

/** Our own keys are the first kind; a CA of people's own may have others. */
function algorithmOf(key: KeyObject) {
  const curve = key.asymmetricKeyDetails?.namedCurve;
  if (curve === "prime256v1") return { ...KEYS, hash: "SHA-256" };
  if (curve === "secp384r1") return { name: "ECDSA", namedCurve: "P-384", hash: "SHA-384" };
  if (key.asymmetricKeyType === "rsa") return { name: "RSASSA-PKCS1-v1_5", hash: "SHA-256" };
  throw new CascadeError("usage", `keys of the kind ${curve ?? key.asymmetricKeyType} do not do`, {
    hint: "Use one of the curves P-256 or P-384, or RSA",
  });
}

async function newKeyPem(): Promise<string> {
  const pair = await crypto.subtle.generateKey(KEYS, true, ["sign", "verify"]);
  const der = new Uint8Array(await crypto.subtle.exportKey("pkcs8", pair.privateKey));
  return createPrivateKey({ key: Buffer.from(der), format: "der", type: "pkcs8" })
    .export({ format: "pem", type: "pkcs8" }).toString();
}

function plain(bytes: Uint8Array): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(bytes);
}

/** Positive, as a serial number has to be, and without a leading zero. */
function newSerial(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(SERIAL_BYTES));
  bytes[0] = (bytes[0] ?? 0) & 0x3f | 0x40;
  return bytes.toHex();
}

function pemOf(certificate: x509.X509Certificate): string {
  return `${certificate.toString("pem").trimEnd()}\n`;
}
