/**
 * One open file of a simulated process.
 *
 * @module
 */
import { assert } from "../../core/assert.ts";
import { CascadeError } from "../../core/errors.ts";
import type { DataRange, DiskFile } from "../../core/ports.ts";
import { flushFailed, type HostDisk, type Inode, sumOf } from "./disk.ts";
import type { Life } from "./life.ts";

/** What `preallocate` writes at once. */
const SLICE_BYTES = 64 * 1024;

/** Every call throws once the process is dead, and `bug` where a file must not be used so. */
export class SimFile implements DiskFile {
  readonly path: string;
  readonly isDevice: boolean;
  readonly #host: HostDisk;
  readonly #life: Life;
  readonly #inode: Inode;
  readonly #readOnly: boolean;
  #closed = false;

  constructor(host: HostDisk, life: Life, inode: Inode, path: string, readOnly: boolean) {
    this.path = path;
    this.isDevice = inode.isDevice;
    this.#host = host;
    this.#life = life;
    this.#inode = inode;
    this.#readOnly = readOnly;
  }

  #check(): void {
    this.#life.check();
    if (this.#closed) throw new CascadeError("disk-failed", `${this.path} was closed`);
  }

  #checkChange(offset: number, length: number): void {
    this.#check();
    assert(!this.#readOnly, "a file that is opened to read is not changed");
    assert(offset >= 0 && Number.isSafeInteger(offset), "an offset is a whole number");
    if (this.isDevice && offset + length > this.#inode.image.size) {
      throw new CascadeError("disk-failed", "past the end of the device", {
        where: { path: this.path, offset },
      });
    }
  }

  size(): number {
    this.#check();
    return this.#inode.image.size;
  }

  readAt(into: Uint8Array, offset: number): void {
    this.#check();
    this.#inode.image.read(into, offset);
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    this.#checkChange(offset, bytes.length);
    const { image } = this.#inode;
    if (!this.#host.hasRoomFor(this.#inode, offset, bytes.length)) {
      // Some of it may have found room: nothing may be assumed.
      const fits = this.#host.prng.below(bytes.length + 1);
      if (this.#host.hasRoomFor(this.#inode, offset, fits)) {
        image.write(bytes.subarray(0, fits), offset);
      }
      this.#host.trace.note(this.#life.name, "no room", this.path, offset, bytes.length);
      throw this.#full(offset);
    }
    if (this.#life.burnt()) {
      const part = this.#host.prng.below(bytes.length + 1);
      this.#host.trace.note(this.#life.name, "dies writing", this.path, offset, part);
      image.write(bytes.subarray(0, part), offset);
      this.#life.die();
    }
    image.write(bytes, offset);
    this.#host.trace.note(
      this.#life.name,
      "write",
      this.path,
      offset,
      bytes.length,
      sumOf(bytes),
    );
  }

  #full(offset: number): CascadeError {
    return new CascadeError("disk-full", "there is no room left", {
      where: { path: this.path, offset },
      retryable: true,
    });
  }

  zeroAt(offset: number, length: number, hole: boolean): void {
    this.#checkChange(offset, length);
    const { image } = this.#inode;
    const inside = Math.max(0, Math.min(length, image.size - offset));
    if (!hole && !this.#host.hasRoomFor(this.#inode, offset, inside)) throw this.#full(offset);
    if (this.#life.burnt()) {
      image.zero(offset, this.#host.prng.below(length + 1), hole);
      this.#life.die();
    }
    image.zero(offset, length, hole);
    this.#host.trace.note(this.#life.name, "zero", this.path, offset, length, hole);
  }

  truncate(size: number): void {
    this.#checkChange(0, 0);
    assert(!this.isDevice, "a device has a fixed size");
    if (this.#life.burnt()) this.#life.die();
    this.#inode.image.truncate(size);
    this.#host.trace.note(this.#life.name, "truncate", this.path, size);
  }

  async preallocate(size: number): Promise<void> {
    const zeroes = new Uint8Array(SLICE_BYTES);
    for (let at = 0; at < size; at += SLICE_BYTES) {
      this.writeAt(zeroes.subarray(0, Math.min(SLICE_BYTES, size - at)), at);
      await new Promise<void>((go) => {
        this.#host.scheduler.after(this.#host.prng.fraction() * 0.1, this.#life, go);
      });
    }
    await this.flush();
  }

  dataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
    this.#check();
    const { image } = this.#inode;
    const end = Math.min(offset + length, image.size);
    if (end <= offset) return [];
    if (this.#host.conditions.blind) return [{ start: offset, end }];
    return image.dataRanges(offset, length).slice(0, rangesMax);
  }

  flush(): Promise<void> {
    this.#check();
    const { image } = this.#inode;
    assert(!image.flushing, "flushes of one file do not overlap");
    image.beginFlush();
    this.#host.trace.note(this.#life.name, "flush", this.path);
    return new Promise((resolve, reject) => {
      this.#host.scheduler.after(this.#host.drawFlushMs(), this.#life, () => {
        if (this.#host.drawFlushFailure()) {
          image.failFlush(this.#host.conditions.phantom);
          this.#host.trace.note(this.#life.name, "flush failed", this.path);
          reject(flushFailed(this.path));
          return;
        }
        image.endFlush();
        this.#host.trace.note(this.#life.name, "flushed", this.path);
        resolve();
      });
    });
  }

  close(): void {
    if (this.#closed || !this.#life.alive) return;
    this.#closed = true;
    if (this.#inode.lock === this) this.#inode.lock = null;
  }
}
