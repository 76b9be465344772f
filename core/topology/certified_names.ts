/**
 * Which names stand in a node's certificate, and which nodes a certificate is for: the rule that whoever issues
 * certificates and every transport share.
 *
 * A certificate of ours is for one node of one cascade, and says so twice:
 *
 *     URI  cascade://CLUSTER/NODE                      what both ends compare with the name in the hello
 *     DNS  NODE.CLUSTER.cascade.internal               what a QUIC client asks for: its runtime knows host names only
 *
 * No public authority issues certificates below `.internal`, so a root that the runtime trusts by itself can
 * certify nobody as a node. A name that is no DNS label (it has a dot, a capital letter or an underscore) stands
 * there as `x--` and the beginning of its SHA-256.
 *
 * A certificate of an NBD client says `cascade://CLUSTER/client/NAME`, and so is for no node.
 *
 * A certificate of people's own needs no URI: then its DNS names and its common name are the nodes that it is for.
 *
 * @module
 */
import { createHash } from "node:crypto";

const SCHEME = "cascade://";
const ZONE = "cascade.internal";
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
/** Where a label begins that stands for a name which is none. */
const HASHED = "x--";
const HASH_DIGITS = 32;

/** The names of a checked certificate. */
export interface CertificateNames {
  readonly uris: readonly string[];
  readonly dns: readonly string[];
  readonly commonName: string | null;
}

/** The URI of a node's certificate. */
export function certificateUri(cluster: string, node: string): string {
  return `${SCHEME}${cluster}/${node}`;
}

/** What stands before the name of an NBD client. No node has such a name: it has a slash. */
const CLIENT = "client/";

/** The URI of an NBD client's certificate. It is for no node. */
export function clientUri(cluster: string, client: string): string {
  return `${SCHEME}${cluster}/${CLIENT}${client}`;
}

/** The DNS name of a node's certificate, by which a QUIC client asks for it. */
export function certificateDnsName(cluster: string, node: string): string {
  return `${label(node)}.${label(cluster)}.${ZONE}`;
}

/** Whether a DNS name is one of a node, of whatever cascade. */
export function isNodeDnsName(name: string): boolean {
  return name.endsWith(`.${ZONE}`);
}

function label(name: string): string {
  if (LABEL.test(name) && !name.startsWith(HASHED)) return name;
  return HASHED + createHash("sha256").update(name).digest("hex").slice(0, HASH_DIGITS);
}

/**
 * The NBD clients of `cluster` that a certificate is for. One with any `cascade://` URI is for those of this cluster
 * alone: a node's certificate is for no client.
 */
export function certifiedClients(names: CertificateNames, cluster: string): string[] {
  const isOurs = names.uris.some((uri) => uri.startsWith(SCHEME));
  const all = certifiedNodes(names, cluster);
  if (!isOurs) return all;
  return all.filter((name) => name.startsWith(CLIENT)).map((name) => name.slice(CLIENT.length));
}

/**
 * The nodes of `cluster` that a certificate is for. One with any `cascade://` URI is for those of this cluster
 * alone, whatever else it says.
 */
export function certifiedNodes(names: CertificateNames, cluster: string): string[] {
  const ours = names.uris.filter((uri) => uri.startsWith(SCHEME));
  if (ours.length > 0) {
    const prefix = `${SCHEME}${cluster}/`;
    return ours.filter((uri) => uri.startsWith(prefix)).map((uri) => uri.slice(prefix.length));
  }
  return [...names.dns, ...(names.commonName === null ? [] : [names.commonName])];
}
