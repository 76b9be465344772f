/**
 * Topologies and secrets from files and the environment.
 *
 * @module
 */
import type { NodeConfig } from "../core/config.ts";
import { CascadeError } from "../core/errors.ts";
import { nodeConfig } from "../core/topology/node_config.ts";
import { type ParseResult, parseTopology, topologyOrThrow } from "../core/topology/parse.ts";
import { resolvePath } from "../core/topology/paths.ts";
import { TEXT_BYTES_MAX } from "../core/topology/source.ts";
import type { Topology } from "../core/topology/topology.ts";
import { readSecret } from "./secret_source.ts";

/** A topology file as it was read: its text, and what came of it. */
export interface ReadTopology extends ParseResult {
  readonly text: string;
}

/** Reads and checks a file. Throws `topology` only when there is nothing to check. */
export function readTopology(path: string): ReadTopology {
  const bytes = readFile(path, TEXT_BYTES_MAX * 4, "topology", "`cascade init` writes one");
  let text: string;
  try {
    text = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new CascadeError("topology", `${path}:1:1: error: the file is not UTF-8 text`, { cause });
  }
  const folder = resolvePath(Deno.cwd(), `${path}/..`);
  return { text, ...parseTopology(text, path, folder) };
}

/**
 * The topology in a file. Throws `topology` when it cannot be read or is wrong, with one line
 * `FILE:LINE:COL: error: ...` for each error.
 */
export function loadTopology(path: string): Topology {
  return topologyOrThrow(readTopology(path));
}

/**
 * One node's configuration, with the cluster's secret read from where the topology says. Throws
 * `usage` when there is no such node, `topology` when there is no secret.
 */
export function loadNodeConfig(topology: Topology, nodeName: string): NodeConfig {
  return nodeConfig(topology, nodeName, readSecret(topology.secret));
}

function readFile(path: string, bytesMax: number, what: string, hint: string): Uint8Array {
  try {
    const { size, isDirectory } = Deno.statSync(path);
    if (isDirectory) throw new CascadeError("topology", `the ${what} ${path} is a folder`);
    if (size > bytesMax) {
      throw new CascadeError("topology", `the ${what} ${path} has ${size} bytes: it is none`);
    }
    return Deno.readFileSync(path);
  } catch (error) {
    if (error instanceof CascadeError) throw error;
    if (error instanceof Deno.errors.NotFound) {
      throw new CascadeError("topology", `the ${what} ${path} is not there`, { hint });
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new CascadeError("topology", `the ${what} ${path} cannot be read: ${reason}`, {
      cause: error,
    });
  }
}
