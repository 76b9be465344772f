/**
 * What the two arguments of `cascade seed` stand for: a place is a file, a device or an NBD server, a bare
 * name may be a node of the topology.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { isNbdUri } from "../core/nbd_client/uri.ts";
import { nearest } from "../core/topology/nearest.ts";
import { nodeNamed } from "../core/topology/node_config.ts";
import type { Topology } from "../core/topology/topology.ts";
import { loadTopology } from "../io/topology_file.ts";
import { hasTopology, isBare, isSeedFile, statOf } from "./seed_look.ts";
import type { SeedRequest } from "./seed_run.ts";

/** What a seed is to do. */
export type SeedPlan =
  /** From place to place. */
  | { readonly kind: "copy" }
  /** The volumes of a node into a seed file. */
  | { readonly kind: "save"; readonly topology: Topology; readonly node: string }
  /** A seed file into a blank node. */
  | { readonly kind: "load"; readonly topology: Topology; readonly node: string };

/** Reads the topology only where a name may be that of a node. Throws `usage`, `topology`. */
export function planSeed(request: SeedRequest): SeedPlan {
  const { source, target } = request;
  const topology = [source, target].some(isBare) ? topologyOf(request) : null;
  const from = nodeIn(topology, source);
  const to = nodeIn(topology, target);
  if (topology !== null && from !== null && to !== null) throw twoNodes(from, to);
  if (topology !== null && from !== null) {
    refuseOptions(request, ["compare", "verify", "resumeFile"]);
    if (isNbdUri(target) || target.startsWith("/dev/")) throw onlyFiles(from, target);
    return { kind: "save", topology, node: from };
  }
  const isSeed = isSeedFile(source);
  if (topology !== null && to !== null) {
    if (!isSeed && !isNbdUri(source) && statOf(source) === null) throw nobody(topology, source);
    if (!isSeed) throw noImage(topology, source, to);
    refuseOptions(request, ["compare", "verify", "resumeFile"]);
    return { kind: "load", topology, node: to };
  }
  if (isSeed) {
    // A bare name is meant for a node: tells which there are.
    if (topology !== null && isBare(target)) nodeNamed(topology, target);
    throw new CascadeError("usage", `${source} is a seed file: it is loaded into a node`, {
      hint: "cascade seed -t TOPOLOGY FILE NODE. To copy the file itself, use cp.",
    });
  }
  if (topology !== null && isBare(source) && statOf(source) === null) {
    throw nobody(topology, source);
  }
  return { kind: "copy" };
}

/** Null: nobody named one, and there is none where it is looked for. */
function topologyOf(request: SeedRequest): Topology | null {
  return hasTopology(request) ? loadTopology(request.topology) : null;
}

function nodeIn(topology: Topology | null, text: string): string | null {
  if (!isBare(text) || topology?.nodes.some(({ name }) => name === text) !== true) return null;
  // A node's folder often bears its name: no folder is ever copied.
  if (statOf(text)?.isDirectory !== false) return text;
  throw new CascadeError("usage", `${text} is a node of ${topology.file}, and a file here`, {
    hint: `The file is ./${text}. For the node, run the command in another folder, with -t.`,
  });
}

function refuseOptions(
  request: SeedRequest,
  names: readonly ("compare" | "verify" | "resumeFile")[],
): void {
  const given = names.find((name) => request[name] !== false && request[name] !== null);
  if (given === undefined) return;
  const hints = {
    compare: "A seed file holds all that is not a hole.",
    verify: "A seed file is always read back and checked, when it is made and before it is loaded.",
    resumeFile: "What was interrupted goes on by itself.",
  };
  const option = given === "resumeFile" ? "resume-file" : given;
  throw new CascadeError("usage", `--${option} is for copies between files, devices and servers`, {
    hint: hints[given],
  });
}

function twoNodes(from: string, to: string): CascadeError {
  return new CascadeError("usage", `${from} and ${to} are both nodes`, {
    hint:
      "A blank node fills itself from the node above it as soon as both are served. Without a " +
      `network in between: cascade seed ${from} FILE, carry the file, cascade seed FILE ${to}`,
  });
}

function onlyFiles(from: string, target: string): CascadeError {
  return new CascadeError("usage", `${target} is no regular file`, {
    hint:
      `A seed of ${from} is a file with all its volumes and their LSN. To copy one volume as an ` +
      "image, serve it by NBD (`nbd:` of the node) and seed from there.",
  });
}

function noImage(topology: Topology, source: string, to: string): CascadeError {
  const { volumes } = nodeNamed(topology, to);
  const [path] = [...volumes?.values() ?? []];
  return new CascadeError("usage", `${source} is no seed file: a plain image has no LSN`, {
    hint:
      `A seed file for ${to} is made with: cascade seed NODE FILE. To begin a new cascade with an ` +
      "image, copy it to every node before its first start" +
      (path === undefined ? "." : `: cascade seed ${source} ${path}`),
  });
}

function nobody(topology: Topology, source: string): CascadeError {
  const meant = nearest(source, topology.nodes.map(({ name }) => name));
  return new CascadeError(
    "usage",
    isBare(source)
      ? `${source} is no file here, and no node of ${topology.file}`
      : `there is no file ${source}`,
    meant === null ? {} : { hint: `Did you mean ${meant}?` },
  );
}
