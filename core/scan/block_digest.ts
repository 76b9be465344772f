/**
 * Digests of blocks, 16 bytes each, that tell whether a block changed: at the speed of memory, and with
 * a chance to be wrong that is proved rather than hoped for.
 *
 * A keyed universal hash. The seed of 32 bytes is random and secret from whoever writes the data, so
 * for any two different blocks the chance that their digests are equal is at most 2^-127. (SHA-256
 * cut to 16 bytes would do as well, at a tenth of the speed; AES is slower still where this runs.)
 *
 *     key      HMAC-SHA-256(seed, number u32), number = 0, 1, 2, ..., one after the other:
 *              K, words of 32 bits, as many as a block has and 24 more, then
 *              L, 4 times 9 words of 64 bits
 *     NH       for pass j = 0 to 3, with k = K from word 8j on, over the block's words m in groups
 *              of 8: n[j] = sum of (m[i] + k[i] mod 2^32) * (m[i+4] + k[i+4] mod 2^32), i = 0 to 3 of
 *              each group; mod 2^64                    (UMAC, RFC 4418; the passes are Toeplitz's)
 *     finish   w = the 8 halves of n[0] to n[3], low half first
 *              d[j] = (L[j][8] + sum of L[j][i] * w[i] mod 2^64) >> 32
 *                                                      (multilinear, strongly universal)
 *     digest   d[0] to d[3], 4 bytes each; of a block of zeroes: 16 bytes of zero
 *
 * All little-endian. Four passes of NH collide with a chance of 2^-128, the finish with as much again.
 * A block is compared with what it was, so this is the chance a changed block: nothing adds up over
 * pairs of blocks. The last block of a volume is filled up with zeroes.
 *
 * @module
 */
import { createHmac } from "node:crypto";
import { assert } from "../assert.ts";
import type { Bytes } from "../ports.ts";
import { type Code, moduleOf, op, Type } from "./wasm_code.ts";

export const DIGEST_BYTES = 16;
export const SEED_BYTES = 32;
/** Of a block: what a file system writes, to what keeps the key within a processor's cache. */
export const SCAN_BLOCK_BYTES_MIN = 4096;
export const SCAN_BLOCK_BYTES_MAX = 65_536;
/** Hashed in one go: read into the cache of a processor and still there when it is hashed. */
export const DIGEST_BATCH_BYTES = 256 * 1024;

const PASSES = 4;
const GROUP_BYTES = 32;
const FINISH_WORDS = 2 * PASSES + 1;
const WASM_PAGE_BYTES = 65_536;

/** What digests are made with: they compare only when this is the same. */
export interface DigestKey {
  /** Random, {@linkcode SEED_BYTES}; secret from whoever writes the data. */
  readonly seed: Bytes;
  /** A power of two, from {@linkcode SCAN_BLOCK_BYTES_MIN} to {@linkcode SCAN_BLOCK_BYTES_MAX}. */
  readonly blockBytes: number;
}

/** Whether blocks of this size can be hashed. */
export function isScanBlock(blockBytes: number): boolean {
  return blockBytes >= SCAN_BLOCK_BYTES_MIN && blockBytes <= SCAN_BLOCK_BYTES_MAX &&
    Number.isInteger(Math.log2(blockBytes));
}

/** Hashes blocks that lie in its own memory. */
export class BlockDigester {
  readonly blockBytes: number;
  /** Where data is put to be hashed, from its beginning. */
  readonly room: Bytes;
  readonly #digests: Bytes;
  readonly #run: (data: number, blocks: number, digests: number) => void;

