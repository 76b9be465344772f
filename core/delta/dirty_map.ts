/**
 * The dirty map of one link: the blocks that its peer lacks of the log that was dropped, and its file.
 *
 *     "CSDM", version u32 = 1, from-LSN u64, fold-LSN u64, CRC-32 u32 of these 24 bytes,
 *     then the serial form of the set (`block_set_format.ts`)
 *
 * The peer had everything below the from-LSN; the set covers all records in [from, fold). A log
 * segment may be dropped once a map that reaches past it is saved: so fold, save, and only then drop.
 * A save writes a second file, flushes it, renames it over the first and flushes the folder: after any
 * crash the old map or the new one is there in full, and the old one still has its log.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { RECOVERY_READ_BYTES } from "../limits.ts";
import { RecordReader, RecordType } from "../log/record.ts";
import type { Bytes, Clock, Disk, DiskFile } from "../ports.ts";
import type { BlockSet } from "./block_set.ts";
import { decodeBlockSet, encodeBlockSet } from "./block_set_format.ts";

/** "CSDM" */
const MAGIC = 0x4d445343;
const VERSION = 1;
const HEAD_BYTES = 28;

/** What folding reads: whole, checked records. `Log` is one. */
export interface RecordSource {
  read(lsn: number, into: Uint8Array, limitLsn: number): number;
}

/** See the module's text. */
export class DirtyMap {
  readonly set: BlockSet;
  #fromLsn: number;
  #foldLsn: number;

  constructor(set: BlockSet, fromLsn: number, foldLsn: number = fromLsn) {
    assert(fromLsn <= foldLsn, "a map covers a range of the log");
    this.set = set;
    this.#fromLsn = fromLsn;
    this.#foldLsn = foldLsn;
  }

  /** What the peer had. */
  get fromLsn(): number {
    return this.#fromLsn;
  }

  /** Up to where the log was folded in. */
  get foldLsn(): number {
    return this.#foldLsn;
  }

  /**
   * Folds the log from the fold-LSN up to `toLsn`, where a record ends, slice by slice; the event
   * loop goes on between. When it throws, what was folded counts and the rest does not: call again.
   * Throws what reading the log throws.
   */
  async fold(log: RecordSource, toLsn: number, clock: Clock): Promise<void> {
    const slice = new Uint8Array(RECOVERY_READ_BYTES);
    const record = new RecordReader();
    while (this.#foldLsn < toLsn) {
      const bytes = log.read(this.#foldLsn, slice, toLsn);
      assert(bytes > 0, "a slice holds any record, and a fold ends where one ends");
      for (let at = 0; at < bytes; at += record.totalBytes) {
        const { type, volume, offset, length } = record.at(slice, at);
        if (type === RecordType.MARK || type === RecordType.EPOCH) continue;
        this.set.add(volume, offset, length);
      }
      this.#foldLsn += bytes;
      await new Promise<void>((go) => clock.soon(go));
    }
  }

  /** Takes another map of the same link in, whose range overlaps or touches this one's. */
  merge(other: DirtyMap): void {
    assert(
      other.fromLsn <= this.#foldLsn && this.#fromLsn <= other.foldLsn,
      "maps that are merged leave no gap in the log",
    );
    this.set.addAll(other.set);
    this.#fromLsn = Math.min(this.#fromLsn, other.fromLsn);
    this.#foldLsn = Math.max(this.#foldLsn, other.foldLsn);
  }
}

/** Reads and replaces the file of one link's map. One call at a time. */
export class DirtyMapFile {
  readonly #disk: Disk;
  readonly #folder: string;
  readonly #path: string;

  /** `name` is that of the file within `folder`, which is there. */
  constructor(disk: Disk, folder: string, name: string) {
    this.#disk = disk;
    this.#folder = folder;
    this.#path = `${folder}/${name}`;
  }

  /** The map, or null when there is none. Throws `state-corrupt`, naming file and damage. */
  load(sizes: readonly number[]): DirtyMap | null {
    if (!this.#disk.exists(this.#path)) return null;
    const file = this.#disk.open(this.#path, { readOnly: true });
    try {
      return this.#read(file, sizes);
    } catch (error) {
      if (!(error instanceof CascadeError) || error.code !== "state-corrupt") throw error;
      throw new CascadeError("state-corrupt", `the dirty map is damaged: ${error.message}`, {
        where: { ...error.where, file: this.#path },
        hint: "Look after the disk; the peer of this link needs all blocks again",
        cause: error,
      });
    } finally {
      file.close();
    }
  }

  #read(file: DiskFile, sizes: readonly number[]): DirtyMap {
    const sizeBytes = file.size();
    if (sizeBytes < HEAD_BYTES) throw damage(`it has ${sizeBytes} bytes`);
    const head = new Uint8Array(HEAD_BYTES);
    file.readAt(head, 0);
    const view = new DataView(head.buffer);
    if (view.getUint32(0, true) !== MAGIC) throw damage("it does not begin as one");
    const version = view.getUint32(4, true);
    if (version !== VERSION) throw damage(`version ${version}, this program reads ${VERSION}`);
    if (view.getUint32(24, true) !== crc32(head.subarray(0, 24))) {
      throw damage("the checksum of its head does not fit");
    }
    const [fromLsn, foldLsn] = [view.getBigUint64(8, true), view.getBigUint64(16, true)].map(
      Number,
    );
    if (fromLsn === undefined || foldLsn === undefined || fromLsn > foldLsn) {
      throw damage(`it covers LSN ${fromLsn} to ${foldLsn}`);
    }
    const set = decodeBlockSet({
      sizeBytes: sizeBytes - HEAD_BYTES,
      readAt: (into, offset) => file.readAt(into, HEAD_BYTES + offset),
    }, sizes);
    return new DirtyMap(set, fromLsn, foldLsn);
  }

  /** Replaces the map, durably. Nothing may be folded in until this settles. */
  async save(map: DirtyMap): Promise<void> {
    const temporary = `${this.#path}.new`;
    const file = this.#disk.open(temporary, { create: true });
    try {
      file.truncate(0);
      file.writeAt(encodeHead(map), 0);
      let at = HEAD_BYTES;
      for (const piece of encodeBlockSet(map.set)) {
        file.writeAt(piece, at);
        at += piece.length;
      }
      await file.flush();
    } finally {
      file.close();
    }
    this.#disk.rename(temporary, this.#path);
    await this.#disk.flushFolder(this.#folder);
  }

  /** The peer has caught up: there is no map any more, durably. */
  async clear(): Promise<void> {
    if (!this.#disk.exists(this.#path)) return;
    this.#disk.remove(this.#path);
    await this.#disk.flushFolder(this.#folder);
  }
}

function encodeHead(map: DirtyMap): Bytes {
  const head = new Uint8Array(HEAD_BYTES);
  const view = new DataView(head.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setBigUint64(8, BigInt(map.fromLsn), true);
  view.setBigUint64(16, BigInt(map.foldLsn), true);
  view.setUint32(24, crc32(head.subarray(0, 24)), true);
  return head;
}

function damage(found: string): CascadeError {
  return new CascadeError("state-corrupt", found);
}
