/**
 * Records on the wire in fewer bytes: those of a DATA or DELTA_DATA frame as one zstd frame, where that is worth
 * it. The log keeps them as they are.
 *
 * What does not shrink is not compressed: a sample tells, and is taken again after a while, the longer the more
 * often it was in vain. Now and then all of a frame is tried, since a sample sees no repetitions.
 *
 * @module
 */
import type { Buffer } from "node:buffer";
import { constants, zstdCompressSync, zstdDecompressSync } from "node:zlib";
import type { Bytes, Compress } from "../ports.ts";
import {
  badFrame,
  DELTA_HEAD_BYTES,
  FLAG_PACKED,
  type Frame,
  FRAME_HEADER_BYTES,
  FrameType,
  sealFrame,
  TIDE_BYTES,
} from "./frames.ts";
import { DATA_BODY_BYTES_MAX, DATA_RECORDS_BYTES_MAX } from "./link_limits.ts";

/** Less is not worth the call. */
const PACK_BYTES_MIN = 256;
/** From here on another thread does it: some 0.3 ms in this one. */
const FAR_BYTES_MIN = 96 * 1024;
/** The same above this level: those take ten times as long and more. */
const LEVEL_QUICK_MAX = 3;
const FAR_BYTES_MIN_SLOW = 4 * 1024;
/** Less is compressed without asking a sample. */
const SAMPLED_BYTES_MIN = 48 * 1024;
const SAMPLE_PIECES = 4;
const SAMPLE_PIECE_BYTES = 3 * 1024;
/** What is not smaller than this part of what it was is sent as it is. */
const WORTH = 0.95;
/** Sent as it is until the next try: at first, and at most. */
const SKIP_BYTES_FIRST = 1024 * 1024;
const SKIP_BYTES_MAX = 64 * 1024 * 1024;
/** Every so many samples in vain all of a frame is tried. */
const WHOLE_EVERY = 4;
/** A frame of records fits: what asks for more memory is no frame of ours. */
const WINDOW_LOG_MAX = 21;

/** The level of `auto`, and of `zstd` without one. */
export const LEVEL_DEFAULT = 1;

/** Bytes before the records in a frame's body; 0: it has no records. */
function headBytes(type: number | undefined): number {
  if (type === FrameType.DATA) return TIDE_BYTES;
  return type === FrameType.DELTA_DATA ? DELTA_HEAD_BYTES : 0;
}

/** Where in the head of a body the length stands that its records have when they are unpacked. */
function lengthAt(type: number | undefined): number {
  return type === FrameType.DATA ? 32 : 8;
}

/** In this thread. */
export function compressHere(bytes: Uint8Array, level: number): Uint8Array {
  return zstdCompressSync(bytes, {
    params: {
      [constants.ZSTD_c_compressionLevel]: level,
      // High levels would ask the reader for more memory, though a frame has no use for it.
      [constants.ZSTD_c_windowLog]: WINDOW_LOG_MAX,
    },
  });
}

/** The frames of one link. What it returns is valid until it is called again. */
export class Packer {
  readonly #far: Compress | null;
  #room: Bytes = new Uint8Array(0);
  #skipBytes = 0;
  #inVain = 0;
  #isShrinking = false;
  #rawBytes = 0;
  #packedBytes = 0;

  /** `far` compresses in another thread; null: there is none. */
  constructor(far: Compress | null) {
    this.#far = far;
  }

  /** Records of all frames, as they are, and as they were sent. */
  get rawBytes(): number {
    return this.#rawBytes;
  }

  get packedBytes(): number {
    return this.#packedBytes;
  }

  /** Whether the last frame that was tried became smaller. */
  get isShrinking(): boolean {
    return this.#isShrinking;
  }

  /** Counts a frame that goes as it is. */
  plain(frame: Bytes): void {
    const head = headBytes(frame[4]);
    if (head === 0) return;
    const bytes = frame.length - FRAME_HEADER_BYTES - head;
    this.#rawBytes += bytes;
    this.#packedBytes += bytes;
  }

  /** A whole frame as it is to be sent; `level` null: as it is. */
  async pack(frame: Bytes, level: number | null): Promise<Bytes> {
    const head = headBytes(frame[4]);
    if (head === 0) return frame;
    const records = frame.subarray(FRAME_HEADER_BYTES + head);
    this.#rawBytes += records.length;
    const packed = level === null || !this.#isWorth(records, level)
      ? null
      : await this.#compress(records, level);
    if (packed === null || packed.length >= records.length * WORTH) {
      if (packed !== null) this.#failed();
      this.#packedBytes += records.length;
      return frame;
    }
    this.#inVain = 0;
    this.#isShrinking = true;
    this.#packedBytes += packed.length;
    return this.#seal(frame, head, packed);
  }