  constructor({ seed, blockBytes }: DigestKey) {
    assert(seed.length === SEED_BYTES && isScanBlock(blockBytes), "a key of digests");
    this.blockBytes = blockBytes;
    const key = expandKey(seed, blockBytes);
    const dataAt = Math.ceil(key.length / WASM_PAGE_BYTES) * WASM_PAGE_BYTES;
    const digestsAt = dataAt + DIGEST_BATCH_BYTES;
    const digestsBytes = DIGEST_BATCH_BYTES / blockBytes * DIGEST_BYTES;
    const initial = Math.ceil((digestsAt + digestsBytes) / WASM_PAGE_BYTES);
    const memory = new WebAssembly.Memory({ initial, maximum: initial });
    const { buffer } = memory;
    assert(buffer instanceof ArrayBuffer, "the memory is not shared");
    new Uint8Array(buffer).set(key);
    this.room = new Uint8Array(buffer, dataAt, DIGEST_BATCH_BYTES);
    this.#digests = new Uint8Array(buffer, digestsAt, digestsBytes);
    const { run } = new WebAssembly.Instance(moduleFor(blockBytes), { env: { memory } }).exports;
    assert(typeof run === "function", "the module has its function");
    this.#run = run as (data: number, blocks: number, digests: number) => void;
  }

  /** Digests of the first `length` bytes of the room, block by block; they change with the next call. */
  digest(length: number): Bytes {
    assert(length > 0 && length <= this.room.length, "there is something to hash");
    const blocks = Math.ceil(length / this.blockBytes);
    this.room.fill(0, length, blocks * this.blockBytes);
    this.#run(this.room.byteOffset, blocks, this.#digests.byteOffset);
    return this.#digests.subarray(0, blocks * DIGEST_BYTES);
  }
}

function keyBytes(blockBytes: number): { readonly nh: number; readonly total: number } {
  const nh = blockBytes + (PASSES - 1) * GROUP_BYTES;
  return { nh, total: nh + PASSES * FINISH_WORDS * 8 };
}

/** The key as it lies in memory, from address 0 on. */
export function expandKey(seed: Bytes, blockBytes: number): Bytes {
  const key = new Uint8Array(keyBytes(blockBytes).total);
  const number = new Uint8Array(4);
  for (let at = 0, count = 0; at < key.length; count++) {
    new DataView(number.buffer).setUint32(0, count, true);
    const piece = createHmac("sha256", seed).update(number).digest();
    key.set(piece.subarray(0, key.length - at), at);
    at += piece.length;
  }
  return key;
}

// Parameters and variables of the function.
const [DATA, BLOCKS, DIGESTS, POINTER, END, KEY] = [0, 1, 2, 3, 4, 5];
const [SUMS, ANY, LEFT, RIGHT, LEFT_KEYED, RIGHT_KEYED] = [6, 10, 11, 12, 13, 14];
const NUMBERS = 15;

function advance(local: number, bytes: number): Code {
  return [...op.get(local), ...op.i32Const(bytes), ...op.i32Add, ...op.set(local)];
}

/** One group of a block: all four passes over it, while it is in registers. */
function groupCode(): Code {
  const code = [
    ...[...op.get(POINTER), ...op.v128Load(0), ...op.tee(LEFT)],
    ...[...op.get(POINTER), ...op.v128Load(16), ...op.tee(RIGHT), ...op.v128Or],
    ...[...op.get(ANY), ...op.v128Or, ...op.set(ANY)],
  ];
  const keyed = (local: number, offset: number): Code => [
    ...[...op.get(local), ...op.get(KEY), ...op.v128Load(offset), ...op.i32x4Add],
  ];
  for (let pass = 0; pass < PASSES; pass++) {
    const offset = pass * GROUP_BYTES;
    code.push(
      ...[...keyed(LEFT, offset), ...op.tee(LEFT_KEYED)],
      ...[...keyed(RIGHT, offset + 16), ...op.tee(RIGHT_KEYED), ...op.i64x2MultiplyLow],
      ...[...op.get(LEFT_KEYED), ...op.get(RIGHT_KEYED), ...op.i64x2MultiplyHigh],
      ...[...op.i64x2Add, ...op.get(SUMS + pass), ...op.i64x2Add, ...op.set(SUMS + pass)],
    );
  }
  return code;
}

