/**
 * Digests of a volume, section by section: what a scan compares with, and what it makes.
 *
 * @module
 */
import type { Bytes } from "../ports.ts";
import { DIGEST_BYTES, type DigestKey } from "./block_digest.ts";

/** Blocks of a section, the unit in which digests are kept, checked and compared. */
export const SECTION_BLOCKS = 1024;
/** Bytes of the digests of a section. */
export const SECTION_DIGEST_BYTES = SECTION_BLOCKS * DIGEST_BYTES;

/** Digests that were kept, or that somebody else told. */
export interface DigestSource {
  /** What they were made with. */
  readonly key: DigestKey;
  /** The first section from `section` on with a block that is not zero; null: no more. */
  next(section: number): number | null;
  /**
   * Fills `into` ({@linkcode SECTION_DIGEST_BYTES}) with those of a section; zeroes where all blocks
   * are, and past the volume's end. Throws `state-corrupt`.
   */
  read(section: number, into: Bytes): void;
}

/** The digests of a blank volume: everything that is not zero differs from it. */
export function blankDigests(key: DigestKey): DigestSource {
  return {
    key,
    next: () => null,
    read: (_section, into) => void into.fill(0),
  };
}

/** How many sections a volume has. */
export function sectionCount(volumeBytes: number, blockBytes: number): number {
  return Math.ceil(volumeBytes / (SECTION_BLOCKS * blockBytes));
}

/** Whether digests can be compared: made with one and the same key. */
export function isSameKey(one: DigestKey, other: DigestKey): boolean {
  return one.blockBytes === other.blockBytes &&
    one.seed.every((byte, index) => byte === other.seed[index]);
}
