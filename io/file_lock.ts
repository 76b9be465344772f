/**
 * Exclusive locks on files: `flock`, which the kernel releases when the holder dies in any way.
 *
 * @module
 */
import { readFileSync, statSync } from "node:fs";
import { basename } from "node:path";
import { CascadeError } from "../core/errors.ts";
import { diskError } from "./disk_errors.ts";
import { libc, readKernelFile } from "./libc.ts";

/** The name of files that belong to the lock alone, into which the holder writes its pid. */
const LOCK_NAME = "lock";

/** Releases a lock that was taken. */
export interface FileLock {
  release(): void;
}

/**
 * Locks the file at `path`, which must be there. A block device is claimed from the kernel as well,
 * so that one that is mounted, or in use by another system, is refused. Throws `locked`.
 */
export function lockFile(path: string, isDevice: boolean): FileLock {
  const file = openForLock(path);
  try {
    if (!file.tryLockSync(true)) throw lockedError(path);
    const claim = isDevice ? claimDevice(path) : null;
    if (basename(path) === LOCK_NAME && !isDevice) writePid(path, file);
    return {
      release() {
        if (claim !== null) libc()?.close(claim);
        file.close();
      },
    };
  } catch (error) {
    file.close();
    throw diskError(error, "lock the file", path);
  }
}

function openForLock(path: string): Deno.FsFile {
  const write = basename(path) === LOCK_NAME;
  try {
    return Deno.openSync(path, { read: true, write });
  } catch (error) {
    throw diskError(error, "open the file to lock it", path);
  }
}

function claimDevice(path: string): number | null {
  const library = libc();
  if (library === null) return null;
  const fd = library.claimDevice(path);
  if (fd >= 0) return fd;
  throw new CascadeError("locked", "the device is in use on this machine", {
    where: { path },
    hint: "Unmount it, or take it out of the RAID, volume group or program that holds it.",
    retryable: true,
  });
}

function writePid(path: string, file: Deno.FsFile): void {
  try {
    file.truncateSync(0);
    file.writeSync(new TextEncoder().encode(`${Deno.pid}\n`));
  } catch (error) {
    throw diskError(error, "write the pid to the lock file", path);
  }
}

function lockedError(path: string): CascadeError {
  const pid = lockHolder(path);
  return new CascadeError("locked", "another process has locked it", {
    where: pid === null ? { path } : { path, pid },
    hint: pid === null
      ? "Stop the process that holds it."
      : `Process ${pid} holds it: stop that one first.`,
    retryable: true,
  });
}

/** The pid of who holds the lock on a file, or null if that cannot be found out. */
export function lockHolder(path: string): number | null {
  try {
    const { dev, ino } = statSync(path);
    const pid = holderFromTable(readKernelFile("/proc/locks"), dev, ino);
    if (pid !== null) return pid;
  } catch {
    // No such table on this system, or no right to it: the file itself may still tell.
  }
  if (basename(path) !== LOCK_NAME) return null;
  try {
    const pid = Number.parseInt(readFileSync(path, "utf8"), 10);
    return pid > 0 ? pid : null;
  } catch {
    return null; // The pid is a help in a message, nothing more.
  }
}

/**
 * Finds the holder in the text of `/proc/locks`, whose lines read
 * `4: FLOCK  ADVISORY  WRITE 4987 fe:00:2146427 0 EOF`. Some file systems show another device there
 * than `stat` does; the inode alone then has to do. A pid of 0 or less is one that this process cannot see.
 */
export function holderFromTable(table: string, dev: number, ino: number): number | null {
  const major = (dev >>> 8) & 0xfff;
  const minor = (dev & 0xff) | ((dev >>> 12) & 0xfff00);
  let byInode: number | null = null;
  for (const line of table.split("\n")) {
    const match = /FLOCK\s+\S+\s+WRITE\s+(\d+)\s+([0-9a-f]+):([0-9a-f]+):(\d+)\s/.exec(line);
    if (match === null || Number(match[4]) !== ino || Number(match[1]) <= 0) continue;
    if (parseInt(match[2]!, 16) === major && parseInt(match[3]!, 16) === minor) {
      return Number(match[1]);
    }
    byInode ??= Number(match[1]);
  }
  return byInode;
}
