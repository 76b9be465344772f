/**
 * One open file or block device, over positioned synchronous calls (about 1 us for 4 KiB in the page
 * cache) and asynchronous flushes.
 *
 * @module
 */
import {
  closeSync,
  fdatasync,
  fdatasyncSync,
  fstatSync,
  ftruncateSync,
  readSync,
  writeSync,
} from "node:fs";
import { setImmediate } from "node:timers";
import { assert } from "../core/assert.ts";
import type { Bytes, DataRange, DiskFile } from "../core/ports.ts";
import { diskError } from "./disk_errors.ts";
import type { FileLock } from "./file_lock.ts";
import { type FlushPace, flushPaceOf } from "./flush_pace.ts";
import { type Libc, libc } from "./libc.ts";

/** Holes and zeroed ranges come in blocks of this size; smaller ones are written. Bytes. */
const BLOCK_BYTES = 4096;
/** Below this, writing zeroes costs less than asking the file system to keep track of them. */
const ZERO_RANGE_BYTES_MIN = 64 * 1024;
/**
 * One write of zeroes. A file system with large folios makes them as large as the write, and every
 * later small write into one walks all its blocks: 30 us instead of 3 after writes of 1 MiB.
 */
const ZERO_SLICE_BYTES = 16 * 1024;
/** Written by `preallocate` before the event loop goes on: some 0.1 ms. */
const PREALLOCATE_TURN_BYTES = 256 * 1024;
/** How much `preallocate` leaves to the page cache before it flushes, for the flushes of others. */
const PREALLOCATE_FLUSH_BYTES = 8 * 1024 * 1024;

const ZEROES = new Uint8Array(ZERO_SLICE_BYTES);

/** What {@linkcode OpenFile} is made of. */
export interface OpenedFile {
  readonly path: string;
  readonly fd: number;
  /** The capacity of a block device in bytes; null for a regular file. */
  readonly deviceBytes: number | null;
  readonly lock: FileLock | null;
  /** The number of the disk that it lies on, or is. */
  readonly device: number;
}

/** A {@linkcode DiskFile} over a descriptor of `node:fs`. */
export class OpenFile implements DiskFile {
  readonly path: string;
  readonly isDevice: boolean;
  readonly #deviceBytes: number | null;
  readonly #lock: FileLock | null;
  /** Null where the descriptor cannot be handed to the C library. */
  readonly #libc: Libc | null;
  /** -1 once closed, so that no late call can meet another file under the same number. */
  #fd: number;
  #callsRunning = 0;
  readonly #pace: FlushPace;
  #unflushedBytes = 0;
  /** The file is known to be at least this long; spares asking (8 us) on every zeroed range. */
  #sizeAtLeast = 0;
  /** Closed while a flush or a write ran aside: the last of them releases the descriptor when it ends. */
  #closing = false;

  constructor(opened: OpenedFile) {
    this.path = opened.path;
    this.isDevice = opened.deviceBytes !== null;
    this.#fd = opened.fd;
    this.#deviceBytes = opened.deviceBytes;
    this.#lock = opened.lock;
    this.#pace = flushPaceOf(opened.device);
    this.#libc = libcFor(opened.fd);
  }