  /** Looks at a sample. */
  #isWorth(records: Uint8Array, level: number): boolean {
    if (records.length < PACK_BYTES_MIN) return false;
    if (this.#skipBytes > 0) {
      this.#skipBytes -= records.length;
      return false;
    }
    if (records.length < SAMPLED_BYTES_MIN) return true;
    const sample = sampleOf(records);
    // A quick level tells as well whether there is anything to gain.
    const quick = Math.min(level, LEVEL_QUICK_MAX);
    if (compressHere(sample, quick).length < sample.length * WORTH) return true;
    if ((this.#inVain + 1) % WHOLE_EVERY === 0) return true;
    this.#failed();
    return false;
  }

  #failed(): void {
    this.#isShrinking = false;
    this.#skipBytes = Math.min(SKIP_BYTES_FIRST * 2 ** Math.min(this.#inVain, 16), SKIP_BYTES_MAX);
    this.#inVain++;
  }

  async #compress(records: Bytes, level: number): Promise<Uint8Array> {
    const farFrom = level > LEVEL_QUICK_MAX ? FAR_BYTES_MIN_SLOW : FAR_BYTES_MIN;
    if (this.#far === null || records.length < farFrom) return compressHere(records, level);
    try {
      return await this.#far(records, level);
    } catch {
      // Another thread is a help, and no more.
      return compressHere(records, level);
    }
  }

  #seal(frame: Bytes, head: number, packed: Uint8Array): Bytes {
    if (this.#room.length === 0) {
      this.#room = new Uint8Array(FRAME_HEADER_BYTES + DATA_BODY_BYTES_MAX);
    }
    const from = FRAME_HEADER_BYTES + head;
    const out = this.#room.subarray(0, from + packed.length);
    out.set(frame.subarray(0, from));
    out.set(packed, from);
    const type = frame[4] as FrameType;
    const view = new DataView(out.buffer, FRAME_HEADER_BYTES, head);
    view.setUint32(lengthAt(type), frame.length - from, true);
    sealFrame(out, 0, type, (frame[5] ?? 0) | FLAG_PACKED, head + packed.length, head);
    return out;
  }
}

/** Pieces from all over it, put together. */
function sampleOf(records: Uint8Array): Uint8Array {
  const sample = new Uint8Array(SAMPLE_PIECES * SAMPLE_PIECE_BYTES);
  const step = Math.floor((records.length - SAMPLE_PIECE_BYTES) / (SAMPLE_PIECES - 1));
  for (let i = 0; i < SAMPLE_PIECES; i++) {
    sample.set(records.subarray(i * step, i * step + SAMPLE_PIECE_BYTES), i * SAMPLE_PIECE_BYTES);
  }
  return sample;
}

/**
 * A frame with its records as they were. The length that they shall have is checked before anything is
 * unpacked, and no more than that is. Throws `protocol`.
 */
export function unpack(frame: Frame): Frame {
  if ((frame.flags & FLAG_PACKED) === 0) return frame;
  const { type, body } = frame;
  const head = headBytes(type);
  if (head === 0 || body.length < head) throw badFrame("a packed frame without records");
  const bytes = new DataView(body.buffer, body.byteOffset, head).getUint32(lengthAt(type), true);
  if (bytes === 0 || bytes > DATA_RECORDS_BYTES_MAX) {
    throw badFrame(`records that would be ${bytes} bytes (at most ${DATA_RECORDS_BYTES_MAX})`);
  }
  const whole = new Uint8Array(head + bytes);
  whole.set(body.subarray(0, head));
  whole.set(decompress(body.subarray(head), bytes), head);
  return { type, flags: frame.flags & ~FLAG_PACKED, body: whole };
}

function decompress(packed: Uint8Array, bytes: number): Uint8Array {
  let records: Buffer;
  try {
    records = zstdDecompressSync(packed, {
      maxOutputLength: bytes,
      params: { [constants.ZSTD_d_windowLogMax]: WINDOW_LOG_MAX },
    });
  } catch {
    // The library's words say no more.
    throw badFrame("packed records that cannot be unpacked");
  }
  if (records.length === bytes) return records;
  throw badFrame(`packed records of ${records.length} bytes, and told ${bytes}`);
}
