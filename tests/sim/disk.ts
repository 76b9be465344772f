/**
 * The disk of a simulated host, and the port that a process on it sees.
 *
 * {@linkcode HostDisk} outlives its processes: it has files, room, a speed and faults. A
 * {@linkcode SimDisk} is one process's view of it, and dies with the process.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { assert } from "../../core/assert.ts";
import { CascadeError } from "../../core/errors.ts";
import type { Disk, DiskFile } from "../../core/ports.ts";
import type { Scheduler } from "./clock.ts";
import { DiskImage, PAGE_BYTES } from "./disk_image.ts";
import { DiskNames, folderOf } from "./disk_names.ts";
import { SimFile } from "./disk_file.ts";
import type { CrashKind, Life } from "./life.ts";
import type { Prng } from "./prng.ts";
import type { Trace } from "./trace.ts";

/** A file or device: what names stand for. */
export interface Inode {
  readonly id: number;
  readonly image: DiskImage;
  readonly isDevice: boolean;
  /** Who holds the exclusive lock; counts as long as that process lives. */
  lock: SimFile | null;
}

/** Faults and speed, to be changed at will while the run goes on. */
export interface DiskConditions {
  /** Room in bytes; Infinity: no bound. */
  roomBytes: number;
  /** Mean time of a flush, ms. */
  flushMs: number;
  /** Flushes until one fails; 0: none does. */
  flushesToFailure: number;
  /** After a failed flush the cache goes on showing what is not on the disk. */
  phantom: boolean;
  /** Whether files cannot tell their holes: `dataRanges` is then one range. */
  blind: boolean;
}

/** See the module's text. */
export class HostDisk {
  readonly host: string;
  readonly scheduler: Scheduler;
  readonly trace: Trace;
  readonly prng: Prng;
  readonly names = new DiskNames<Inode>();
  readonly conditions: DiskConditions = {
    roomBytes: Infinity,
    flushMs: 1,
    flushesToFailure: 0,
    phantom: false,
    blind: false,
  };
  #inodeCount = 0;

  constructor(host: string, scheduler: Scheduler, trace: Trace, prng: Prng) {
    this.host = host;
    this.scheduler = scheduler;
    this.trace = trace;
    this.prng = prng;
  }

  newInode(isDevice = false, sizeBytes = 0): Inode {
    const id = this.#inodeCount++;
    const image = new DiskImage(this.prng.fork(`inode ${id}`), sizeBytes);
    return { id, image, isDevice, lock: null };
  }

  /** Puts a file or device there that was always there. Its folder must exist. */
  place(path: string, bytes: Uint8Array, isDevice = false): void {
    assert(this.names.get(folderOf(path)) === "folder", "a file lies in a folder");
    const inode = this.newInode(isDevice, bytes.length);
    inode.image.write(bytes, 0);
    inode.image.settleAll();
    this.names.set(path, inode);
    this.names.settleAll();
  }

  placeFolder(path: string): void {
    this.names.set(path, "folder");
    this.names.settleAll();
  }

  /** The bytes of a file as a process would see them now; null when it is not there. */
  image(path: string): DiskImage | null {
    const entry = this.names.get(path);
    return entry === undefined || entry === "folder" ? null : entry.image;
  }

  /** Bytes taken by all regular files. */
  usedBytes(): number {
    let pages = 0;
    for (const inode of this.names.visible()) if (!inode.isDevice) pages += inode.image.pages;
    return pages * PAGE_BYTES;
  }

  /** Whether a write would find room. */
  hasRoomFor(inode: Inode, offset: number, length: number): boolean {
    if (inode.isDevice || this.conditions.roomBytes === Infinity) return true;
    const missing = inode.image.pagesMissing(offset, length) * PAGE_BYTES;
    return missing === 0 || this.usedBytes() + missing <= this.conditions.roomBytes;
  }

  /** How long the next flush takes. Rarely far longer than the others, as on real disks. */
  drawFlushMs(): number {
    const rare = this.prng.chance(0.01) ? 20 : 1;
    return 0.05 + this.prng.exponential(this.conditions.flushMs * rare);
  }

  /** Whether the flush that ends now fails. */
  drawFlushFailure(): boolean {
    if (this.conditions.flushesToFailure === 0) return false;
    return --this.conditions.flushesToFailure === 0;
  }

  /** The processes of the host are gone; with `power`, all that was not flushed may be too. */
  crash(kind: CrashKind): void {
    const keep = this.prng.pick([0, 1, this.prng.fraction(), this.prng.fraction()]);
    for (const inode of this.names.entries()) {
      inode.lock = null;
      if (kind === "power") inode.image.losePower(keep);
      else inode.image.abandonFlush();
    }
    if (kind === "power") this.names.losePower(this.prng, keep);
    this.trace.note(this.host, `disk after loss of ${kind}`, keep);
  }

