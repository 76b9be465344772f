/**
 * Folders as parts of a path.
 *
 * @module
 */
import type { Disk } from "./ports.ts";

/** The folder that holds `path`. */
export function folderOf(path: string): string {
  const slash = path.lastIndexOf("/");
  return slash < 0 ? "." : slash === 0 ? "/" : path.slice(0, slash);
}

/** Makes a folder whose parent is durable already; does nothing when it is there. */
export async function makeDurableFolder(disk: Disk, path: string): Promise<void> {
  if (disk.exists(path)) return;
  disk.makeFolder(path);
  await disk.flushFolder(folderOf(path));
}
