/**
 * Volume images as files: comparing them, holes included.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Cluster } from "./cluster.ts";

const STEP_BYTES = 1024 * 1024;

/** The offset of the first byte in which two files differ; null when they are equal. */
export function firstDifference(left: string, right: string): number | null {
  using a = Deno.openSync(left);
  using b = Deno.openSync(right);
  const sizes = [a.statSync().size, b.statSync().size];
  if (sizes[0] !== sizes[1]) return Math.min(...sizes);
  const one = Buffer.alloc(STEP_BYTES);
  const two = Buffer.alloc(STEP_BYTES);
  for (let at = 0; at < sizes[0]!; at += STEP_BYTES) {
    const length = fill(a, one);
    if (fill(b, two) !== length) return at;
    if (one.compare(two, 0, length, 0, length) === 0) continue;
    for (let i = 0; i < length; i++) if (one[i] !== two[i]) return at + i;
  }
  return null;
}

function fill(file: Deno.FsFile, into: Uint8Array): number {
  let length = 0;
  while (length < into.length) {
    const count = file.readSync(into.subarray(length));
    if (count === null) break;
    length += count;
  }
  return length;
}

/** Fails unless every node's image of every volume equals the primary's, byte for byte. */
export function assertSameImages(cluster: Cluster): void {
  const { nodes, logOnly = [], volumes = { data: "" } } = cluster.spec;
  for (const volume of Object.keys(volumes)) {
    for (const node of nodes.slice(1)) {
      if (logOnly.includes(node)) continue;
      const ours = cluster.image(cluster.primary, volume);
      const at = firstDifference(ours, cluster.image(node, volume));
      if (at !== null) throw new Error(`${volume} of ${node} differs from the primary at ${at}`);
    }
  }
}

/** Bytes that a file takes on the disk. */
export function bytesOnDisk(path: string): number {
  return (Deno.statSync(path).blocks ?? 0) * 512;
}
