/**
 * Block sets of version 1 with fixed content: what `make_delta.ts` writes as golden files, and what the
 * tests hold against them. Never change an entry: add another.
 *
 * @module
 */
import { BlockSet } from "../../core/delta/block_set.ts";
import { encodeBlockSet } from "../../core/delta/block_set_format.ts";
import type { Bytes } from "../../core/ports.ts";

/** The first is past 32 bits, the second ends within a block, the third is empty. */
export const GOLDEN_SET_SIZES = [0x1_8000_0000, 10_001, 0] as const;

/** A set with a leaf of every kind: list, full, bits, and a short one at a volume's end. */
export function goldenSet(): BlockSet {
  const set = new BlockSet(GOLDEN_SET_SIZES);
  set.add(0, 5_000, 1);
  set.add(0, 0x800_0000 - 4096, 4096);
  set.add(0, 0x800_0000, 0x800_0000);
  for (let block = 0; block < 2_000; block++) set.add(0, 0x1_7800_0000 + block * 8192, 1);
  set.add(1, 10_000, 1);
  return set;
}

/** All pieces of a serial form in one. */
export function joined(pieces: Iterable<Uint8Array>): Bytes {
  const list = [...pieces];
  const bytes = new Uint8Array(list.reduce((sum, piece) => sum + piece.length, 0));
  let at = 0;
  for (const piece of list) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

/** Every golden file of deltas. */
export const GOLDEN_DELTA: readonly { readonly name: string; readonly make: () => Bytes }[] = [
  { name: "block-set-v1.bin", make: () => joined(encodeBlockSet(goldenSet())) },
];
