/**
 * The hash map of a volume, version 1: a digest of each block as it was at one LSN, `NAME` in a
 * folder of the node. Little-endian. Written to `NAME.new`, flushed, renamed: after any crash the old
 * or the new one is there in full.
 *
 *     head      4096 bytes
 *       0   magic "CSHM"          32  id of the epoch, 16 bytes
 *       4   version u32 = 1       48  seed of the digests, 32 bytes: the file is to be secret
 *       8   bytes of a block u32  80  CRC-32 u32 of the index
 *      12   sections u32          84  names of cluster, node and volume: length u16, UTF-8, each
 *      16   bytes of volume u64       zeroes
 *      24   LSN u64             4092  CRC-32 u32 of all before it
 *     sections  16,392 bytes each, of 1024 blocks
 *       0   number u32
 *       4   CRC-32 u32 of number and digests
 *       8   1024 digests of 16 bytes, see `block_digest.ts`; zeroes past the volume's end
 *     index     the number u32 of each section as they lie in the file
 *
 * A section whose blocks are all zero is left out, so a sparse volume has a small map. Sections stand
 * in any order, none twice. The CRC is that of zlib. The head is written last: without it nothing is
 * believed. Reading keeps the index in memory, 4 bytes for 4 MiB of a volume at 4 KiB a block.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { Position } from "../history.ts";
import { NAME_BYTES_MAX, VOLUME_BYTES_MAX } from "../limits.ts";
import type { Bytes, Disk, DiskFile } from "../ports.ts";
import { type DigestKey, isScanBlock, SEED_BYTES } from "./block_digest.ts";
import { type DigestSource, SECTION_DIGEST_BYTES, sectionCount } from "./digests.ts";

/** "CSHM" */
const MAGIC = 0x4d485343;
const VERSION = 1;
export const HEAD_BYTES = 4096;
const NAMES_AT = 84;
export const SECTION_HEAD_BYTES = 8;
export const SECTION_BYTES = SECTION_HEAD_BYTES + SECTION_DIGEST_BYTES;

/** Whose map it is. */
export interface MapOwner {
  readonly cluster: string;
  readonly node: string;
  readonly volume: string;
  readonly volumeBytes: number;
}

/** What the head of a map says. */
export interface MapHead {
  readonly owner: MapOwner;
  readonly key: DigestKey;
  /** The volume was so at this LSN. */
  readonly position: Position;
  readonly sections: number;
  readonly indexCrc: number;
}

assert(NAMES_AT + 3 * (2 + NAME_BYTES_MAX) <= HEAD_BYTES - 4, "the head has room for the names");

/** The head as it lies in the file. */
export function encodeHead({ owner, key, position, sections, indexCrc }: MapHead): Bytes {
  const head = new Uint8Array(HEAD_BYTES);
  const view = new DataView(head.buffer);
  view.setUint32(0, MAGIC, true);
  view.setUint32(4, VERSION, true);
  view.setUint32(8, key.blockBytes, true);
  view.setUint32(12, sections, true);
  view.setBigUint64(16, BigInt(owner.volumeBytes), true);
  view.setBigUint64(24, BigInt(position.lsn), true);
  head.set(Uint8Array.fromHex(position.epochId), 32);
  head.set(key.seed, 48);
  view.setUint32(80, indexCrc, true);
  let at = NAMES_AT;
  for (const name of [owner.cluster, owner.node, owner.volume]) {
    const bytes = new TextEncoder().encode(name);
    assert(bytes.length <= NAME_BYTES_MAX, "a name is short");
    view.setUint16(at, bytes.length, true);
    head.set(bytes, at + 2);
    at += 2 + bytes.length;
  }
  view.setUint32(HEAD_BYTES - 4, crc32(head.subarray(0, HEAD_BYTES - 4)), true);
  return head;
}

/** The inverse. Throws `state-corrupt` for anything else. */
export function decodeHead(head: Bytes): MapHead {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  expect(view.getUint32(0, true) === MAGIC, "it does not begin as one");
  const version = view.getUint32(4, true);
  expect(version === VERSION, `version ${version}, this program reads ${VERSION}`);
  const crc = crc32(head.subarray(0, HEAD_BYTES - 4));
  expect(view.getUint32(HEAD_BYTES - 4, true) === crc, "the checksum of its head does not fit");
  const blockBytes = view.getUint32(8, true);
  expect(isScanBlock(blockBytes), `a block of ${blockBytes} bytes`);
  const [volumeBytes, lsn] = [
    Number(view.getBigUint64(16, true)),
    Number(view.getBigUint64(24, true)),
  ];
  expect(volumeBytes <= VOLUME_BYTES_MAX, `a volume of ${volumeBytes} bytes`);
  expect(Number.isSafeInteger(lsn), `LSN ${lsn}`);
  const sections = view.getUint32(12, true);
  expect(sections <= sectionCount(volumeBytes, blockBytes), `${sections} sections`);
  const names: string[] = [];
  for (let at = NAMES_AT, read = 0; read < 3; read++) {
    const length = view.getUint16(at, true);
    expect(length <= NAME_BYTES_MAX, `a name of ${length} bytes`);
    names.push(new TextDecoder().decode(head.subarray(at + 2, at + 2 + length)));
    at += 2 + length;
  }
  return {
    owner: { cluster: names[0]!, node: names[1]!, volume: names[2]!, volumeBytes },
    key: { seed: head.slice(48, 48 + SEED_BYTES), blockBytes },
    position: { lsn, epochId: head.subarray(32, 48).toHex() },
    sections,
    indexCrc: view.getUint32(80, true),
  };
}

