/**
 * Reading and hashing a volume: the port that a scan runs through, and the plain way, in this thread.
 *
 * @module
 */
import { assert } from "../assert.ts";
import type { Bytes, Clock, Disk, DiskFile } from "../ports.ts";
import { BlockDigester, DIGEST_BATCH_BYTES, DIGEST_BYTES, type DigestKey } from "./block_digest.ts";

/** Hashes one open volume. */
export interface BlockHasher {
  readonly key: DigestKey;
  /** Pieces in flight that keep it busy. */
  readonly depth: number;
  /**
   * Digests of the blocks of [offset, offset + length), which begins at a block; {@linkcode DIGEST_BYTES}
   * each. What lies past the end reads as zeroes. Throws `not-found`, `disk-failed`.
   */
  hash(offset: number, length: number): Promise<Bytes>;
  /** Lets go of the volume: when it settles, nothing has it open any more. */
  close(): Promise<void>;
}

/** Opens a volume for hashing, or what stands in for it: a snapshot. Read-only, and takes no lock. */
export type OpenHasher = (path: string, key: DigestKey) => Promise<BlockHasher>;

/** Hashes a range of a file, from a block on; in this thread, in one go. */
export function hashRange(
  file: DiskFile,
  digester: BlockDigester,
  offset: number,
  length: number,
): Bytes {
  assert(offset % digester.blockBytes === 0 && length > 0, "a range begins at a block");
  const digests = new Uint8Array(Math.ceil(length / digester.blockBytes) * DIGEST_BYTES);
  for (let done = 0; done < length; done += DIGEST_BATCH_BYTES) {
    const bytes = Math.min(DIGEST_BATCH_BYTES, length - done);
    file.readAt(digester.room.subarray(0, bytes), offset + done);
    digests.set(digester.digest(bytes), done / digester.blockBytes * DIGEST_BYTES);
  }
  return digests;
}

/** In this thread, piece by piece; the event loop goes on between. */
export function hashHere({ disk, clock }: { disk: Disk; clock: Clock }): OpenHasher {
  return (path, key) => {
    const file = disk.open(path, { readOnly: true });
    const digester = new BlockDigester(key);
    return Promise.resolve({
      key,
      depth: 1,
      async hash(offset, length) {
        await new Promise<void>((go) => clock.soon(go));
        return hashRange(file, digester, offset, length);
      },
      close: () => Promise.resolve(file.close()),
    });
  };
}
