/**
 * Whether the nodes' images are the same, byte for byte.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { DemoCluster } from "./cluster.ts";

const COMPARE_BYTES = 1024 * 1024;

/** Compares every replica's image with that of `primary`; the first differing byte, or null. */
export async function compareImages(
  cluster: DemoCluster,
  primary: string,
): Promise<Map<string, number | null>> {
  const result = new Map<string, number | null>();
  for (const node of cluster.nodes) {
    if (node === primary) continue;
    result.set(node, await firstDifference(cluster.image(primary), cluster.image(node)));
  }
  return result;
}

/** Offset of the first byte that differs between two files, or null. */
export async function firstDifference(left: string, right: string): Promise<number | null> {
  const files = [await Deno.open(left), await Deno.open(right)] as const;
  try {
    return await difference(...files);
  } finally {
    for (const file of files) file.close();
  }
}

async function difference(a: Deno.FsFile, b: Deno.FsFile): Promise<number | null> {
  const one = new Uint8Array(COMPARE_BYTES);
  const two = new Uint8Array(COMPARE_BYTES);
  for (let offset = 0;;) {
    const [m, n] = [await readFully(a, one), await readFully(b, two)];
    const end = Math.min(m, n);
    if (Buffer.compare(one.subarray(0, end), two.subarray(0, end)) !== 0) {
      return offset + one.findIndex((byte, index) => byte !== two[index]);
    }
    if (m !== n) return offset + end;
    if (m === 0) return null;
    offset += m;
  }
}

async function readFully(file: Deno.FsFile, into: Uint8Array): Promise<number> {
  let at = 0;
  while (at < into.length) {
    const count = await file.read(into.subarray(at));
    if (count === null) break;
    at += count;
  }
  return at;
}