/** From the sums of the passes to the digest. */
function finishCode(keyAt: number): Code {
  const code: number[] = [];
  for (let pass = 0; pass < PASSES; pass++) {
    const lane = (index: number): Code => [...op.get(SUMS + pass), ...op.i64x2Lane(index)];
    code.push(...lane(0), ...lane(1), ...op.i64Add, ...op.set(NUMBERS + pass));
  }
  const half = (word: number): Code => {
    const number = op.get(NUMBERS + (word >> 1));
    return word % 2 === 1
      ? [...number, ...op.i64Const(32), ...op.i64ShiftRight]
      : [...number, ...op.i32Wrap, ...op.i64ExtendUnsigned];
  };
  for (let j = 0; j < PASSES; j++) {
    const word = (index: number): Code => [
      ...[...op.i32Const(0), ...op.i64Load(keyAt + (j * FINISH_WORDS + index) * 8)],
    ];
    code.push(...op.get(DIGESTS), ...word(FINISH_WORDS - 1));
    for (let i = 0; i < FINISH_WORDS - 1; i++) {
      code.push(...half(i), ...word(i), ...op.i64Multiply, ...op.i64Add);
    }
    code.push(...op.i64Const(32), ...op.i64ShiftRight, ...op.i32Wrap, ...op.i32Store(4 * j));
  }
  return code;
}

/** So many batches, and the code is worth being optimized: that is done aside, once for all threads. */
const WARM_BATCHES = 8;

/** Does what the first digester of such blocks would have to do first, and is slow at first. */
export function prepareDigests(blockBytes: number): void {
  const digester = new BlockDigester({ seed: new Uint8Array(SEED_BYTES), blockBytes });
  for (let batch = 0; batch < WARM_BATCHES; batch++) digester.digest(DIGEST_BATCH_BYTES);
}

const modules = new Map<number, WebAssembly.Module>();

/** Compiled once. */
function moduleFor(blockBytes: number): WebAssembly.Module {
  const known = modules.get(blockBytes);
  if (known !== undefined) return known;
  const module = new WebAssembly.Module(digestModule(blockBytes));
  modules.set(blockBytes, module);
  return module;
}

/** `run(data, blocks, digests)`: addresses and a count; the key lies at address 0. */
function digestModule(blockBytes: number): Bytes {
  const sums = Array.from({ length: PASSES }, (_, pass) => SUMS + pass);
  const block: Code = [
    ...[...sums, ANY].flatMap((local) => [...op.v128Zero, ...op.set(local)]),
    ...[...op.get(DATA), ...op.tee(POINTER)],
    ...[...op.i32Const(blockBytes), ...op.i32Add, ...op.set(END)],
    ...[...op.i32Const(0), ...op.set(KEY)],
    ...op.repeatWhile([
      ...groupCode(),
      ...[...advance(KEY, GROUP_BYTES), ...advance(POINTER, GROUP_BYTES)],
      ...[...op.get(POINTER), ...op.get(END), ...op.i32Below],
    ]),
    ...[...op.get(ANY), ...op.v128AnyTrue],
    ...op.ifElse(
      finishCode(keyBytes(blockBytes).nh),
      [...op.get(DIGESTS), ...op.v128Zero, ...op.v128Store(0)],
    ),
    ...[...op.get(END), ...op.set(DATA)],
    ...advance(DIGESTS, DIGEST_BYTES),
    ...[...op.get(BLOCKS), ...op.i32Const(1), ...op.i32Subtract, ...op.tee(BLOCKS)],
  ];
  return moduleOf([Type.I32, Type.I32, Type.I32], [
    { count: 3, type: Type.I32 },
    { count: PASSES + 5, type: Type.V128 },
    { count: PASSES, type: Type.I64 },
  ], op.repeatWhile(block));
}
