/**
 * All that `core/` may ask of the world: disk, network, clock, random and a log line.
 *
 * `io/` implements these on Deno, `tests/sim/` in memory, in virtual time, with faults. Nothing
 * under `core/` reaches the world in any other way, so that a whole cascade replays from one seed.
 *
 * Units: offsets, lengths and sizes are bytes, times are milliseconds.
 *
 * @module
 */

import type { OpenHasher } from "./scan/hasher.ts";
import type { FileOutcome } from "./tree/file_report.ts";
import type { View } from "./tree/view.ts";

/** A byte buffer that core reads from or writes to; never a view over shared memory. */
export type Bytes = Uint8Array<ArrayBuffer>;

/** A range of a file that holds data (not a hole), `start` inclusive, `end` exclusive. */
export interface DataRange {
  readonly start: number;
  readonly end: number;
}

/**
 * One open file or block device.
 *
 * Reads and writes are positioned and synchronous (they meet the page cache); a flush is
 * asynchronous, since it waits for the device. Failures throw a {@linkcode CascadeError} with code
 * `disk-full` (no room: nothing of the write may be assumed) or `disk-failed` (anything else).
 */
export interface DiskFile {
  readonly path: string;
  /** Whether it is a block device (its size is fixed). */
  readonly isDevice: boolean;
  /** Current size in bytes; of a device, its capacity. */
  size(): number;
  /** Fills `into` from `offset`; bytes past the end of the file read as zero. */
  readAt(into: Uint8Array, offset: number): void;
  /** Writes all of `bytes` at `offset`; grows a regular file when it lies past the end. */
  writeAt(bytes: Uint8Array, offset: number): void;
  /**
   * The same beside what this thread does: settles when it is done. Several may be under way, of different ranges; `bytes` stay
   * as they are until then. Only worth it for many bytes. Left out where all is done by one thread.
   */
  writeAside?(bytes: Bytes, offset: number): Promise<void>;
  /**
   * Lets the disk begin with what was written there, for a flush that is to come; does not wait. Left out
   * where it would change nothing.
   */
  beginFlush?(offset: number, length: number): void;
  /**
   * Waits until the disk has taken what was written there, and lets the page cache forget it; not a flush.
   * Only for ranges that {@linkcode beginFlush} was called for. Left out like that.
   */
  writeOut?(offset: number, length: number): void;
  /**
   * Lets the page cache forget what is clean of the file. Left out where it would change nothing.
   */
  forgetCached?(): void;
  /**
   * Makes [offset, offset + length) read as zero. With `hole` it gives the room back where the
   * system can, else it writes zeroes. Never changes the size of the file.
   */
  zeroAt(offset: number, length: number, hole: boolean): void;
  /** Sets the size of a regular file; what is added is a hole. */
  truncate(size: number): void;
  /**
   * Gives [0, size) real room on the disk with zeroes written to it (not just reserved: a flush of
   * written blocks is three times as fast). Works in slices, so that the event loop goes on.
   */
  preallocate(size: number): Promise<void>;
  /**
   * The data ranges within [offset, offset + length), in order; one range if it cannot tell. At most
   * `rangesMax` (all, when it is left out): when there are as many, what lies past the last is not
   * told, and the caller asks again from its end.
   */
  dataRanges(offset: number, length: number, rangesMax?: number): DataRange[];
  /**
   * Flushes data and size to stable storage (fdatasync). Flushes of one file never overlap: the
   * caller sees to that. A failed flush is fatal to the node and is never tried again.
   */
  flush(): Promise<void>;
  close(): void;
}

/** Files by path. Folder names are created by `makeFolder` only. */
export interface Disk {
  /**
   * Opens a file. `create` makes it when it is not there. `lock` takes an exclusive lock for as
   * long as the file is open, or throws `locked` (with the holder's pid in the hint if it is known).
   */
  open(
    path: string,
    options?: { create?: boolean; readOnly?: boolean; lock?: boolean },
  ): DiskFile;
  exists(path: string): boolean;
  /** The names (not paths) in a folder, sorted. */
  list(folder: string): string[];
  makeFolder(path: string): void;
  remove(path: string): void;
  /** Replaces `to` by `from`, atomically. Durable only after {@linkcode Disk.flushFolder}. */
  rename(from: string, to: string): void;
  /** Makes new names, renames and removals in a folder durable. */
  flushFolder(path: string): Promise<void>;
}

