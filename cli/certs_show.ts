/**
 * What `cascade certs show` finds: every certificate that is on this host, and what is wrong with it.
 *
 * @module
 */
import type { X509Certificate } from "node:crypto";
import { dirname } from "node:path";
import { isCascadeError } from "../core/errors.ts";
import { certificateHosts } from "../core/topology/certificate_hosts.ts";
import { certifiedNodes, isNodeDnsName } from "../core/topology/certified_names.ts";
import type { Topology, TopologyNode } from "../core/topology/topology.ts";
import { certificatesIn, factsOf, isIssuedBy, isKeyOf } from "../io/certificate.ts";
import type { CertificateFolder } from "../io/certificate_folder.ts";
import { CertificateFolder as Folder } from "../io/certificate_folder.ts";
import { readPrivateText } from "../io/private_file.ts";
import { loadTopology } from "../io/topology_file.ts";
import { type EndState, endState } from "./certificate_ends.ts";
import { EXIT, ExitWith } from "./exit.ts";
import { paintFor, printJson, printLine } from "./output.ts";
import { certificateTable } from "./ui/certs_view.ts";

const DAY_MS = 86_400_000;

/** How a certificate is; `missing`: not on this host. */
export type CertificateState = "good" | "due" | "expired" | "early" | "wrong" | "missing";

/** One line of the document; fields are only ever added. */
export interface CertificateLine {
  readonly kind: "ca" | "node" | "client";
  readonly name: string;
  readonly state: CertificateState;
  /** What is wrong with it, or worth a look. */
  readonly problem: string | null;
  readonly file: string;
  /** Whether its private key is on this host; a CA's is not needed on most. */
  readonly hasKey: boolean;
  /** Names and addresses that it is good for. */
  readonly names: readonly string[];
  readonly notBefore: string | null;
  readonly notAfter: string | null;
  readonly daysLeft: number | null;
  /** SHA-256. */
  readonly fingerprint: string | null;
}

const STATES: Record<EndState, CertificateState> = {
  good: "good",
  soon: "due",
  late: "due",
  ended: "expired",
  early: "early",
};

/** `cascade certs show`. */
export function show(path: string, json: boolean): void {
  const topology = loadTopology(path);
  const lines = linesOf(topology, Date.now());
  if (json) printJson({ cluster: topology.name, certificates: lines });
  else for (const line of certificateTable(lines, paintFor(Deno.stdout))) printLine(line);
  const isFine = lines.every(({ state }) => state === "good" || state === "missing");
  if (!isFine) throw new ExitWith(EXIT.failed);
}

/** Every certificate of a topology, as it is at `nowMs`. */
export function linesOf(topology: Topology, nowMs: number): CertificateLine[] {
  const { certs, name } = topology;
  const folder = certs === null
    ? null
    : new Folder(name, certs, `${dirname(certs)}/${name}.ca.key`);
  const cas = [...new Set(topology.nodes.flatMap(({ tls }) => tls === null ? [] : [tls.ca]))];
  if (folder !== null && !cas.includes(folder.caPath)) cas.unshift(folder.caPath);
  return [
    ...cas.map((file) => caLine(file, folder, nowMs)),
    ...topology.nodes.flatMap((node) => node.tls === null ? [] : [nodeLine(topology, node, nowMs)]),
    ...topology.nodes.flatMap((node) => nbdLines(node, nowMs)),
    ...(folder === null ? [] : strayLines(topology, folder, nowMs)),
    ...(folder === null ? [] : folder.clients().map((client) => clientLine(folder, client, nowMs))),
  ];
}

interface Looked {
  readonly certificate: X509Certificate | null;
  readonly problem: string | null;
}

function look(file: string): Looked {
  try {
    const pem = Deno.readTextFileSync(file);
    return { certificate: certificatesIn(pem, file)[0], problem: null };
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return { certificate: null, problem: null };
    return { certificate: null, problem: error instanceof Error ? error.message : String(error) };
  }
}

function caLine(file: string, folder: CertificateFolder | null, nowMs: number): CertificateLine {
  const looked = look(file);
  const { certificate } = looked;
  const key = folder !== null && folder.caPath === file ? folder.caKeyPath : null;
  const hasKey = key !== null && isThere(key);
  const wrong = certificate === null
    ? null
    : !certificate.ca
    ? "it is no certificate of a CA"
    : key === null || !hasKey
    ? null
    : keyProblem(certificate, key);
  return lineOf({ kind: "ca", name: "ca", file, hasKey, looked, wrong, remark: null, nowMs });
}

function nodeLine(topology: Topology, node: TopologyNode, nowMs: number): CertificateLine {
  const { tls, name } = node;
  const { cert: file = "", key = "", ca = "" } = tls ?? {};
  const looked = look(file);
  const { certificate } = looked;
  const hasKey = isThere(key);
  const wrong = certificate === null
    ? null
    : wrongNode(topology, name, certificate) ?? unvouched(certificate, file, ca) ??
      (hasKey ? keyProblem(certificate, key) : null);
  const remark = certificate === null ? null : missingHosts(node, certificate);
  return lineOf({ kind: "node", name, file, hasKey, looked, wrong, remark, nowMs });
}

