/**
 * Cascade replicates block volumes down a cascade of nodes. This is the library's face: load a
 * topology, run a node, talk to one. As the main module it is the command line.
 *
 * What is heavy is imported when it is called, so that the command line starts at once.
 *
 * @example
 * ```ts
 * import { loadTopology, runNode } from "./mod.ts";
 *
 * const topology = await loadTopology("topology.yaml");
 * const node = await runNode(topology, "hq");
 * console.log(node.status().lsn.durable);
 * await node.stop();
 * ```
 *
 * @module
 */
import type { NodeConfig } from "./core/config.ts";
import type { NodeStatus } from "./core/status.ts";
import type { ParseResult } from "./core/topology/parse.ts";
import type { Topology } from "./core/topology/topology.ts";
import type { AdminTarget } from "./io/admin_client.ts";
import type { Journal } from "./core/ports.ts";

export { CascadeError, describeError, type ErrorCode, isCascadeError } from "./core/errors.ts";
export { VERSION } from "./core/version.ts";
export type { AdminTarget, Journal, NodeConfig, NodeStatus, ParseResult, Topology };
export type { LinkConfig, LogConfig, VolumeConfig } from "./core/config.ts";
export type { LinkState, LinkStatus } from "./core/status.ts";
export type { Plan } from "./core/topology/plan.ts";
export type { Problem } from "./core/topology/problem.ts";
export type { TopologyLink, TopologyNode, TopologyVolume } from "./core/topology/topology.ts";

// --- Topologies -----------------------------------------------------------------------------

/** Reads and checks a topology file. Throws `topology`, with a line for each error. */
export async function loadTopology(path: string): Promise<Topology> {
  return (await import("./io/topology_file.ts")).loadTopology(path);
}

/**
 * Checks the text of a topology and tells all that is wrong with it. `file` is named in problems;
 * relative paths are resolved from the absolute path `folder`.
 */
export async function checkTopology(
  text: string,
  file: string,
  folder: string,
): Promise<ParseResult> {
  return (await import("./core/topology/parse.ts")).parseTopology(text, file, folder);
}

/** One node's configuration, its secret read. Throws `usage` for an unknown node, `topology`. */
export async function loadNodeConfig(topology: Topology, node: string): Promise<NodeConfig> {
  return (await import("./io/topology_file.ts")).loadNodeConfig(topology, node);
}

// --- Nodes ----------------------------------------------------------------------------------

/** A node that runs in this process. */
export interface RunningNode {
  status(): NodeStatus;
  /** Answers what is in flight, hands the last records on, closes everything. */
  stop(): Promise<void>;
}

/**
 * Runs a node in this process, without an admin side. Its own messages go to `journal`, by default
 * as text lines to stderr. Throws whatever keeps it from starting.
 */
export async function runNode(
  topology: Topology,
  node: string,
  journal?: Journal,
): Promise<RunningNode> {
  const { CascadeNode } = await import("./core/node.ts");
  const { denoPorts, stderrJournal } = await import("./io/world.ts");
  const config = await loadNodeConfig(topology, node);
  const { nbdTlsSelf, tlsSelf } = await import("./io/identity.ts");
  const told = journal ?? stderrJournal(node, "text", "info");
  const ports = denoPorts({ journal: told, tls: tlsSelf(config), nbdTls: nbdTlsSelf(config) });
  return CascadeNode.start(config, ports);
}

/** Asks a node, wherever it runs, for its status. Throws `unreachable`, `refused`, `protocol`. */
export async function fetchStatus(target: AdminTarget): Promise<NodeStatus> {
  return (await import("./io/admin_client.ts")).fetchStatus(target);
}

if (import.meta.main) await (await import("./cli/main.ts")).run();
