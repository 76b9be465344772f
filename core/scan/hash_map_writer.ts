/**
 * A hash map in the making: sections as a scan finds them, blocks that were read again since, and at
 * the end the LSN that all of it belongs to. See `hash_map.ts` for the form.
 *
 * 1. `NAME.new` takes the sections, and the head is left blank.
 * 2. Blocks whose content was read again when they were shipped replace those of the scan: the map
 *    tells what the peers have, also when the volume was written meanwhile.
 * 3. Index and head are written, the file is flushed and renamed, the folder is flushed.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { assert } from "../assert.ts";
import type { Position } from "../history.ts";
import type { Bytes, Disk, DiskFile } from "../ports.ts";
import { BlockDigester, DIGEST_BATCH_BYTES, DIGEST_BYTES, type DigestKey } from "./block_digest.ts";
import { SECTION_BLOCKS, SECTION_DIGEST_BYTES } from "./digests.ts";
import {
  encodeHead,
  encodeIndex,
  HEAD_BYTES,
  type MapOwner,
  SECTION_BYTES,
  SECTION_HEAD_BYTES,
  sectionCrc,
} from "./hash_map.ts";

/** Where a map is kept. */
export interface MapPlace {
  readonly disk: Disk;
  /** Is there. */
  readonly folder: string;
  /** Of the file within the folder. */
  readonly name: string;
}

/** One writer a map; it holds the file open until {@linkcode HashMapWriter.finish} or `discard`. */
export class HashMapWriter {
  readonly key: DigestKey;
  readonly #place: MapPlace;
  readonly #owner: MapOwner;
  readonly #file: DiskFile;
  /** Section numbers in the order of the file. */
  readonly #numbers: number[] = [];
  readonly #places = new Map<number, number>();
  /** The section that was put or read last, in the form of the file. */
  readonly #section = new Uint8Array(SECTION_BYTES);
  #held: number | null = null;
  #isChanged = false;
  #isSealed = false;
  #digester: BlockDigester | null = null;

  /** Begins a new map; what an interrupted one left behind is overwritten. */
  constructor(place: MapPlace, owner: MapOwner, key: DigestKey) {
    this.key = key;
    this.#place = place;
    this.#owner = owner;
    this.#file = place.disk.open(this.#temporary, { create: true });
    this.#file.truncate(0);
  }

  get #temporary(): string {
    return temporaryMapPath(this.#place);
  }

  /** The digests of a section, in place of any that it had. */
  put(section: number, digests: Bytes): void {
    assert(digests.length === SECTION_DIGEST_BYTES, "a section is put whole");
    this.#save();
    this.#held = section;
    this.#section.set(digests, SECTION_HEAD_BYTES);
    this.#isChanged = true;
    this.#save();
  }

  /**
   * The content of whole blocks as it was read again; the last block of the volume may be short. Best
   * in ascending order: one section is held at a time.
   */
  note(offset: number, bytes: Bytes): void {
    const { blockBytes } = this.key;
    assert(
      offset % blockBytes === 0 &&
        (bytes.length % blockBytes === 0 || offset + bytes.length === this.#owner.volumeBytes),
      "whole blocks are noted",
    );
    const digester = this.#digester ??= new BlockDigester(this.key);
    for (let done = 0; done < bytes.length; done += DIGEST_BATCH_BYTES) {
      const batch = bytes.subarray(done, done + DIGEST_BATCH_BYTES);
      digester.room.set(batch);
      this.#replace((offset + done) / blockBytes, digester.digest(batch.length));
    }
  }

  /** The content of whole blocks became zeroes: as {@linkcode HashMapWriter.note}. */
  noteZeroes(offset: number, length: number): void {
    const { blockBytes } = this.key;
    const end = offset + length;
    assert(
      offset % blockBytes === 0 && (length % blockBytes === 0 || end === this.#owner.volumeBytes),
      "whole blocks are noted",
    );
    const sectionBytes = SECTION_BLOCKS * blockBytes;
    for (let at = offset; at < end;) {
      const stop = Math.min(end, (Math.floor(at / sectionBytes) + 1) * sectionBytes);
      const blocks = Math.ceil((stop - at) / blockBytes);
      this.#replace(at / blockBytes, new Uint8Array(blocks * DIGEST_BYTES));
      at = stop;
    }
  }

  #replace(firstBlock: number, digests: Bytes): void {
    for (let done = 0; done < digests.length;) {
      const block = firstBlock + done / DIGEST_BYTES;
      const start = block % SECTION_BLOCKS * DIGEST_BYTES;
      const bytes = Math.min(digests.length - done, SECTION_DIGEST_BYTES - start);
      this.#hold(Math.floor(block / SECTION_BLOCKS));
      this.#section.set(digests.subarray(done, done + bytes), SECTION_HEAD_BYTES + start);
      this.#isChanged = true;
      done += bytes;
    }
  }

  /** Brings a section into memory. */
  #hold(section: number): void {
    if (this.#held === section) return;
    this.#save();
    const place = this.#places.get(section);
    if (place === undefined) this.#section.fill(0);
    else this.#file.readAt(this.#section, HEAD_BYTES + place * SECTION_BYTES);
    this.#held = section;
  }

  /** Writes the section that is held, if it differs from what the file has. */
  #save(): void {
    if (!this.#isChanged) return;
    const section = this.#held;
    assert(section !== null, "what has changed is held");
    let place = this.#places.get(section);
    if (place === undefined) {
      place = this.#numbers.length;
      this.#numbers.push(section);
      this.#places.set(section, place);
    }
    const view = new DataView(this.#section.buffer);
    view.setUint32(0, section, true);
    view.setUint32(4, sectionCrc(this.#section), true);
    this.#file.writeAt(this.#section, HEAD_BYTES + place * SECTION_BYTES);
    this.#isChanged = false;
  }

  /** The map is that of this position, durably, and takes the place of the one before. */
  async finish(position: Position): Promise<void> {
    await this.seal(position);
    await keepMap(this.#place);
  }

  /** The map is whole, durably, under its temporary name: see {@linkcode keepMap}. */
  async seal(position: Position): Promise<void> {
    this.#save();
    const index = encodeIndex(this.#numbers);
    try {
      this.#file.writeAt(index, HEAD_BYTES + this.#numbers.length * SECTION_BYTES);
      const [sections, indexCrc] = [this.#numbers.length, crc32(index)];
      const [owner, key] = [this.#owner, this.key];
      this.#file.writeAt(encodeHead({ owner, key, position, sections, indexCrc }), 0);
      await this.#file.flush();
      // Its name is durable before anything depends on it.
      await this.#place.disk.flushFolder(this.#place.folder);
    } finally {
      this.#isSealed = true;
      this.#file.close();
    }
  }

  /** Gives it up; the map before stays. */
  discard(): void {
    if (!this.#isSealed) this.#file.close();
    this.#isSealed = true;
    if (this.#place.disk.exists(this.#temporary)) this.#place.disk.remove(this.#temporary);
  }
}

/** Where a map is made. */
export function temporaryMapPath({ folder, name }: Pick<MapPlace, "folder" | "name">): string {
  return `${folder}/${name}.new`;
}

/** A map that was sealed takes the place of the one before, durably. */
export async function keepMap(place: MapPlace): Promise<void> {
  const { disk, folder, name } = place;
  disk.rename(temporaryMapPath(place), `${folder}/${name}`);
  await disk.flushFolder(folder);
}
