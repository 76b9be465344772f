/**
 * The serial form of a block set, version 1. Little-endian.
 *
 *     set      "CSBS", version u32 = 1, bytes of a block u32, volumes u32,
 *              then per volume: bytes u64, leaves u32, and its leaves; at the end CRC-32 u32 (as in
 *              zlib) of all before it
 *     leaf     number u32, kind u8, then by kind
 *       1 full   nothing: all blocks
 *       2 list   how many u16, then each block's number within the leaf u16, ascending
 *       3 bits   4096 bytes, the lowest bit of the first byte is the first block
 *
 * A leaf covers 32,768 blocks; they stand in order, none is empty. Full where all blocks are in it,
 * else a list up to 1024 blocks, else bits: one set has one form. Written and read leaf by leaf.
 *
 * The reader names the volumes that it expects and refuses others before it believes any leaf, so
 * whatever the bytes say, it takes no more memory than a set of those volumes can.
 *
 * @module
 */
import { crc32 } from "node:zlib";
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import type { Bytes } from "../ports.ts";
import { type BlockLeaf, LEAF_BLOCKS, LEAF_BYTES } from "./block_leaf.ts";
import { BLOCK_BYTES_MAX, BLOCK_BYTES_MIN, BlockSet } from "./block_set.ts";

/** "CSBS" */
const MAGIC = 0x53425343;
const VERSION = 1;
const LIST_BLOCKS_MAX = 1024;
const LEAF_HEAD_BYTES = 5;
const Kind = { FULL: 1, LIST: 2, BITS: 3 } as const;

/** Where a serial form is read from: a part of a file, or memory. */
export interface ByteSource {
  readonly sizeBytes: number;
  /** Fills `into` from `offset`; never asked for more than there is. */
  readAt(into: Uint8Array, offset: number): void;
}

/** Bytes in memory as a source. */
export function sourceOf(bytes: Uint8Array): ByteSource {
  return {
    sizeBytes: bytes.length,
    readAt: (into, offset) => into.set(bytes.subarray(offset, offset + into.length)),
  };
}

/** The serial form in pieces of at most a leaf; the set must not change meanwhile. */
export function* encodeBlockSet(set: BlockSet): Generator<Bytes> {
  let crc = 0;
  for (const piece of pieces(set)) {
    crc = crc32(piece, crc);
    yield piece;
  }
  const end = new Uint8Array(4);
  new DataView(end.buffer).setUint32(0, crc, true);
  yield end;
}

function* pieces(set: BlockSet): Generator<Bytes> {
  yield words([MAGIC, VERSION, set.blockBytes, set.sizes.length]);
  for (const [volume, size] of set.sizes.entries()) {
    yield words([size % 2 ** 32, Math.floor(size / 2 ** 32), set.leafCount(volume)]);
    for (const { index, leaf } of set.leaves(volume)) yield encodeLeaf(index, leaf);
  }
}

function words(values: readonly number[]): Bytes {
  const bytes = new Uint8Array(values.length * 4);
  const view = new DataView(bytes.buffer);
  values.forEach((value, place) => view.setUint32(place * 4, value, true));
  return bytes;
}

function encodeLeaf(index: number, leaf: BlockLeaf): Bytes {
  const kind = kindOf(leaf);
  const body = kind === Kind.FULL ? 0 : kind === Kind.LIST ? 2 + 2 * leaf.count : LEAF_BYTES;
  const bytes = new Uint8Array(LEAF_HEAD_BYTES + body);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, index, true);
  bytes[4] = kind;
  if (kind === Kind.FULL) return bytes;
  if (kind === Kind.LIST) view.setUint16(LEAF_HEAD_BYTES, leaf.count, true);
  let at = LEAF_HEAD_BYTES + 2;
  for (let block = leaf.find(0, true); block < leaf.capacity; block = leaf.find(block + 1, true)) {
    if (kind === Kind.BITS) bytes[LEAF_HEAD_BYTES + (block >>> 3)]! |= 1 << (block & 7);
    else view.setUint16(at, block, true);
    at += 2;
  }
  return bytes;
}

function kindOf(leaf: BlockLeaf): number {
  if (leaf.isFull) return Kind.FULL;
  return leaf.count <= LIST_BLOCKS_MAX ? Kind.LIST : Kind.BITS;
}

/**
 * Reads a set of volumes of these sizes from the whole of `source`. Throws `state-corrupt`, naming
 * the byte, when it is anything else than what {@linkcode encodeBlockSet} writes for them.
 */