/** What NBD clients are shown, where that is another certificate. */
function nbdLines({ name, tls, nbdTls, nbdCerts }: TopologyNode, nowMs: number): CertificateLine[] {
  if (nbdTls === "off" || nbdCerts === null || nbdCerts.cert === tls?.cert) return [];
  const { cert: file, key } = nbdCerts;
  const looked = look(file);
  const hasKey = isThere(key);
  const wrong = looked.certificate === null || !hasKey ? null : keyProblem(looked.certificate, key);
  const remark = "for the NBD clients of this node";
  return [lineOf({ kind: "node", name, file, hasKey, looked, wrong, remark, nowMs })];
}

function wrongNode(topology: Topology, name: string, certificate: X509Certificate): string | null {
  const { uris, dns, subject } = factsOf(certificate);
  const nodes = certifiedNodes({ uris, dns, commonName: subject }, topology.name);
  if (nodes.includes(name)) return null;
  return `it is for ${nodes.join(", ") || "no node of this cascade"}, not for ${name}`;
}

/** Of what NBD clients use; links look at no host names. */
function missingHosts(
  node: TopologyNode,
  certificate: X509Certificate,
): string | null {
  const { uris, dns, ips } = factsOf(certificate);
  if (
    node.nbdTls === "off" || uris.length === 0 ||
    node.nbd.every((address) => address.startsWith("unix:"))
  ) return null;
  const wanted = certificateHosts({ listen: [], advertise: node.advertise, nbd: node.nbd });
  const missing = [...wanted.dns, ...wanted.ips].filter((host) => ![...dns, ...ips].includes(host));
  if (missing.length === 0) return null;
  return `not for ${missing.join(", ")}, which NBD clients use: ` +
    `cascade certs renew ${node.name}`;
}

/** Certificates of nodes that the topology does not have (any more). */
function strayLines(
  topology: Topology,
  folder: CertificateFolder,
  nowMs: number,
): CertificateLine[] {
  const used = new Set(topology.nodes.flatMap(({ tls }) => tls === null ? [] : [tls.cert]));
  return folder.nodes().flatMap((name) => {
    const { cert: file, key } = folder.filesOf({ kind: "node", name });
    if (used.has(file)) return [];
    const remark = "no node of the topology uses it";
    const line = { kind: "node" as const, name, file, hasKey: isThere(key), nowMs };
    return [lineOf({ ...line, looked: look(file), wrong: null, remark })];
  });
}

function clientLine(folder: CertificateFolder, name: string, nowMs: number): CertificateLine {
  const { cert: file, key, ca } = folder.filesOf({ kind: "client", name });
  const looked = look(file);
  const { certificate } = looked;
  const hasKey = isThere(key);
  const wrong = certificate === null ? null : unvouched(certificate, file, ca ?? folder.caPath) ??
    (hasKey ? keyProblem(certificate, key) : null);
  return lineOf({ kind: "client", name, file, hasKey, looked, wrong, remark: null, nowMs });
}

/** Says what keeps a chain from the certificate to a CA from being one; only where both are here. */
function unvouched(certificate: X509Certificate, file: string, ca: string): string | null {
  try {
    const roots = certificatesIn(Deno.readTextFileSync(ca), ca);
    const [, ...between] = certificatesIn(Deno.readTextFileSync(file), file);
    let current = certificate;
    for (const next of between) {
      if (!isIssuedBy(current, next)) return "the certificates in its file are no chain";
      current = next;
    }
    if (roots.some((root) => isIssuedBy(current, root))) return null;
    return `the CA in ${ca} did not issue it`;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return `${ca} is not here`;
    return error instanceof Error ? error.message : String(error);
  }
}

function keyProblem(certificate: X509Certificate, key: string): string | null {
  try {
    const pem = readPrivateText({ path: key, what: "private key", hint: "" });
    return isKeyOf(certificate, pem, key) ? null : `${key} is not its private key`;
  } catch (error) {
    if (!isCascadeError(error)) throw error;
    // The key of the CA is often another user's, and nobody else's business.
    if (certificate.ca && error.cause instanceof Deno.errors.PermissionDenied) return null;
    return error.message + (error.hint ? `. ${error.hint}` : "");
  }
}

function isThere(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false; // Or its folder is closed to this user: it is not there for them.
  }
}

interface LineParts {
  readonly kind: CertificateLine["kind"];
  readonly name: string;
  readonly file: string;
  readonly hasKey: boolean;
  readonly looked: Looked;
  readonly wrong: string | null;
  readonly remark: string | null;
  readonly nowMs: number;
}

function lineOf(
  { kind, name, file, hasKey, looked, wrong, remark, nowMs }: LineParts,
): CertificateLine {
  const { certificate } = looked;
  const problem = looked.problem ?? wrong ?? remark;
  if (certificate === null) {
    const state = looked.problem === null ? "missing" : "wrong";
    const none = { names: [], notBefore: null, notAfter: null, daysLeft: null, fingerprint: null };
    return { kind, name, state, problem, file, hasKey, ...none };
  }
  const facts = factsOf(certificate);
  const { notBeforeMs, notAfterMs, fingerprint } = facts;
  const state = wrong !== null ? "wrong" : STATES[endState(facts, nowMs)];
  return {
    kind,
    name,
    state,
    problem,
    file,
    hasKey,
    names: [...facts.uris, ...facts.dns.filter((dns) => !isNodeDnsName(dns)), ...facts.ips],
    notBefore: new Date(notBeforeMs).toISOString(),
    notAfter: new Date(notAfterMs).toISOString(),
    daysLeft: Math.floor((notAfterMs - nowMs) / DAY_MS),
    fingerprint,
  };
}
