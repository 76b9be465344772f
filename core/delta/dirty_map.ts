/**
 * The dirty map of one link: the blocks that its peer lacks of the log that was dropped, and its file.
 *
 *     "CSDM", version u32 = 1, from-LSN u64, fold-LSN u64, id of the epoch that the from-LSN lies in
 *     (16 bytes), CRC-32 u32 of these 40 bytes, then the serial form of the set (`block_set_format.ts`)
 *
 * The peer had everything below the from-LSN; the set covers all that was touched in [from, fold). A log
 * segment may be dropped once a map that reaches past it is saved: so fold, save, and only then drop.
 * A save writes a second file, flushes it, renames it over the first and flushes the folder: after any
 * crash the old map or the new one is there in full, and the old one still has its log.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { crc32 } from "node:zlib";
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { Bytes, Clock, Disk, DiskFile } from "../ports.ts";
import type { BlockSet } from "./block_set.ts";
import { decodeBlockSet, encodeBlockSet } from "./block_set_format.ts";

/** "CSDM" */
const MAGIC = 0x4d445343;
const VERSION = 1;
const HEAD_BYTES = 44;
const CRC_AT = 40;
/** Written in one go: the event loop goes on between. */
const SLICE_BYTES = 1024 * 1024;

/** See the module's text. */
export class DirtyMap {
  readonly set: BlockSet;
  /** Id of the epoch that the from-LSN lies in. */
  readonly epochId: string;
  /** What the peer had. */
  readonly fromLsn: number;
  #foldLsn: number;

  constructor(set: BlockSet, epochId: string, fromLsn: number, foldLsn: number = fromLsn) {
    assert(fromLsn <= foldLsn, "a map covers a range of the log");
    this.set = set;
    this.epochId = epochId;
    this.fromLsn = fromLsn;
    this.#foldLsn = foldLsn;
  }

  /** Up to where all that was touched is in the set. */
  get foldLsn(): number {
    return this.#foldLsn;
  }

  /** All that was touched below `lsn` is in the set now. */
  advance(lsn: number): void {
    assert(lsn >= this.#foldLsn, "a map only grows");
    this.#foldLsn = lsn;
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
    if (view.getUint32(CRC_AT, true) !== crc32(head.subarray(0, CRC_AT))) {
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
    const epochId = Buffer.from(head.subarray(24, CRC_AT)).toString("hex");
    return new DirtyMap(set, epochId, fromLsn, foldLsn);
  }

  /** Replaces the map, durably. Nothing may be folded in until this settles. */
  async save(map: DirtyMap, clock: Clock): Promise<void> {
    const temporary = `${this.#path}.new`;
    const file = this.#disk.open(temporary, { create: true });
    try {
      file.truncate(0);
      file.writeAt(encodeHead(map), 0);
      let at = HEAD_BYTES;
      let sliceAt = at;
      for (const piece of encodeBlockSet(map.set)) {
        file.writeAt(piece, at);
        at += piece.length;
        if (at - sliceAt < SLICE_BYTES) continue;
        sliceAt = at;
        await new Promise<void>((go) => clock.soon(go));
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
  head.set(Buffer.from(map.epochId, "hex"), 24);
  view.setUint32(CRC_AT, crc32(head.subarray(0, CRC_AT)), true);
  return head;
}

function damage(found: string): CascadeError {
  return new CascadeError("state-corrupt", found);
}