/** One two-way stream of bytes. */
export interface Connection {
  /** The other end, for messages only. */
  readonly remote: string;
  /** What carries it, for the status: `tcp`, `unix`, `tls`, `quic`, `exec`. */
  readonly transport: string;
  /**
   * What only the two ends of this very connection know, the same at both: a proof is bound to it, so that
   * nobody in between can pass it on. Null: the transport has none.
   */
  readonly channelBinding: Bytes | null;
  /** The names of nodes that the peer's checked certificate is for; null: it was not asked for one. */
  readonly certifiedNames: readonly string[] | null;
  /**
   * Says `lastWords` in plain, and goes on as TLS; this connection is of no use then, and the one that is given is.
   * No read or write may be under way. Throws `protocol` when the peer has sent what was not read yet: that came in
   * plain, and nobody may take it for protected; `refused` when the peer is not believed. Left out: it cannot.
   */
  startTls?(lastWords: Bytes): Promise<Connection>;
  /**
   * Reads at least one byte into `into` and returns how many, or null at the end of the stream.
   * One read at a time. Throws `connection-lost` when the connection broke or was closed here.
   */
  read(into: Bytes): Promise<number | null>;
  /**
   * Writes all of `bytes`; the caller leaves them unchanged until it settles. One write at a time.
   */
  write(bytes: Bytes): Promise<void>;
  /** Closes both directions; safe to call again. Pending reads and writes fail. */
  close(): void;
}

/** A listening address. */
export interface Listener {
  /** The address in full, with the real port when 0 was asked for. */
  readonly address: string;
  close(): void;
}

/** Streams by address: `tcp://host:port`, `tls://host:port`, `quic://host:port`, `unix:/path`. */
export interface Network {
  /**
   * Connects; `to` is the node that is expected there, for transports that check certificates by name. Throws
   * `unreachable` (retryable) when nobody answers, `refused` when nobody answers who is believed.
   */
  dial(address: string, to?: string): Promise<Connection>;
  /**
   * Throws `address-in-use` or `bad-address`. With `startsTls`, connections begin in plain and have
   * {@linkcode Connection.startTls}: `bad-address` where that is not to be had.
   */
  listen(
    address: string,
    accept: (connection: Connection) => void,
    startsTls?: boolean,
  ): Promise<Listener>;
}

/** A running timer. */
export interface Timer {
  /** Safe to call again, and after it fired. */
  cancel(): void;
}

/** Time. */
export interface Clock {
  /** Wall clock, ms since 1970. May jump. */
  nowMs(): number;
  /** Never goes back; for spans of time. Fractions allowed. */
  monotonicMs(): number;
  /** Calls once, `delayMs` from now. */
  after(delayMs: number, call: () => void): Timer;
  /**
   * Calls once, after the I/O events that are ready now have been looked at: a turn of the event
   * loop later (`setImmediate`), not a microtask. Work in slices yields with it.
   */
  soon(call: () => void): void;
}

/** Randomness. */
export interface Random {
  /** `count` fresh bytes; cryptographically strong outside of the simulator. */
  bytes(count: number): Bytes;
  /** A number in [0, 1), for jitter. */
  fraction(): number;
}

/** Levels of what a node tells of itself. */
export type LogLevel = "debug" | "info" | "warn" | "error";

/** Where a node's own messages go: structured, one event a line. Never holds secrets or payload. */
export interface Journal {
  write(level: LogLevel, message: string, fields?: Record<string, string | number | boolean>): void;
}

/** What a command is told beside its arguments, and when it is not wanted any more. */
export interface HookOptions {
  /** Variables of its environment. */
  readonly env?: Readonly<Record<string, string>>;
  /** It is killed when this settles, and has failed for the reason that it settles with. */
  readonly cancelled?: Promise<string>;
}

/** Commands of the operator, run at certain moments. */
export interface Hooks {
  /**
   * Runs a command, and waits for it; `name` is that of the hook. Returns the lines that it printed,
   * less the empty ones. Throws `hook-failed` with what it said, also when it was killed since it had not
   * ended in time.
   */
  run(
    name: string,
    command: readonly string[],
    timeoutMs: number,
    more?: HookOptions,
  ): Promise<readonly string[]>;
}

/** Compresses with zstd at a level, elsewhere than in this thread; `bytes` can be used again at once. */
export type Compress = (bytes: Bytes, level: number) => Promise<Bytes>;

/** The topology file that a node was started with: no other, and never by a path that came over a line. */
export interface TopologyKeeper {
  /**
   * Writes the roles and links of a view into it. Never rejects: what is in the way is in the outcome. Asked again
   * with the same `id`, since the answer was lost, it tells what it did then.
   */
  write(view: View, id: string): Promise<FileOutcome>;
}

/** The world, as core sees it. */
export interface Ports {
  readonly disk: Disk;
  readonly network: Network;
  readonly clock: Clock;
  readonly random: Random;
  readonly journal: Journal;
  readonly hooks: Hooks;
  /** How volumes are hashed: on all cores. Left out: in this thread. */
  readonly openHasher?: OpenHasher;
  /** How large batches are compressed: beside this thread. Left out: in it. */
  readonly compress?: Compress;
  /** Left out: the node runs on no file. */
  readonly topologyKeeper?: TopologyKeeper;
}
