/**
 * What one node must know of the topology, resolved and checked: the input of `core/node.ts`.
 * `core/topology/` makes it from the topology file; the simulator makes it from a seed.
 *
 * @module
 */
import type { ClusterTree } from "./tree/tree.ts";

/** How a link ships: at once and counted in the client's answer, after the fact, or now and then. */
export type LinkMode = "sync" | "async" | "periodic";

/** The role that the topology gives a node. */
export type Role = "primary" | "intermediate" | "secondary";

/** What clients meet while a sync peer is away: service without it, or errors. */
export type OnDisconnect = "degrade" | "fail";

/** When the log budget is spent on a link: go on without it, let clients wait, give them errors. */
export type OnOverflow = "map" | "stall" | "fail";

/** The hours of a day in which something may run, as minutes of the day; `to` may be tomorrow's. */
export interface DayWindow {
  readonly fromMinute: number;
  /** Exclusive; never equal to `fromMinute`. */
  readonly toMinute: number;
}

/**
 * When something is to run by itself. Exactly one of `everyMs` and `cron` is set. What it means is
 * in core/link/schedule.ts.
 */
export interface Schedule {
  readonly everyMs: number | null;
  /** Five fields. */
  readonly cron: string | null;
  readonly window: DayWindow | null;
  readonly jitterMs: number;
  /** Zone in which `cron` and `window` are told: an IANA name; null: the local one of the host. */
  readonly timezone: string | null;
}

/** How fast a link may send, in bytes a second; null: as fast as it goes. */
export interface Bandwidth {
  /** Within these hours; they do not overlap. */
  readonly windows: readonly { readonly window: DayWindow; readonly rate: number | null }[];
  /** At all other times. */
  readonly otherwise: number | null;
  /** As in {@linkcode Schedule}. */
  readonly timezone: string | null;
}

/** What a link compresses; `auto`: with a limit that holds, at a low level, else not. */
export type CompressSetting = "none" | "auto" | { readonly zstd: number };

/** A command of the user's, with its arguments: `["/bin/sh", "-c", TEXT]` if it was one text. */
export type Hook = readonly string[];

/** One link, as both of its ends know it. */
export interface LinkConfig {
  readonly name: string;
  /** The upstream node. */
  readonly from: string;
  /** The downstream node. */
  readonly to: string;
  readonly mode: LinkMode;
  readonly onDisconnect: OnDisconnect;
  /** How long a sync peer may stay silent or away before `onDisconnect` takes effect. */
  readonly timeoutMs: number;
  readonly onOverflow: OnOverflow;
  /** Which end dials. `to`: the downstream node dials its upstream. */
  readonly dial: "to" | "from";
  /** Where the end that dials finds the other end: its `listen` addresses, best first. */
  readonly addresses: readonly string[];
  /** Paused by the topology: connected to nothing. */
  readonly paused: boolean;
  /** How fast the upstream node may send; null: as fast as it goes. */
  readonly bandwidth: Bandwidth | null;
  readonly compress: CompressSetting;
  /** When it ships; null unless the mode is `periodic`. */
  readonly schedule: Schedule | null;
  /** When both sides are compared; null: on request alone. */
  readonly verify: Schedule | null;
}

/** One volume of the group. Its place in the list is its number in records. */
export interface VolumeConfig {
  readonly name: string;
  readonly sizeBytes: number;
  /** File or block device on this node; null on a log-only node. */
  readonly path: string | null;
}

/** PEM files of a node: what it shows to others, and whom it believes. Paths are absolute. */
export interface TlsFiles {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

/** How NBD clients over TCP are served; clients of Unix sockets are on this host, and in plain. */
export interface NbdTlsConfig {
  /** `allowed`: whoever does not ask for TLS goes on in plain. */
  readonly mode: "allowed" | "required";
  /** What is shown to clients, and by whom theirs have to be certified. */
  readonly files: TlsFiles;
  /** The names of those that are let in; null: all that are certified. */
  readonly clients: readonly string[] | null;
}

/** Sizes of a node's log. */
export interface LogConfig {
  /** Room for segments in all; at most one segment more is ever on disk. */
  readonly budgetBytes: number;
  readonly segmentBytes: number;
  /** Room beside the log for deltas: while they are received, and while nodes below still want them. */
  readonly deltaBudgetBytes: number;
}

/** What a node that reigned does when it starts and no other node answers. */
export type StartAlone = "never" | "ask" | "always";

/** All that a node runs on. */
export interface NodeConfig {
  readonly cluster: string;
  readonly name: string;
  readonly role: Role;
  /** The node's folder: log, state, lock. */
  readonly dir: string;
  /** The shared secret of the cluster; never shown anywhere. */
  readonly secret: Uint8Array;
  readonly listen: readonly string[];
  /** Null: it has no certificate, so no TLS and no QUIC. */
  readonly tls: TlsFiles | null;
  /** Every volume of the group, in the order of the topology. */
  readonly volumes: readonly VolumeConfig[];
  readonly log: LogConfig;
  /** Addresses of NBD exports. */
  readonly nbd: readonly string[];
  /** Left out or null: NBD clients are served in plain alone. */
  readonly nbdTls?: NbdTlsConfig | null;
  /** Where the primary's writes come from: NBD clients, or a scan of volumes that others write. */
  readonly capture: "nbd" | "scan";
  /** Run before a scan; its output names what to scan. Null: the volumes themselves. */
  readonly beforeScan: Hook | null;
  /** Run after a scan, however it ended. */
  readonly afterScan: Hook | null;
  /** Whether a delta that there is no room to stage may be applied in place. */
  readonly allowInconsistent: boolean;
  /** Run before a delta is applied in place; if it fails, the delta is refused. */
  readonly beforeInconsistent: Hook | null;
  /** How much later than on the primary records are applied; 0: at once. */
  readonly applyDelayMs: number;
  /** Run with the volumes as of a mark, each time that one is reached; null: marks are passed by. */
  readonly onMark: Hook | null;
  /** How long any of these may take. */
  readonly hookTimeoutMs: number;
  /** The link from the upstream node; null on the primary. */
  readonly upstream: LinkConfig | null;
  /** The links to nodes below. */
  readonly downstream: readonly LinkConfig[];
  /**
   * All of the cascade, as the topology tells it: roles may change from there, and nodes move. Null: all
   * stays as it is (tests of single parts).
   */
  readonly tree: ClusterTree | null;
  /**
   * What the topology file says by now, where the node goes by {@linkcode NodeConfig.tree}: roles and links are not
   * changed by a file. Left out: the same.
   */
  readonly fileTree?: ClusterTree;
  /** Whether a primary serves before any other node could tell it that another was promoted. */
  readonly startAlone: StartAlone;
  /**
   * Nodes that may feed this one, the preferred first: it chooses among them by itself. None, or left out: it is fed by
   * whom it is told to be fed by.
   */
  readonly parents?: readonly string[];
  /** How long the upstream may be away before it does, and how long a better parent has to be well. */
  readonly reparentAfterMs?: number;
  /** Every node name of the topology: whoever else knocks is refused as unknown. */
  readonly nodeNames: readonly string[];
}
