/**
 * Hashes of volumes that travel on a link: how the two ends of it are compared while both go on.
 *
 * The downstream node hashes a chunk of its applied image and tells at which LSN it did; whoever asked sees
 * to it that its own hashes are of the same content. Digests are SHA-256 cut to 128 bits, a block each.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHash } from "node:crypto";
import * as z from "zod";
import type { Pipeline } from "../pipeline.ts";
import { CascadeError } from "../errors.ts";
import { FrameType, jsonFrame } from "./frames.ts";
import { decodeMessage } from "./messages.ts";
import type { Wire } from "./wire.ts";

/** Hashed in one go: under a millisecond. */
export const CHUNK_BYTES = 1024 * 1024;
/** What a digest stands for. */
export const HASH_BLOCK_BYTES = 4096;
const DIGEST_BYTES = 16;

const count = z.number().int().nonnegative();

/** HASH_ASK. Of more than a chunk it is only told whether it is all hole. */
export const hashAskSchema = z.object({
  id: count,
  volume: count.max(0xffff),
  offset: count,
  length: count.min(1),
  /** The bytes themselves are wanted: at most a block. */
  wantsData: z.boolean(),
});
export type HashAsk = z.infer<typeof hashAskSchema>;

/** HASH: the answer. */
export const hashSchema = z.object({
  id: count,
  /** What was applied when it was hashed; null: the image is in between just now, ask again. */
  appliedLsn: count.nullable(),
  /** It is all hole. */
  isHole: z.boolean(),
  /** A digest for each block, base64; null where none is wanted. */
  digests: z.string().max(16 * 1024).nullable(),
  data: z.string().max(16 * 1024).nullable(),
  /** Why this node cannot tell. */
  refused: z.string().max(200).nullable(),
  /** It understands patches; older versions do not say so. */
  patches: z.boolean().default(false),
});
export type HashAnswer = z.infer<typeof hashSchema>;

/** The digests of a piece of a volume, one behind the other. */
export function digestsOf(bytes: Uint8Array): Uint8Array {
  const digests = new Uint8Array(Math.ceil(bytes.length / HASH_BLOCK_BYTES) * DIGEST_BYTES);
  for (let at = 0, to = 0; at < bytes.length; at += HASH_BLOCK_BYTES, to += DIGEST_BYTES) {
    const block = bytes.subarray(at, at + HASH_BLOCK_BYTES);
    digests.set(createHash("sha256").update(block).digest().subarray(0, DIGEST_BYTES), to);
  }
  return digests;
}

/** Numbers of the blocks whose digests differ. */
export function differentBlocks(mine: Uint8Array, theirs: Uint8Array): number[] {
  const blocks: number[] = [];
  for (let at = 0; at < mine.length; at += DIGEST_BYTES) {
    const [a, b] = [mine.subarray(at, at + DIGEST_BYTES), theirs.subarray(at, at + DIGEST_BYTES)];
    if (Buffer.compare(a, b) !== 0) blocks.push(at / DIGEST_BYTES);
  }
  return blocks;
}

/** What a node below answers. Throws `protocol`. */
export function answerHash(pipeline: Pipeline, isWhole: boolean, body: Uint8Array): HashAnswer {
  const ask = decodeMessage(hashAskSchema, body, "question for hashes");
  const { id, volume: number, offset, length, wantsData } = ask;
  const none = { id, isHole: false, digests: null, data: null, patches: true };
  const volume = pipeline.volumes[number];
  if (volume === undefined) {
    return { ...none, appliedLsn: null, refused: "this node has no volumes to compare" };
  }
  if (offset + length > volume.sizeBytes) {
    throw new CascadeError("protocol", "the peer asks for hashes past the end of a volume");
  }
  const appliedLsn = isWhole ? pipeline.exactLsn() : null;
  if (appliedLsn === null) return { ...none, appliedLsn, refused: null };
  const isHole = volume.appliedDataRanges(offset, length, 1).length === 0;
  if (length > CHUNK_BYTES || isHole) return { ...none, appliedLsn, isHole, refused: null };
  const bytes = new Uint8Array(length);
  volume.readApplied(bytes, offset);
  return {
    ...none,
    appliedLsn,
    digests: Buffer.from(digestsOf(bytes)).toString("base64"),
    data: wantsData && length <= HASH_BLOCK_BYTES ? Buffer.from(bytes).toString("base64") : null,
    refused: null,
  };
}

/** The upstream end: asks for hashes, several at once, and gives each answer to whoever asked. */
export class PeerHashes {
  readonly #wire: Wire;
  readonly #asked = new Map<number, (answer: HashAnswer) => void>();
  #ids = 0;

  constructor(wire: Wire) {
    this.#wire = wire;
  }

  /** Throws `connection-lost`. */
  async ask(question: Omit<HashAsk, "id">): Promise<HashAnswer> {
    const id = ++this.#ids;
    const answered = new Promise<HashAnswer>((tell) => this.#asked.set(id, tell));
    this.#wire.send(jsonFrame(FrameType.HASH_ASK, { id, ...question }));
    const answer = await Promise.race([answered, this.#wire.whenClosed]);
    this.#asked.delete(id);
    if (answer !== undefined) return answer;
    throw new CascadeError("connection-lost", "the connection was lost meanwhile", {
      retryable: true,
    });
  }

  onAnswer(body: Uint8Array): void {
    const answer = decodeMessage(hashSchema, body, "answer with hashes");
    const tell = this.#asked.get(answer.id);
    if (tell === undefined) {
      throw new CascadeError("protocol", "the peer answers with hashes that nobody asked for");
    }
    this.#asked.delete(answer.id);
    tell(answer);
  }
}
