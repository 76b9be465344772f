/**
 * The fingerprint of a volume as it was before its first record, at LSN 0. Two nodes replicate by
 * log alone only if they began with the same image; comparing the fingerprints proves that.
 *
 * SHA-256 over (offset as 8 bytes little-endian, block) of every 64 KiB block that is not all
 * zeroes, in order; the fingerprint of a blank volume is "blank". Holes are not read.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import type { Clock, DiskFile } from "../ports.ts";

const BLOCK_BYTES = 64 * 1024;
const BLOCKS_PER_TURN = 256;
const ZEROES = new Uint8Array(BLOCK_BYTES);

/** The fingerprint of a blank volume. */
export const BLANK = "blank";

/** Reads the whole volume, less its holes; yields to the event loop between slices. */
export async function fingerprint(
  file: DiskFile,
  sizeBytes: number,
  clock: Clock,
): Promise<string> {
  const hash = createHash("sha256");
  const head = new Uint8Array(8);
  const block = new Uint8Array(BLOCK_BYTES);
  let blank = true;
  let done = 0;
  let turn = 0;
  for (const range of file.dataRanges(0, sizeBytes)) {
    let at = Math.max(done, range.start - range.start % BLOCK_BYTES);
    for (; at < range.end; at += BLOCK_BYTES) {
      const piece = block.subarray(0, Math.min(BLOCK_BYTES, sizeBytes - at));
      file.readAt(piece, at);
      if (++turn % BLOCKS_PER_TURN === 0) await new Promise<void>((go) => clock.soon(go));
      if (isZero(piece)) continue;
      blank = false;
      new DataView(head.buffer).setBigUint64(0, BigInt(at), true);
      hash.update(head).update(piece);
    }
    done = at;
  }
  return blank ? BLANK : hash.digest("hex");
}

function isZero(piece: Uint8Array): boolean {
  return Buffer.compare(piece, ZEROES.subarray(0, piece.length)) === 0;
}