export function decodeBlockSet(source: ByteSource, sizes: readonly number[]): BlockSet {
  const cursor: Cursor = new Cursor(source);
  cursor.expect(cursor.u32() === MAGIC, "it does not begin as a set of blocks");
  const version = cursor.u32();
  cursor.expect(version === VERSION, `it has version ${version}, this program reads ${VERSION}`);
  const blockBytes = cursor.u32();
  cursor.expect(
    blockBytes >= BLOCK_BYTES_MIN && blockBytes <= BLOCK_BYTES_MAX &&
      (blockBytes & (blockBytes - 1)) === 0,
    `a block of ${blockBytes} bytes`,
  );
  const volumes = cursor.u32();
  cursor.expect(volumes === sizes.length, `${volumes} volumes, not ${sizes.length}`);
  const set = new BlockSet(sizes, blockBytes);
  for (const [volume, size] of sizes.entries()) {
    const found = cursor.u32() + cursor.u32() * 2 ** 32;
    cursor.expect(found === size, `volume ${volume} has ${found} bytes, not ${size}`);
    const leaves = cursor.u32();
    for (let read = 0, before = -1; read < leaves; read++) {
      before = decodeLeaf(cursor, set, volume, before);
    }
  }
  const crc = cursor.crc;
  cursor.expect(cursor.u32() === crc, "its checksum does not fit");
  cursor.expect(cursor.offset === source.sizeBytes, "something stands behind it");
  return set;
}

/** Reads one leaf into the set; returns its number. */
function decodeLeaf(cursor: Cursor, set: BlockSet, volume: number, before: number): number {
  const index = cursor.u32();
  cursor.expect(index > before, "leaves out of order");
  const capacity = set.leafCapacity(volume, index);
  cursor.expect(capacity > 0, `leaf ${index} lies past the end of volume ${volume}`);
  const kind = cursor.bytes(1)[0];
  let count = 0;
  const base = index * LEAF_BLOCKS;
  const add = (start: number, end: number) => {
    cursor.expect(end <= capacity, "a block lies past the end of its volume");
    const from = (base + start) * set.blockBytes;
    const to = Math.min(set.sizes[volume]!, (base + end) * set.blockBytes);
    set.add(volume, from, to - from);
    count += end - start;
  };
  if (kind === Kind.FULL) add(0, capacity);
  else if (kind === Kind.LIST) decodeList(cursor, add);
  else if (kind === Kind.BITS) decodeBits(cursor.bytes(LEAF_BYTES), add);
  else cursor.expect(false, `a leaf of kind ${kind}`);
  const right = count === capacity ? Kind.FULL : count <= LIST_BLOCKS_MAX ? Kind.LIST : Kind.BITS;
  cursor.expect(count > 0 && kind === right, `a leaf of ${count} blocks has the wrong form`);
  return index;
}

function decodeList(cursor: Cursor, add: (start: number, end: number) => void): void {
  const count = cursor.u16();
  cursor.expect(count <= LIST_BLOCKS_MAX, `a list of ${count} blocks`);
  for (let read = 0, before = -1; read < count; read++) {
    const block = cursor.u16();
    cursor.expect(block > before, "blocks out of order");
    add(block, block + 1);
    before = block;
  }
}

function decodeBits(bits: Uint8Array, add: (start: number, end: number) => void): void {
  const has = (block: number) => (bits[block >>> 3]! >>> (block & 7) & 1) === 1;
  for (let at = 0; at < LEAF_BLOCKS; at++) {
    if (!has(at)) continue;
    const start = at;
    while (at < LEAF_BLOCKS && has(at)) at++;
    add(start, at);
  }
}

/** Reads on from one place to the next, and never past the end. */
class Cursor {
  readonly #source: ByteSource;
  offset = 0;
  /** Of all that was read so far. */
  crc = 0;

  constructor(source: ByteSource) {
    this.#source = source;
  }

  expect(holds: boolean, found: string): asserts holds {
    if (holds) return;
    throw new CascadeError("state-corrupt", `the set of blocks is damaged: ${found}`, {
      where: { offset: this.offset },
    });
  }

  bytes(count: number): Bytes {
    assert(count <= LEAF_BYTES, "no more than a leaf is read at once");
    this.expect(this.offset + count <= this.#source.sizeBytes, "it ends too early");
    const bytes = new Uint8Array(count);
    this.#source.readAt(bytes, this.offset);
    this.offset += count;
    this.crc = crc32(bytes, this.crc);
    return bytes;
  }

  u16(): number {
    return new DataView(this.bytes(2).buffer).getUint16(0, true);
  }

  u32(): number {
    return new DataView(this.bytes(4).buffer).getUint32(0, true);
  }
}
