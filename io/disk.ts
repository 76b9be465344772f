/**
 * Files and block devices on Deno: the {@linkcode Disk} port.
 *
 * @module
 */
import {
  closeSync,
  constants,
  fstatSync,
  fsync,
  lstatSync,
  mkdirSync,
  openSync,
  readdirSync,
  renameSync,
  type Stats,
  statSync,
  unlinkSync,
} from "node:fs";
import { CascadeError } from "../core/errors.ts";
import type { Disk, DiskFile } from "../core/ports.ts";
import { OpenFile } from "./disk_file.ts";
import { diskError, systemCode } from "./disk_errors.ts";
import { lockFile } from "./file_lock.ts";

/** Volumes and logs hold the user's data: nobody else may read what is made here. */
const FILE_MODE = 0o600;
const FOLDER_MODE = 0o700;

/** The real disk. Errors are {@linkcode CascadeError}s: `not-found`, `locked`, `disk-full`, `disk-failed`. */
export class DenoDisk implements Disk {
  open(
    path: string,
    options: { create?: boolean; readOnly?: boolean; lock?: boolean } = {},
  ): DiskFile {
    // Looked at before it is opened too: to open a pipe would wait for its other end.
    const before = statOrNull(path);
    if (before !== null) checkKind(before, path);
    const fd = openDescriptor(path, options);
    let lock = null;
    try {
      const stats = fstatSync(fd);
      checkKind(stats, path);
      const isDevice = stats.isBlockDevice();
      if (options.lock === true) {
        lock = lockFile(path, isDevice);
        checkSame(stats, path);
      }
      const size = isDevice ? deviceBytes(path) : null;
      const device = isDevice ? stats.rdev : stats.dev;
      return new OpenFile({ path, fd, deviceBytes: size, lock, device });
    } catch (error) {
      lock?.release();
      closeSync(fd);
      throw diskError(error, "open the file", path);
    }
  }

  exists(path: string): boolean {
    return statOrNull(path) !== null;
  }

  list(folder: string): string[] {
    return attempt("list the folder", folder, () => readdirSync(folder).sort());
  }

  makeFolder(path: string): void {
    attempt("make the folder", path, () => {
      mkdirSync(path, { recursive: true, mode: FOLDER_MODE });
    });
  }

  remove(path: string): void {
    attempt("remove the file", path, () => {
      // The runtime's unlink takes an empty folder away too.
      if (lstatSync(path).isDirectory()) throw new Error("it is a folder");
      unlinkSync(path);
    });
  }

  rename(from: string, to: string): void {
    attempt(`rename the file to ${to}`, from, () => renameSync(from, to));
  }

  async flushFolder(path: string): Promise<void> {
    const flags = constants.O_RDONLY | constants.O_DIRECTORY;
    const fd = attempt("open the folder", path, () => openSync(path, flags));
    try {
      await new Promise<void>((resolve, reject) => {
        fsync(fd, (error) => error === null || error === undefined ? resolve() : reject(error));
      });
    } catch (error) {
      throw diskError(error, "flush the folder", path);
    } finally {
      closeSync(fd);
    }
  }
}

function attempt<T>(operation: string, path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw diskError(error, operation, path);
  }
}

/** Null when there is nothing; anything else that keeps us from looking is an error. */
function statOrNull(path: string): Stats | null {
  try {
    return statSync(path);
  } catch (error) {
    const code = systemCode(error);
    if (code === "ENOENT" || code === "ENOTDIR") return null;
    throw diskError(error, "look at the file", path);
  }
}

function openDescriptor(path: string, options: { create?: boolean; readOnly?: boolean }): number {
  const flags = (options.readOnly === true ? constants.O_RDONLY : constants.O_RDWR) |
    (options.create === true ? constants.O_CREAT : 0);
  return attempt("open the file", path, () => openSync(path, flags, FILE_MODE));
}

function checkKind(stats: Stats, path: string): void {
  if (stats.isFile() || stats.isBlockDevice()) return;
  throw new CascadeError(
    "disk-failed",
    `expected a regular file or a block device, found ${kindOf(stats)}`,
    { where: { path }, hint: "Name a file or a block device." },
  );
}

function kindOf(stats: Stats): string {
  if (stats.isDirectory()) return "a folder";
  if (stats.isCharacterDevice()) return "a character device";
  if (stats.isFIFO()) return "a named pipe";
  if (stats.isSocket()) return "a socket";
  return "something else";
}

/** The lock is taken by path: it must have met the file that we opened, not one put in its place. */
function checkSame(opened: Stats, path: string): void {
  const now = statSync(path);
  if (now.ino === opened.ino && now.dev === opened.dev) return;
  throw new CascadeError("locked", "the file was replaced while it was being locked", {
    where: { path },
    retryable: true,
  });
}

function deviceBytes(path: string): number {
  const device = Deno.openSync(path, { read: true });
  try {
    return device.seekSync(0, Deno.SeekMode.End);
  } finally {
    device.close();
  }
}