  size(): number {
    if (this.#deviceBytes !== null) return this.#deviceBytes;
    try {
      return this.#sizeAtLeast = fstatSync(this.#fd).size;
    } catch (error) {
      throw diskError(error, "ask for the size", this.path);
    }
  }

  readAt(into: Uint8Array, offset: number): void {
    let done = 0;
    try {
      while (done < into.length) {
        const count = readSync(this.#fd, into, done, into.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
    } catch (error) {
      throw diskError(error, `read ${into.length - done} bytes`, this.path, offset + done);
    }
    if (done < into.length) into.fill(0, done);
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    let done = 0;
    try {
      while (done < bytes.length) {
        const count = writeSync(this.#fd, bytes, done, bytes.length - done, offset + done);
        assert(count > 0, "a write takes at least one byte");
        done += count;
      }
    } catch (error) {
      throw diskError(error, `write ${bytes.length - done} bytes`, this.path, offset + done);
    }
    if (offset + done > this.#sizeAtLeast) this.#sizeAtLeast = offset + done;
    this.#unflushedBytes += done;
  }

  async writeAside(bytes: Bytes, offset: number): Promise<void> {
    let done = 0;
    if (this.#libc !== null) {
      const fd = this.#fd;
      this.#callsRunning += 1;
      try {
        done = Math.max(0, await this.#libc.writeAside(fd, bytes, offset));
      } finally {
        this.#callsRunning -= 1;
        if (this.#closing && this.#callsRunning === 0) this.#release(fd);
      }
      if (offset + done > this.#sizeAtLeast) this.#sizeAtLeast = offset + done;
      this.#unflushedBytes += done;
    }
    // What was not taken is written the plain way, which tells why it could not be.
    if (done < bytes.length) this.writeAt(bytes.subarray(done), offset + done);
  }

  beginFlush(offset: number, length: number): void {
    this.#libc?.beginWriting(this.#fd, offset, length);
  }

  writeOut(offset: number, length: number): void {
    if (this.#libc === null) return;
    if (!this.#libc.finishWriting(this.#fd, offset, length)) {
      const error = new Error("what was written did not reach the disk");
      throw diskError(error, `write out ${length} bytes`, this.path, offset);
    }
    this.#libc.forget(this.#fd, offset, length);
  }

  forgetCached(): void {
    // To the end, however far that is.
    this.#libc?.forget(this.#fd, 0, 0);
  }

  zeroAt(offset: number, length: number, hole: boolean): void {
    // What lies past the end reads as zero already, and the size must not change.
    const asked = offset + length;
    const end = asked <= this.#sizeAtLeast ? asked : Math.min(asked, this.size());
    if (end <= offset) return;
    const first = Math.ceil(offset / BLOCK_BYTES) * BLOCK_BYTES;
    const last = Math.floor(end / BLOCK_BYTES) * BLOCK_BYTES;
    if (last <= first || !this.#zeroBlocks(first, last - first, hole)) {
      return this.#writeZeroes(offset, end);
    }
    this.#writeZeroes(offset, first);
    this.#writeZeroes(last, end);
  }

  #zeroBlocks(offset: number, length: number, hole: boolean): boolean {
    if (this.#libc === null) return false;
    if (hole) return this.#libc.punchHole(this.#fd, offset, length);
    if (length < ZERO_RANGE_BYTES_MIN) return false;
    return this.#libc.zeroRange(this.#fd, offset, length);
  }

  #writeZeroes(start: number, end: number): void {
    for (let at = start; at < end; at += ZERO_SLICE_BYTES) {
      this.writeAt(ZEROES.subarray(0, Math.min(ZERO_SLICE_BYTES, end - at)), at);
    }
  }

  truncate(size: number): void {
    try {
      ftruncateSync(this.#fd, size);
      this.#sizeAtLeast = size;
    } catch (error) {
      throw diskError(error, "set the size", this.path, size);
    }
  }

  async preallocate(size: number): Promise<void> {
    let flushedTo = 0;
    for (let at = 0; at < size;) {
      const end = Math.min(at + PREALLOCATE_TURN_BYTES, size);
      this.#writeZeroes(at, end);
      at = end;
      if (at - flushedTo >= PREALLOCATE_FLUSH_BYTES) {
        await this.flush();
        flushedTo = at;
      } else {
        await new Promise<void>((resolve) => setImmediate(resolve));
      }
    }
    await this.flush();
  }

  dataRanges(offset: number, length: number, rangesMax = Infinity): DataRange[] {
    const end = Math.min(offset + length, this.size());
    const ranges: DataRange[] = [];
    if (end <= offset) return ranges;
    if (this.#libc === null) return [{ start: offset, end }];
    let at = offset;
    while (at < end && ranges.length < rangesMax) {
      const hole = this.#libc.seekHole(this.#fd, at);
      // Every file has a hole at its end, so no answer means that it cannot tell.
      if (hole < 0) {
        ranges.push({ start: at, end });
        break;
      }
      if (hole > at) ranges.push({ start: at, end: Math.min(hole, end) });
      const data = hole >= end ? -1 : this.#libc.seekData(this.#fd, hole);
      if (data < 0) break;
      at = Math.max(data, hole);
    }
    return ranges;
  }

  async flush(): Promise<void> {
    const fd = this.#fd;
    if (fd === -1) throw diskError(new Error("the file is closed"), "flush", this.path);
    const bytes = this.#unflushedBytes;
    this.#unflushedBytes = 0;
    const waits = this.#pace.shouldWait(bytes);
    const startMs = performance.now();
    if (waits) {
      try {
        fdatasyncSync(fd);
      } catch (error) {
        throw diskError(error, "flush", this.path);
      }
    } else await this.#flushAside(fd);
    this.#pace.took(bytes, performance.now() - startMs, waits);
  }

  /** On a thread of the runtime. */
  #flushAside(fd: number): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.#callsRunning += 1;
      fdatasync(fd, (error) => {
        this.#callsRunning -= 1;
        try {
          if (this.#closing && this.#callsRunning === 0) this.#release(fd);
          if (error !== null && error !== undefined) throw diskError(error, "flush", this.path);
          resolve();
        } catch (failure) {
          reject(failure);
        }
      });
    });
  }

  /** What still runs aside keeps the descriptor, and the lock, until it has ended. */
  close(): void {
    if (this.#fd === -1) return;
    const fd = this.#fd;
    this.#fd = -1;
    if (this.#callsRunning === 0) this.#release(fd);
    else this.#closing = true;
  }

  #release(fd: number): void {
    try {
      closeSync(fd);
    } catch (error) {
      throw diskError(error, "close", this.path);
    } finally {
      this.#lock?.release();
    }
  }
}

/**
 * The C library for this descriptor. That the runtime's number is the system's is what it happens to
 * do, and a hole punched into the wrong file would be a disaster: so it is proved for each file.
 */
function libcFor(fd: number): Libc | null {
  const library = libc();
  if (library === null) return null;
  try {
    const ours = fstatSync(fd);
    const systems = library.fileOf(fd);
    return ours.dev === systems?.dev && ours.ino === systems.ino ? library : null;
  } catch {
    return null; // The plain ways remain, and tell what is wrong.
  }
}
