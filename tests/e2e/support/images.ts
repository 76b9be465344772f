/**
 * Volume images as files: comparing them, holes included.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { DenoDisk } from "../../../io/disk.ts";
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

/** The same for huge sparse files: reads nothing where both have holes. */
export function firstDifferenceInData(left: string, right: string): number | null {
  const disk = new DenoDisk();
  const files = [left, right].map((path) => disk.open(path, { readOnly: true }));
  try {
    const [a, b] = [files[0]!, files[1]!];
    const ranges = files.flatMap((file) => file.dataRanges(0, file.size()));
    ranges.sort((one, other) => one.start - other.start);
    const [one, two] = [new Uint8Array(STEP_BYTES), new Uint8Array(STEP_BYTES)];
    for (const { start, end } of ranges) {
      for (let at = start; at < end; at += STEP_BYTES) {
        const length = Math.min(STEP_BYTES, end - at);
        a.readAt(one.subarray(0, length), at);
        b.readAt(two.subarray(0, length), at);
        if (Buffer.compare(one.subarray(0, length), two.subarray(0, length)) !== 0) return at;
      }
    }
    return a.size() === b.size() ? null : Math.min(a.size(), b.size());
  } finally {
    for (const file of files) file.close();
  }
}
