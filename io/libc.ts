/**
 * The few calls of the C library that the runtime does not offer: punching holes, zeroing ranges,
 * finding data, keeping the disk busy, and claiming a block device. Linux only, and all of it optional: without it (another
 * system, no permission for FFI, a file system that cannot) zeroes are written and everything counts as data.
 *
 * No call here looks at `errno`: between two FFI calls the runtime may make system calls of its own.
 * A failure only ever means "do it the plain way", and the plain way reports the real error.
 *
 * Figures are those of the kernel's interface (`linux/falloc.h`, `lseek(2)`, `open(2)`), the same on
 * x86-64 and arm64.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import type { Bytes } from "../core/ports.ts";
import { openLibc } from "./libc_path.ts";

const FALLOC_FL_KEEP_SIZE = 0x01;
const FALLOC_FL_PUNCH_HOLE = 0x02;
const FALLOC_FL_ZERO_RANGE = 0x10;
const SYNC_FILE_RANGE_WRITE = 2;
/** With waiting for what is on its way before, and for all of it after. */
const SYNC_FILE_RANGE_ALL = 1 | 2 | 4;
const POSIX_FADV_DONTNEED = 4;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const O_EXCL = 0o200;
const O_CLOEXEC = 0o2000000;
const AT_EMPTY_PATH = 0x1000;
const STATX_INO = 0x100;
/** `struct statx` is the same on all processors; so much is its whole length. */
const STATX_BYTES = 256;
const KERNEL_FILE_PIECE_BYTES = 64 * 1024;
/** A table of locks has some 60 characters a lock. */
const KERNEL_FILE_LENGTH_MAX = 64 * 1024 * 1024;

const SYMBOLS = {
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  sync_file_range: { parameters: ["i32", "i64", "i64", "u32"], result: "i32" },
  posix_fadvise: { parameters: ["i32", "i64", "i64", "i32"], result: "i32" },
  pwrite: { parameters: ["i32", "buffer", "usize", "i64"], result: "isize", nonblocking: true },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  open: { parameters: ["buffer", "i32"], result: "i32" },
  statx: { parameters: ["i32", "buffer", "i32", "u32", "buffer"], result: "i32" },
  read: { parameters: ["i32", "buffer", "usize"], result: "isize" },
  close: { parameters: ["i32"], result: "i32" },
} as const;

type Library = Deno.DynamicLibrary<typeof SYMBOLS>;

/** The calls, over real file descriptors of this process. Offsets and lengths are bytes. */
export class Libc {
  readonly #library: Library;

  constructor(library: Library) {
    this.#library = library;
  }

  /** Makes a range read as zero and gives its room back. False: not done. */
  punchHole(fd: number, offset: number, length: number): boolean {
    const mode = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
    return this.#library.symbols.fallocate(fd, mode, BigInt(offset), BigInt(length)) === 0;
  }

  /** Makes a range read as zero and keeps its room. False: not done. */
  zeroRange(fd: number, offset: number, length: number): boolean {
    const mode = FALLOC_FL_ZERO_RANGE | FALLOC_FL_KEEP_SIZE;
    return this.#library.symbols.fallocate(fd, mode, BigInt(offset), BigInt(length)) === 0;
  }

  /** Begins to write what is dirty there, and takes no error: a flush still tells of any. */
  beginWriting(fd: number, offset: number, length: number): void {
    const { sync_file_range } = this.#library.symbols;
    sync_file_range(fd, BigInt(offset), BigInt(length), SYNC_FILE_RANGE_WRITE);
  }

  /** Waits until the disk has what is dirty there. False: it failed, and no flush tells of that any more. */
  finishWriting(fd: number, offset: number, length: number): boolean {
    const { sync_file_range } = this.#library.symbols;
    return sync_file_range(fd, BigInt(offset), BigInt(length), SYNC_FILE_RANGE_ALL) === 0;
  }

