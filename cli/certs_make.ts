/**
 * What `cascade certs issue` and `renew` do, and what `cascade init` does of it.
 *
 * @module
 */
import { dirname, relative } from "node:path";
import { CascadeError } from "../core/errors.ts";
import { certificateHosts } from "../core/topology/certificate_hosts.ts";
import {
  certifiedClients,
  certifiedNodes,
  isNodeDnsName,
} from "../core/topology/certified_names.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import type { Topology, TopologyNode } from "../core/topology/topology.ts";
import { factsOf } from "../io/certificate.ts";
import {
  CertificateFolder,
  type Holder,
  type Issued,
  LEAF_DAYS,
} from "../io/certificate_folder.ts";
import { loadTopology } from "../io/topology_file.ts";
import { printLine, tell } from "./output.ts";

/** What the command line says. */
export interface IssueOptions {
  readonly nodes: readonly string[];
  readonly clients: readonly string[];
  readonly hosts: readonly string[];
  readonly days: number | null;
  readonly caKey: string | null;
}

/** What more it says to `renew`. */
export interface RenewOptions extends IssueOptions {
  readonly all: boolean;
  readonly ca: boolean;
  readonly withinMs: number;
  readonly newKey: boolean;
  readonly quiet: boolean;
}

/** The topology's folder of certificates. Throws `usage` when it names none. */
export function certificateFolder(topology: Topology, caKey: string | null): CertificateFolder {
  const { certs, name } = topology;
  if (certs === null) {
    throw new CascadeError("usage", `${topology.file} names no folder of certificates`, {
      hint: "Add to it, at the top: certs: ./certs",
    });
  }
  return new CertificateFolder(name, certs, caKey ?? `${dirname(certs)}/${name}.ca.key`);
}

/** Whether a node's certificate lies in the folder, rather than among files of people's own. */
export function isOfFolder(folder: CertificateFolder, node: TopologyNode): boolean {
  const { cert, key } = folder.filesOf({ kind: "node", name: node.name });
  return node.tls?.cert === cert && node.tls.key === key && node.tls.ca === folder.caPath;
}

/** `cascade certs issue`. */
export async function issue(path: string, options: IssueOptions): Promise<void> {
  const topology = loadTopology(path);
  const folder = certificateFolder(topology, options.caKey);
  const holders = holdersNamed(topology, folder, options);
  const wanted = holders.length > 0 ? holders : allNodes(topology, folder, options.hosts);
  await issueAll(folder, wanted, options.days ?? LEAF_DAYS);
  tellWhere(folder, wanted);
}

/** Makes the CA if there is none, then what is missing, and prints what became of each. */
export async function issueAll(
  folder: CertificateFolder,
  holders: readonly Holder[],
  days: number,
): Promise<void> {
  const nowMs = Date.now();
  const missing = holders.filter((holder) => folder.certificate(holder) === null);
  // Where all is there, nothing is signed: that works on hosts without the CA's key as well.
  if (missing.length > 0) {
    const madeCa = await folder.ensureCa({ nowMs });
    const what = `${shown(folder.caPath)} and ${shown(folder.caKeyPath)}, the CA`;
    if (madeCa) printLine(`wrote ${what}${until(folder.ca())}`);
  }
  for (const holder of holders) {
    const issued = await folder.issue(holder, { nowMs, days });
    printIssued(issued);
    if (!issued.made) tellWrong(folder, holder, issued);
  }
}

/** What was kept may be of a cascade, or a node, that had another name. */
function tellWrong({ cluster }: CertificateFolder, { kind, name }: Holder, issued: Issued): void {
  const { uris, dns, subject } = factsOf(issued.certificate);
  const found = { uris, dns, commonName: subject };
  const known = kind === "node" ? certifiedNodes(found, cluster) : certifiedClients(found, cluster);
  if (known.includes(name)) return;
  const renewal = `cascade certs renew ${kind === "node" ? "" : "--client "}${name}`;
  tell(`${shown(issued.files.cert)} is for ${uris.join(", ") || "nobody"}: ${renewal}`);
}

