/**
 * What the peer of a link holds, as far as it takes to spare it what it has: digests of its applied volumes, asked for
 * ahead of what is sent. Used where it is not known what the peer lacks, so that all blocks are sent.
 *
 * The peer takes in nothing between: a delta is staged, and applied when all of it is there. Digests count only while
 * they are of where the peer stands.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import {
  CHUNK_BYTES,
  differentBlocks,
  digestsOf,
  HASH_BLOCK_BYTES,
  type PeerHashes,
} from "./hashes.ts";
import type { Payload } from "./patch.ts";

/** Chunks that are asked for before they are wanted: hides the line's latency. */
const AHEAD = 8;
const DIGEST_BYTES = digestsOf(new Uint8Array(1)).length;
const ZERO_DIGEST = digestsOf(new Uint8Array(HASH_BLOCK_BYTES));

type Digests = Uint8Array | "zeroes" | null;

/** See the module's text. */
export class PeerImage {
  readonly #hashes: PeerHashes;
  readonly #sizes: readonly number[];
  /** Where the peer stands. */
  readonly #lsn: number;
  /** By number; of the volume that is being read. */
  readonly #chunks = new Map<number, Promise<Digests>>();
  #volume = -1;
  /** It cannot tell, or does not understand patches. */
  #isMute = false;

  constructor(hashes: PeerHashes, sizes: readonly number[], lsn: number) {
    this.#hashes = hashes;
    this.#sizes = sizes;
    this.#lsn = lsn;
  }

  /** Numbers of the blocks of a payload that the peer lacks; null: not known. Throws `connection-lost`. */
  readonly lacksOf = async ({ volume, offset, bytes }: Payload): Promise<number[] | null> => {
    if (this.#isMute || offset % HASH_BLOCK_BYTES !== 0) return null;
    if (volume !== this.#volume) this.#chunks.clear();
    this.#volume = volume;
    const first = Math.floor(offset / CHUNK_BYTES);
    const last = Math.floor((offset + bytes.length - 1) / CHUNK_BYTES);
    for (const chunk of this.#chunks.keys()) if (chunk < first) this.#chunks.delete(chunk);
    for (let chunk = first; chunk <= last + AHEAD; chunk++) this.#ask(volume, chunk);
    const lacks: number[] = [];
    for (let chunk = first; chunk <= last; chunk++) {
      const theirs = await this.#chunks.get(chunk) ?? null;
      if (theirs === null) return null;
      const from = Math.max(offset, chunk * CHUNK_BYTES);
      const to = Math.min(offset + bytes.length, (chunk + 1) * CHUNK_BYTES);
      const mine = digestsOf(bytes.subarray(from - offset, to - offset));
      const skipped = (from - offset) / HASH_BLOCK_BYTES;
      const at = (from - chunk * CHUNK_BYTES) / HASH_BLOCK_BYTES * DIGEST_BYTES;
      const own = theirs === "zeroes" ? zeroes(mine.length) : theirs.subarray(at, at + mine.length);
      lacks.push(...differentBlocks(mine, own).map((block) => skipped + block));
    }
    return lacks;
  };

  #ask(volume: number, chunk: number): void {
    const offset = chunk * CHUNK_BYTES;
    const length = Math.min(CHUNK_BYTES, (this.#sizes[volume] ?? 0) - offset);
    if (length <= 0 || this.#chunks.has(chunk)) return;
    const asked = this.#digests(volume, offset, length);
    asked.catch(() => {/* the connection is gone: whoever sends is told */});
    this.#chunks.set(chunk, asked);
  }

  async #digests(volume: number, offset: number, length: number): Promise<Digests> {
    const answer = await this.#hashes.ask({ volume, offset, length, wantsData: false });
    if (!answer.patches || answer.refused !== null) {
      this.#isMute = true;
      return null;
    }
    // It still applies what it has: what it holds is about to change.
    if (answer.appliedLsn !== this.#lsn) return null;
    return answer.digests === null ? "zeroes" : Buffer.from(answer.digests, "base64");
  }
}

/** The digests of so many bytes of digests of blocks of zeroes. */
function zeroes(bytes: number): Uint8Array {
  const digests = new Uint8Array(bytes);
  for (let at = 0; at < bytes; at += DIGEST_BYTES) digests.set(ZERO_DIGEST, at);
  return digests;
}