  /** Writes on a thread of the runtime; the bytes that it took, or less than 0. They are not to change meanwhile. */
  async writeAside(fd: number, bytes: Bytes, offset: number): Promise<number> {
    const { pwrite } = this.#library.symbols;
    return Number(await pwrite(fd, bytes, BigInt(bytes.length), BigInt(offset)));
  }

  /** Lets the page cache forget what is clean there. */
  forget(fd: number, offset: number, length: number): void {
    this.#library.symbols.posix_fadvise(fd, BigInt(offset), BigInt(length), POSIX_FADV_DONTNEED);
  }

  /** Where data next begins, at `offset` or after it; -1: nowhere, or it cannot tell. */
  seekData(fd: number, offset: number): number {
    return Number(this.#library.symbols.lseek(fd, BigInt(offset), SEEK_DATA));
  }

  /** Where a hole next begins, the end of the file counting as one; -1: it cannot tell. */
  seekHole(fd: number, offset: number): number {
    return Number(this.#library.symbols.lseek(fd, BigInt(offset), SEEK_HOLE));
  }

  /**
   * Opens a block device exclusively: the kernel grants that to one holder at a time, and mounts,
   * RAID and LVM hold it too. Returns a descriptor for {@linkcode close}; -1: somebody has it.
   */
  claimDevice(path: string): number {
    return this.#library.symbols.open(new TextEncoder().encode(path + "\0"), O_EXCL | O_CLOEXEC);
  }

  /** Which file a descriptor is of; null: of none. The numbers are those of `stat`. */
  fileOf(fd: number): { readonly dev: number; readonly ino: number } | null {
    const bytes = new Uint8Array(STATX_BYTES);
    const { statx } = this.#library.symbols;
    if (statx(fd, new Uint8Array(1), AT_EMPTY_PATH, STATX_INO, bytes) !== 0) return null;
    const view = new DataView(bytes.buffer);
    const ino = Number(view.getBigUint64(32, true));
    const [major, minor] = [view.getUint32(136, true), view.getUint32(140, true)];
    // As the C library packs them; the upper half of large numbers does not occur on Linux.
    const dev = ((minor & 0xff) | (major << 8) | ((minor & ~0xff) << 12)) >>> 0;
    return { dev, ino };
  }

  /**
   * The text of a small file of the kernel's, such as `/proc/locks`, or null: the runtime opens those only for
   * a program that may do everything.
   */
  readKernelFile(path: string): string | null {
    const { open, read, close } = this.#library.symbols;
    const fd = open(new TextEncoder().encode(path + "\0"), O_CLOEXEC);
    if (fd < 0) return null;
    const decoder = new TextDecoder();
    const piece = new Uint8Array(KERNEL_FILE_PIECE_BYTES);
    let text = "";
    try {
      while (text.length < KERNEL_FILE_LENGTH_MAX) {
        const count = Number(read(fd, piece, BigInt(piece.length)));
        if (count < 0) return null;
        if (count === 0) return text;
        text += decoder.decode(piece.subarray(0, count), { stream: true });
      }
      return null; // Half of a table would look like one in which the rest does not stand.
    } finally {
      close(fd);
    }
  }

  close(fd: number): void {
    this.#library.symbols.close(fd);
  }
}

/**
 * The text of a small file of the kernel's, with the runtime's own means or the C library's. Throws what
 * the runtime threw when neither can.
 */
export function readKernelFile(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    const text = error instanceof Deno.errors.NotCapable ? libc()?.readKernelFile(path) : null;
    if (typeof text === "string") return text;
    throw error;
  }
}

let loaded: Libc | null | undefined;

/** The C library, or null where it cannot be used. Asks for no permission; loads once. */
export function libc(): Libc | null {
  loaded ??= load();
  return loaded;
}

function load(): Libc | null {
  const library = openLibc(SYMBOLS);
  return library === null ? null : new Libc(library);
}