function printIssued({ files, made, certificate }: Issued): void {
  const { cert, key } = files;
  printLine(
    made
      ? `wrote ${shown(cert)} and ${shown(key)}${until(certificate)}`
      : `kept  ${shown(cert)}${until(certificate)}`,
  );
}

/** `cascade certs renew`. */
export async function renew(path: string, options: RenewOptions): Promise<void> {
  const topology = loadTopology(path);
  const folder = certificateFolder(topology, options.caKey);
  const nowMs = Date.now();
  const named = holdersNamed(topology, folder, options);
  for (const { kind, name } of named) refuseMissing(folder, kind, name);
  const isDue = (certificate: { validTo: string } | null) =>
    certificate !== null && Date.parse(certificate.validTo) - nowMs <= options.withinMs;
  const every = [
    ...allNodes(topology, folder, options.hosts),
    ...folder.clients().map((name): Holder => ({ kind: "client", name })),
  ].filter((holder) => folder.certificate(holder) !== null);
  const isPicky = named.length > 0 || options.ca && !options.all;
  const chosen = isPicky
    ? named
    : every.filter((holder) => options.all || isDue(folder.certificate(holder)));
  // Nothing outlives the CA: it comes first.
  const renewsCa = options.ca || !isPicky && isDue(folder.ca()) && folder.isCaOurs();
  if (renewsCa) {
    await folder.renewCa({ nowMs });
    printLine(`wrote ${shown(folder.caPath)}${until(folder.ca())}`);
  }
  for (const holder of chosen) {
    const term = { nowMs, days: options.days ?? LEAF_DAYS };
    const { files, certificate } = await folder.renew(
      keepingHosts(folder, holder),
      term,
      options.newKey,
    );
    const what = options.newKey
      ? `${shown(files.cert)} and ${shown(files.key)}`
      : shown(files.cert);
    printLine(`wrote ${what}${until(certificate)}`);
  }
  if (renewsCa || chosen.length > 0) {
    tellRenewed(folder, chosen, { ca: renewsCa, newKey: options.newKey });
  } else printNothing(folder, every, options.quiet);
}

function printNothing(folder: CertificateFolder, every: readonly Holder[], quiet: boolean): void {
  const ends = [folder.ca(), ...every.map((holder) => folder.certificate(holder))]
    .flatMap((certificate) => certificate === null ? [] : [Date.parse(certificate.validTo)]);
  if (ends.length === 0) {
    throw new CascadeError("usage", `there is no certificate in ${folder.path}`, {
      hint: "Make them: cascade certs issue",
    });
  }
  if (quiet) return;
  printLine(`nothing to renew: the first to end is good until ${day(Math.min(...ends))}`);
}

/** Names that were given with `--host` when it was issued are known from the certificate alone. */
function keepingHosts(folder: CertificateFolder, holder: Holder): Holder {
  const before = folder.certificate(holder);
  if (holder.kind === "client" || before === null) return holder;
  const { dns, ips } = factsOf(before);
  const union = (a: readonly string[], b: readonly string[]) => [...new Set([...a, ...b])].sort();
  return {
    ...holder,
    hosts: {
      dns: union(holder.hosts.dns, dns.filter((name) => !isNodeDnsName(name))),
      ips: union(holder.hosts.ips, ips),
    },
  };
}

function refuseMissing(folder: CertificateFolder, kind: Holder["kind"], name: string): void {
  if (folder.certificate({ kind, name }) !== null) return;
  const { cert } = folder.filesOf({ kind, name });
  throw new CascadeError("usage", `there is nothing to renew: ${shown(cert)} is not there`, {
    hint: `Make it: cascade certs issue ${kind === "client" ? "--client " : ""}${name}`,
  });
}

/** A client's name where a node's is expected: the one that is meant is known. */
function refuseClient(topology: Topology, folder: CertificateFolder, name: string): void {
  const isNode = topology.nodes.some((node) => node.name === name);
  if (isNode || !folder.clients().includes(name)) return;
  throw new CascadeError("usage", `${name} is no node, but an NBD client`, {
    hint: `Name it with --client ${name}`,
  });
}

