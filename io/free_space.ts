/**
 * Room on a file system.
 *
 * @module
 */
import { statfsSync, statSync } from "node:fs";
import { dirname } from "node:path";

/** Room where a file is, or is to be; null for a block device, and where it cannot be told. */
export function freeBytesAt(path: string): { device: number; freeBytes: number } | null {
  for (let at = path;; at = dirname(at)) {
    try {
      const stats = statSync(at);
      if (stats.isBlockDevice()) return null;
      const { bavail, bsize } = statfsSync(at);
      return { device: stats.dev, freeBytes: bavail * bsize };
    } catch {
      // Not there yet: the folder above it tells.
      if (dirname(at) === at) return null;
    }
  }
}