/** CRC-32 of a section: its number, then its digests. */
export function sectionCrc(section: Bytes): number {
  return crc32(section.subarray(SECTION_HEAD_BYTES), crc32(section.subarray(0, 4)));
}

/** The index as it lies in the file. */
export function encodeIndex(numbers: readonly number[]): Bytes {
  const index = new Uint8Array(4 * numbers.length);
  const view = new DataView(index.buffer);
  numbers.forEach((number, place) => view.setUint32(4 * place, number, true));
  return index;
}

/** A map that is read; open until it is closed. */
export class HashMap implements DigestSource {
  readonly #file: DiskFile;
  readonly #head: MapHead;
  /** Where the section with this number lies, counted in sections. */
  readonly #places = new Map<number, number>();
  readonly #numbers: Uint32Array;
  readonly #section = new Uint8Array(SECTION_BYTES);

  private constructor(file: DiskFile) {
    this.#file = file;
    const sizeBytes = file.size();
    const bytes = new Uint8Array(HEAD_BYTES);
    file.readAt(bytes, 0);
    const head = this.#head = decodeHead(bytes);
    const wanted = HEAD_BYTES + head.sections * (SECTION_BYTES + 4);
    expect(sizeBytes === wanted, `it has ${sizeBytes} bytes, not ${wanted}`);
    const index = new Uint8Array(4 * head.sections);
    file.readAt(index, HEAD_BYTES + head.sections * SECTION_BYTES);
    expect(crc32(index) === head.indexCrc, "the checksum of its index does not fit");
    const view = new DataView(index.buffer);
    const end = sectionCount(head.owner.volumeBytes, head.key.blockBytes);
    for (let place = 0; place < head.sections; place++) {
      const number = view.getUint32(4 * place, true);
      expect(number < end, `section ${number} of ${end}`);
      expect(!this.#places.has(number), `section ${number} twice`);
      this.#places.set(number, place);
    }
    this.#numbers = Uint32Array.from(this.#places.keys()).sort();
  }

  /**
   * Opens the map at a path; null when there is none. Throws `state-corrupt` when it is damaged and
   * `wrong-volume` when it is of another volume, or of one of another size.
   */
  static open(disk: Disk, path: string, owner: MapOwner): HashMap | null {
    if (!disk.exists(path)) return null;
    const file = disk.open(path, { readOnly: true });
    try {
      const map = placed(path, () => new HashMap(file));
      const found = JSON.stringify(ownerFields(map.#head.owner));
      const wanted = JSON.stringify(ownerFields(owner));
      if (found === wanted) return map;
      throw new CascadeError("wrong-volume", `the hash map is of ${found}, not of ${wanted}`, {
        where: { file: path },
        hint: "Remove it: the next scan compares with the peer instead",
      });
    } catch (error) {
      file.close();
      throw error;
    }
  }

  get key(): DigestKey {
    return this.#head.key;
  }

  get position(): Position {
    return this.#head.position;
  }

  /** How many sections it holds. */
  get sections(): number {
    return this.#head.sections;
  }

  next(section: number): number | null {
    let low = 0;
    let high = this.#numbers.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#numbers[middle]! < section) low = middle + 1;
      else high = middle;
    }
    return this.#numbers[low] ?? null;
  }

  read(section: number, into: Bytes): void {
    const place = this.#places.get(section);
    if (place === undefined) return void into.fill(0);
    placed(this.#file.path, () => {
      this.#file.readAt(this.#section, HEAD_BYTES + place * SECTION_BYTES);
      const view = new DataView(this.#section.buffer);
      const number = view.getUint32(0, true);
      expect(number === section, `section ${number} where ${section} should be`);
      const crc = sectionCrc(this.#section);
      expect(view.getUint32(4, true) === crc, `the checksum of section ${section} does not fit`);
    });
    into.set(this.#section.subarray(SECTION_HEAD_BYTES));
  }

  close(): void {
    this.#file.close();
  }
}

function ownerFields({ cluster, node, volume, volumeBytes }: MapOwner) {
  return { cluster, node, volume, volumeBytes };
}

function expect(condition: boolean, found: string): asserts condition {
  if (!condition) throw new CascadeError("state-corrupt", found);
}

/** Puts the file's name to what is wrong with it. */
function placed<T>(path: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    if (!(error instanceof CascadeError) || error.code !== "state-corrupt") throw error;
    throw new CascadeError("state-corrupt", `the hash map is damaged: ${error.message}`, {
      where: { file: path },
      hint:
        "Look after the disk, and remove the file: the next scan compares with the peer instead",
      cause: error,
    });
  }
}