/** Those that the command line names. Throws `usage` for one whose files are people's own. */
function holdersNamed(
  topology: Topology,
  folder: CertificateFolder,
  { nodes, clients, hosts }: IssueOptions,
): Holder[] {
  return [
    ...nodes.map((name) => {
      refuseClient(topology, folder, name);
      const node = nodeNamed(topology, name);
      refuseOwn(folder, node);
      return nodeHolder(node, hosts);
    }),
    ...clients.map((name): Holder => ({ kind: "client", name })),
  ];
}

function refuseOwn(folder: CertificateFolder, node: TopologyNode): void {
  if (node.name === "ca") {
    throw new CascadeError(
      "usage",
      `${folder.caPath} is the CA's: a node cannot be named ca here`,
      {
        hint: "Name the files of this node in the topology: tls: { cert: FILE, key: FILE }",
      },
    );
  }
  if (isOfFolder(folder, node)) return;
  throw new CascadeError(
    "usage",
    `the topology names files of their own for ${node.name}: ${node.tls?.cert}`,
    {
      hint: "They come from whoever made them; leave `tls` of the node out to have them made here",
    },
  );
}

/** All nodes of the topology whose certificates are made here. */
export function allNodes(
  topology: Topology,
  folder: CertificateFolder,
  hosts: readonly string[] = [],
): Holder[] {
  const ours = topology.nodes.filter((node) => isOfFolder(folder, node));
  for (const node of ours) refuseOwn(folder, node);
  return ours.map((node) => nodeHolder(node, hosts));
}

function nodeHolder(node: TopologyNode, hosts: readonly string[]): Holder {
  return { kind: "node", name: node.name, hosts: certificateHosts(node, hosts) };
}

/** Where the files have to go, with `others`; the key of the CA does not. */
export function tellWhere(
  folder: CertificateFolder,
  holders: readonly Holder[],
  others: readonly string[] = [],
): void {
  if (holders.some(({ kind }) => kind === "node")) {
    const files = [...others, shown(folder.caPath)].join(", ");
    tell(`\nA host needs ${files}, and of`);
    tell(`${shown(folder.path)} the two files of its own node, NODE.crt and NODE.key; no others.`);
    tell(`${shown(folder.caKeyPath)} stays here: whoever has it can certify anybody as a node.`);
  }
  for (const { kind, name } of holders) {
    if (kind === "node") continue;
    const client = shown(dirname(folder.filesOf({ kind, name }).cert));
    tell(`\nFor ${name}: copy ${client} to its host. There, say:`);
    tell(`  nbdinfo "nbds://HOST:10809/VOLUME?tls-certificates=${client}"`);
  }
}

function tellRenewed(
  folder: CertificateFolder,
  holders: readonly Holder[],
  { ca, newKey }: { readonly ca: boolean; readonly newKey: boolean },
): void {
  const files = holders.map((holder) => shown(folder.filesOf(holder).cert));
  const all = [...(ca ? [shown(folder.caPath)] : []), ...files];
  const which = all.length > 2 ? "each" : all.join(" and ");
  const copy = `\nCopy ${which}${newKey ? ", with its key," : ""} to where it is used`;
  // Clients read theirs each time that they connect.
  if (!ca && holders.every(({ kind }) => kind === "client")) return tell(`${copy}.`);
  tell(`${copy}, then have the`);
  tell("node read it: systemctl reload cascade-NODE, or kill -HUP. No connection is lost.");
}

function until(certificate: { validTo: string } | null): string {
  return certificate === null ? "" : `, good until ${day(Date.parse(certificate.validTo))}`;
}

function day(ms: number): string {
  return new Date(ms).toISOString().slice(0, 10);
}

/** A path as it is short to read from here. */
export function shown(path: string): string {
  const near = relative(Deno.cwd(), path);
  return near.startsWith("../..") ? path : near;
}
