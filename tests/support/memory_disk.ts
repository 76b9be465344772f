/**
 * A disk in memory, without faults of its own: what is written is there. A test can make flushes
 * wait, fail, or writes fail, and count what was asked.
 *
 * @module
 */
import { CascadeError } from "../../core/errors.ts";
import type { DataRange, Disk, DiskFile } from "../../core/ports.ts";

/** The bytes behind a name; opened files share them. */
export class MemoryFile {
  bytes = new Uint8Array(0);
  locked = false;
  isDevice = false;
}

export class MemoryDisk implements Disk {
  readonly files = new Map<string, MemoryFile>();
  readonly folders = new Set<string>(["/"]);
  /** What happened to names and flushes, in order. */
  readonly events: string[] = [];
  /** Files open now. */
  openCount = 0;
  /** Asked before each write; what it throws, the write throws. */
  beforeWrite: (path: string) => void = () => {};
  /** Awaited by each flush. */
  beforeFlush: (path: string) => Promise<void> = () => Promise.resolve();
  /** Range by range, when a test wants holes to be told. */
  holes = true;

  place(path: string, bytes: Uint8Array): MemoryFile {
    const file = new MemoryFile();
    file.bytes = Uint8Array.from(bytes);
    this.files.set(path, file);
    return file;
  }

  file(path: string): MemoryFile {
    const file = this.files.get(path);
    if (file === undefined) throw notFound(path);
    return file;
  }

  open(
    path: string,
    options: { create?: boolean; readOnly?: boolean; lock?: boolean } = {},
  ): DiskFile {
    let file = this.files.get(path);
    if (file === undefined) {
      if (options.create !== true) throw notFound(path);
      file = new MemoryFile();
      this.files.set(path, file);
    }
    if (options.lock === true && file.locked) throw new CascadeError("locked", "it is locked");
    return new OpenFile(this, path, file, options.lock === true);
  }

  exists(path: string): boolean {
    return this.files.has(path) || this.folders.has(path);
  }

  list(folder: string): string[] {
    if (!this.folders.has(folder)) throw notFound(folder);
    const names = [...this.files.keys()].filter((path) => path.startsWith(`${folder}/`));
    return names.map((path) => path.slice(folder.length + 1))
      .filter((name) => !name.includes("/")).sort();
  }

  makeFolder(path: string): void {
    this.folders.add(path);
  }

  remove(path: string): void {
    if (!this.files.delete(path)) throw notFound(path);
    this.events.push(`remove ${path}`);
  }

  rename(from: string, to: string): void {
    this.files.set(to, this.file(from));
    this.files.delete(from);
    this.events.push(`rename ${from} ${to}`);
  }

  async flushFolder(path: string): Promise<void> {
    if (!this.folders.has(path)) throw notFound(path);
    await this.beforeFlush(path);
    this.events.push(`flush ${path}`);
  }
}

class OpenFile implements DiskFile {
  readonly path: string;
  readonly #disk: MemoryDisk;
  readonly #file: MemoryFile;
  readonly #holdsLock: boolean;
  #closed = false;

  constructor(disk: MemoryDisk, path: string, file: MemoryFile, lock: boolean) {
    this.path = path;
    this.#disk = disk;
    this.#file = file;
    this.#holdsLock = lock;
    if (lock) file.locked = true;
    disk.openCount++;
  }

  get isDevice(): boolean {
    return this.#file.isDevice;
  }

  size(): number {
    return this.#file.bytes.length;
  }

  readAt(into: Uint8Array, offset: number): void {
    into.fill(0);
    into.set(this.#file.bytes.subarray(offset, offset + into.length));
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    this.#check();
    this.#disk.beforeWrite(this.path);
    this.#grow(offset + bytes.length);
    this.#file.bytes.set(bytes, offset);
  }

  #check(): void {
    if (this.#closed) throw new CascadeError("disk-failed", `${this.path} is closed`);
  }

  #grow(size: number): void {
    if (size <= this.size()) return;
    const larger = new Uint8Array(size);
    larger.set(this.#file.bytes);
    this.#file.bytes = larger;
  }

  zeroAt(offset: number, length: number): void {
    this.#disk.beforeWrite(this.path);
    this.#file.bytes.fill(0, offset, offset + length);
  }

  truncate(size: number): void {
    if (size < this.size()) this.#file.bytes = this.#file.bytes.slice(0, size);
    else this.#grow(size);
  }

  preallocate(size: number): Promise<void> {
    this.#grow(size);
    return Promise.resolve();
  }

  /** Blocks of 4 KiB that are not all zero. */
  dataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
    if (!this.#disk.holes) return [{ start: offset, end: offset + length }];
    const ranges: DataRange[] = [];
    const last = offset + length;
    for (let at = offset - offset % 4096; at < last; at += 4096) {
      if (this.#file.bytes.subarray(at, at + 4096).every((byte) => byte === 0)) continue;
      const [start, end] = [Math.max(at, offset), Math.min(at + 4096, last)];
      const before = ranges.at(-1);
      if (before?.end === start) ranges[ranges.length - 1] = { start: before.start, end };
      else if (ranges.length === rangesMax) break;
      else ranges.push({ start, end });
    }
    return ranges;
  }

  async flush(): Promise<void> {
    this.#check();
    await this.#disk.beforeFlush(this.path);
    this.#disk.events.push(`flush ${this.path}`);
  }

  forgetCached(): void {
    this.#check();
    this.#disk.events.push(`forget ${this.path}`);
  }

  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#disk.openCount--;
    if (this.#holdsLock) this.#file.locked = false;
  }
}

function notFound(path: string): CascadeError {
  return new CascadeError("not-found", `there is no ${path}`);
}
