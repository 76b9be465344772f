/**
 * A first look at the two arguments of `cascade seed`: most copies concern no topology, and are not to wait
 * for what reads one.
 *
 * @module
 */
import { isDelta } from "../core/delta/delta_magic.ts";
import { isNbdUri } from "../core/nbd_client/uri.ts";
import { NAME_PATTERN } from "../core/topology/name_pattern.ts";
import type { SeedRequest } from "./seed_run.ts";

/** Whether both are certainly places: no name that could be a node's, no seed file. */
export function isPlainCopy(request: SeedRequest): boolean {
  const { source, target } = request;
  if (isSeedFile(source)) return false;
  return !hasTopology(request) || !(isBare(source) || isBare(target));
}

/** Somebody named a topology, or there is one where it is looked for. */
export function hasTopology({ topology, isTopologyGiven }: SeedRequest): boolean {
  return isTopologyGiven || statOf(topology) !== null;
}

/** Whether it could be the name of a node. */
export function isBare(text: string): boolean {
  return NAME_PATTERN.test(text);
}

/** Null when there is nothing that could be looked at. */
export function statOf(path: string): Deno.FileInfo | null {
  try {
    return Deno.statSync(path);
  } catch {
    return null; // Whoever opens it tells why not.
  }
}

/** Whether it is a file that begins as a delta. */
export function isSeedFile(path: string): boolean {
  if (isNbdUri(path) || statOf(path)?.isFile !== true) return false;
  try {
    const file = Deno.openSync(path);
    try {
      const head = new Uint8Array(4);
      return file.readSync(head) === head.length && isDelta(head);
    } finally {
      file.close();
    }
  } catch {
    return false; // As above.
  }
}