  /** Everything but the folders `kept` is lost: no file is there any more, devices read as zeroes. */
  wipe(kept: readonly string[]): void {
    this.trace.note(this.host, "wiped");
    for (const path of this.names.paths()) {
      const entry = this.names.get(path);
      if (entry !== undefined && entry !== "folder" && entry.isDevice) {
        entry.image.zero(0, entry.image.size, false);
        entry.image.settleAll();
      } else if (path !== "/" && !kept.includes(path)) this.names.set(path, null);
    }
    this.names.settleAll();
  }

  /** Flips the bits of `mask` in one byte of a file. */
  flip(path: string, offset: number, mask: number): void {
    const image = this.image(path);
    assert(image !== null, "the file to be damaged is there");
    this.trace.note(this.host, "flip", path, offset, mask);
    image.flip(offset, mask);
  }
}

/** The port. */
export class SimDisk implements Disk {
  readonly #host: HostDisk;
  readonly #life: Life;

  constructor(host: HostDisk, life: Life) {
    this.#host = host;
    this.#life = life;
  }

  open(
    path: string,
    options: { create?: boolean; readOnly?: boolean; lock?: boolean } = {},
  ): DiskFile {
    this.#life.check();
    const { names } = this.#host;
    let entry = names.get(path);
    if (entry === "folder") {
      throw new CascadeError("disk-failed", "expected a file, found a folder", { where: { path } });
    }
    if (entry === undefined) {
      if (options.create !== true) throw notFound(path);
      this.#checkFolder(path);
      this.#step("create", path);
      names.set(path, entry = this.#host.newInode());
    }
    if (options.lock === true && entry.lock !== null) {
      const hint = `It is held by ${this.#life.host}.`;
      throw new CascadeError("locked", "the file is locked", { where: { path }, hint });
    }
    const file = new SimFile(this.#host, this.#life, entry, path, options.readOnly === true);
    if (options.lock === true) entry.lock = file;
    return file;
  }

  #checkFolder(path: string): void {
    if (this.#host.names.get(folderOf(path)) !== "folder") throw notFound(path);
  }

  /** A change of names; the process may die just before it. */
  #step(what: string, ...details: string[]): void {
    if (this.#life.burnt()) this.#life.die();
    this.#host.trace.note(this.#life.name, what, ...details);
  }

  exists(path: string): boolean {
    this.#life.check();
    return this.#host.names.has(path);
  }

  list(folder: string): string[] {
    this.#life.check();
    if (this.#host.names.get(folder) !== "folder") throw notFound(folder);
    return this.#host.names.list(folder);
  }

  makeFolder(path: string): void {
    this.#life.check();
    const { names } = this.#host;
    if (names.get(path) === "folder") return;
    if (names.has(path)) {
      throw new CascadeError("disk-failed", "a file is in the way", { where: { path } });
    }
    this.makeFolder(folderOf(path));
    this.#step("make folder", path);
    names.set(path, "folder");
  }

  remove(path: string): void {
    this.#life.check();
    const entry = this.#host.names.get(path);
    if (entry === undefined) throw notFound(path);
    assert(entry !== "folder", "only files are removed");
    this.#step("remove", path);
    this.#host.names.set(path, null);
  }

  rename(from: string, to: string): void {
    this.#life.check();
    if (!this.#host.names.has(from)) throw notFound(from);
    this.#checkFolder(to);
    this.#step("rename", from, to);
    this.#host.names.rename(from, to);
  }

  flushFolder(path: string): Promise<void> {
    this.#life.check();
    const { names, scheduler, trace } = this.#host;
    if (names.get(path) !== "folder") throw notFound(path);
    const pending = names.pendingIn(path);
    return new Promise((resolve, reject) => {
      scheduler.after(this.#host.drawFlushMs(), this.#life, () => {
        if (this.#host.drawFlushFailure()) return reject(flushFailed(path));
        names.settle(pending);
        trace.note(this.#life.name, "flushed folder", path);
        resolve();
      });
    });
  }
}

function notFound(path: string): CascadeError {
  return new CascadeError("not-found", "there is no such file or folder", { where: { path } });
}

/** In the message of every failure that the simulator made up. */
export const INJECTED = "injected fault";

/** What a flush that failed throws. */
export function flushFailed(path: string): CascadeError {
  return new CascadeError("disk-failed", `cannot flush: ${INJECTED}`, { where: { path } });
}

/** The sum of bytes, for the trace. */
export function sumOf(bytes: Uint8Array): number {
  return crc32(bytes);
}
