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

/** Makes a folder, if need be, whose parent is durable already. */
export async function makeDurableFolder(disk: Disk, path: string): Promise<void> {
  if (!disk.exists(path)) disk.makeFolder(path);
  // Also if it is there: a process that made it may have died before it got to this.
  await disk.flushFolder(folderOf(path));
}
