/**
 * A checked topology: names resolved, paths absolute, defaults set. What every command works on.
 *
 * Units: sizes are bytes, times milliseconds, rates bytes a second.
 *
 * @module
 */
import type {
  Bandwidth,
  CompressSetting,
  Hook,
  LinkMode,
  LogConfig,
  OnDisconnect,
  Role,
  Schedule,
  StartAlone,
  TlsFiles,
} from "../config.ts";
import { formatEndpoint } from "./address.ts";
import { type BandwidthEntry, OTHERWISE } from "./line_scalars.ts";
import { resolvePath } from "./paths.ts";
import type { Reporter } from "./reporter.ts";
import type { SecretText, Transport } from "./scalars.ts";
import type { LinkSpec, NodeSpec, TopologySpec } from "./schema.ts";
import { parseDuration } from "./units.ts";
import { TIMEOUT_DEFAULT } from "./schema.ts";

/** Where a secret comes from. */
export type SecretSource =
  | { readonly kind: "file"; readonly path: string }
  | { readonly kind: "env"; readonly name: string };

/** A volume of the group. */
export interface TopologyVolume {
  readonly name: string;
  readonly sizeBytes: number;
}

/** A node, as the file tells of it. Paths are absolute, addresses in full. */
export interface TopologyNode {
  readonly name: string;
  readonly role: Role;
  readonly dir: string;
  readonly listen: readonly string[];
  /** Where others dial it; null: where it listens. */
  readonly advertise: readonly string[] | null;
  /** Path of each volume, by the volume's name; null on a log-only node. */
  readonly volumes: ReadonlyMap<string, string> | null;
  readonly log: LogConfig;
  readonly nbd: readonly string[];
  /** URL of the admin side; null: it has none. */
  readonly admin: string | null;
  readonly adminToken: SecretSource | null;
  /** Its certificate files; null: neither the topology nor the node names any. */
  readonly tls: TlsFiles | null;
  /** TLS for NBD clients over TCP. */
  readonly nbdTls: "off" | "allowed" | "required";
  /** Whom it lets in; null: all that are certified. */
  readonly nbdClients: readonly string[] | null;
  /** The files for NBD clients: those of the node, unless others are named; null: there are none. */
  readonly nbdCerts: TlsFiles | null;
  readonly insecure: boolean;
  readonly startAlone: StartAlone;
  /** Who may feed it, the preferred first; null: nobody but whom it is told to be fed by. */
  readonly parents: readonly string[] | null;
  /** Null: the file does not say. */
  readonly reparentAfterMs: number | null;
  readonly capture: "nbd" | "scan";
  readonly beforeScan: Hook | null;
  readonly afterScan: Hook | null;
  readonly allowInconsistent: boolean;
  readonly beforeInconsistent: Hook | null;
  readonly applyDelayMs: number;
  readonly onMark: Hook | null;
  readonly hookTimeoutMs: number;
}

/** A link, with its defaults. */
export interface TopologyLink {
  /** Its place in the file's list. */
  readonly index: number;
  readonly name: string;
  readonly from: string;
  readonly to: string;
  readonly mode: LinkMode;
  readonly onDisconnect: OnDisconnect;
  readonly timeoutMs: number;
  readonly dial: "to" | "from";
  /** What carries it, the preferred first; null: any address, in its order. */
  readonly transport: readonly Transport[] | null;
  /** The command whose input and output are the link; null: there is none. */
  readonly exec: Hook | null;
  readonly paused: boolean;
  /** As it is written, for the places of what is wrong; null: there is none. */
  readonly bandwidthEntries: readonly BandwidthEntry[] | null;
  readonly bandwidth: Bandwidth | null;
  readonly compress: CompressSetting;
  readonly onOverflow: "map" | "stall" | "fail";
  /** When both sides are compared by themselves; null: never. */
  readonly verify: Schedule | null;
  /** Null unless the mode is `periodic`. */
  readonly schedule: Schedule | null;
}

/** The whole. Made by `parseTopology` alone, so that having one means that it was checked. */
export interface Topology {
  readonly name: string;
  /** The file it was read from, as the user gave it. */
  readonly file: string;
  readonly secret: SecretSource;
  /** The folder of certificates; null: there is none. */
  readonly certs: string | null;
  /** IANA name of the zone of all schedules; null: the local one of each host. */
  readonly timezone: string | null;
  readonly volumes: readonly TopologyVolume[];
  readonly nodes: readonly TopologyNode[];
  readonly links: readonly TopologyLink[];
  /** Finds places in the file for problems that are met later. */
  readonly reporter: Reporter;
}

const MIB = 1024 * 1024;
const SEGMENT_BYTES_DEFAULT = 64 * MIB;

/** Builds the topology from its shape; `folder` is what relative paths are resolved from. */
export function buildTopology(spec: TopologySpec, folder: string, reporter: Reporter): Topology {
  return {
    name: spec.name,
    file: reporter.file,
    secret: secretSource(spec.secret, folder),
    certs: spec.certs === undefined ? null : resolvePath(folder, spec.certs),
    timezone: spec.timezone ?? null,
    volumes: Object.entries(spec.volumes).map(([name, { size }]) => ({ name, sizeBytes: size })),
    nodes: Object.entries(spec.nodes).map(([name, node]) =>
      buildNode(name, node, spec.certs, folder)
    ),
    links: spec.links.map((link, index) => buildLink(link, index, spec.timezone ?? null)),
    reporter,
  };
}

function buildNode(
  name: string,
  spec: NodeSpec,
  certs: string | undefined,
  folder: string,
): TopologyNode {
  const format = (endpoint: NodeSpec["listen"][number]) => formatEndpoint(endpoint, folder);
  const volumes = spec.volumes === undefined
    ? null
    : new Map(Object.entries(spec.volumes).map(([key, path]) => [key, resolvePath(folder, path)]));
  return {
    name,
    role: spec.role,
    dir: resolvePath(folder, spec.dir),
    listen: spec.listen.map(format),
    advertise: spec.advertise?.map(format) ?? null,
    volumes,
    log: {
      budgetBytes: spec.log.budget,
      segmentBytes: spec.log.segment ?? segmentDefault(spec.log.budget),
      deltaBudgetBytes: spec.log.deltaBudget ?? spec.log.budget,
    },
    nbd: spec.nbd.map(format),
    admin: spec.admin === undefined ? null : format(spec.admin),
    adminToken: spec.adminToken === undefined ? null : secretSource(spec.adminToken, folder),
    tls: tlsFiles(name, spec.tls ?? {}, certs, folder),
    nbdTls: spec.nbdTls,
    nbdClients: spec.nbdClients ?? null,
    nbdCerts: tlsFiles(name, { ...spec.tls, ...spec.nbdCerts }, certs, folder),
    insecure: spec.insecure,
    startAlone: spec.startAlone,
    parents: spec.parents ?? null,
    reparentAfterMs: spec.reparentAfter ?? null,
    capture: spec.capture,
    beforeScan: spec.beforeScan ?? null,
    afterScan: spec.afterScan ?? null,
    allowInconsistent: spec.allowInconsistent,
    beforeInconsistent: spec.beforeInconsistent ?? null,
    applyDelayMs: spec.applyDelay ?? 0,
    onMark: spec.onMark ?? null,
    hookTimeoutMs: spec.hookTimeout,
  };
}

/** What the node names itself, else the usual names in the folder of certificates. */
function tlsFiles(
  name: string,
  spec: NonNullable<NodeSpec["tls"]>,
  certs: string | undefined,
  folder: string,
): TlsFiles | null {
  const inCerts = (file: string) => certs === undefined ? undefined : `${certs}/${file}`;
  const ca = spec.ca ?? inCerts("ca.crt");
  const cert = spec.cert ?? inCerts(`${name}.crt`);
  const key = spec.key ?? inCerts(`${name}.key`);
  if (ca === undefined || cert === undefined || key === undefined) return null;
  return {
    ca: resolvePath(folder, ca),
    cert: resolvePath(folder, cert),
    key: resolvePath(folder, key),
  };
}

/** A small budget needs smaller segments: a log of fewer than four could not be recycled. */
function segmentDefault(budgetBytes: number): number {
  const quarter = Math.floor(budgetBytes / 4 / MIB) * MIB;
  return Math.min(SEGMENT_BYTES_DEFAULT, Math.max(quarter, MIB));
}

function buildLink(spec: LinkSpec, index: number, timezone: string | null): TopologyLink {
  const sync = spec.mode === "sync" ? spec : null;
  const timeout = parseDuration(TIMEOUT_DEFAULT);
  return {
    index,
    name: spec.name ?? `${spec.from}-${spec.to}`,
    from: spec.from,
    to: spec.to,
    mode: spec.mode,
    onDisconnect: sync?.onDisconnect ?? "degrade",
    timeoutMs: sync?.timeout ?? (timeout.ok ? timeout.value : 0),
    dial: spec.dial,
    transport: spec.transport ?? (spec.exec === undefined ? null : ["exec"]),
    exec: spec.exec ?? null,
    paused: spec.paused,
    bandwidthEntries: spec.bandwidth ?? null,
    bandwidth: spec.bandwidth === undefined ? null : buildBandwidth(spec.bandwidth, timezone),
    compress: spec.compress,
    onOverflow: spec.onOverflow,
    verify: spec.verify === undefined
      ? null
      : { ...spec.verify, window: null, jitterMs: 0, timezone },
    schedule: spec.mode !== "periodic" ? null : {
      everyMs: spec.every ?? null,
      cron: spec.cron ?? null,
      window: spec.window ?? null,
      jitterMs: spec.jitter ?? 0,
      timezone,
    },
  };
}

function buildBandwidth(entries: readonly BandwidthEntry[], timezone: string | null): Bandwidth {
  return {
    windows: entries.flatMap(({ window, rate }) => window === null ? [] : [{ window, rate }]),
    otherwise: entries.find(({ key }) => key === OTHERWISE)?.rate ?? null,
    timezone,
  };
}

function secretSource(text: SecretText, folder: string): SecretSource {
  return text.kind === "env" ? text : { kind: "file", path: resolvePath(folder, text.path) };
}
