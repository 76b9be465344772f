/**
 * Seed files over the admin side of a node.
 *
 *     POST /seed?staged=BASE64URL       200 and the file, or what is missing of it
 *
 * What is sent holds all data of the volumes: unlike a status, it is given only to whoever knows the secret
 * of the cluster. A request without a proof is answered with 403 and `cascade-nonce`: what the node has just made up. The
 * next one bears `cascade-proof: NONCE.HMAC`, an HMAC-SHA256 with that secret over the node's name, the nonce and the
 * target. It is good for half a minute, once, and for nothing else.
 *
 * `staged` is what the client has of a file that was cut off (core/link/messages.ts). The answer's header
 * `cascade-resumes` is 1 when it goes on behind that, and `cascade-bytes` tells how many there will be in
 * all, about. A file that breaks off before its footer is not whole.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { createHmac, timingSafeEqual } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";
import { CascadeError, describeError } from "../core/errors.ts";
import { type StagedMessage, stagedSchema } from "../core/link/messages.ts";
import type { SeedMaker } from "../core/node_seeds.ts";
import type { Bytes, Journal } from "../core/ports.ts";
import type { Answer } from "./admin_control.ts";

export const PROOF_HEADER = "cascade-proof";
export const RESUMES_HEADER = "cascade-resumes";
export const BYTES_HEADER = "cascade-bytes";
export const NONCE_HEADER = "cascade-nonce";
/** From the nonce to the proof. */
const NONCE_AGE_MS_MAX = 30_000;
/** What a request line has room for: a file with more volumes than that begins anew. */
const STAGED_LENGTH_MAX = 6_000;

/** What a node gives seed files with. */
export interface SeedGiver {
  /** Of the node in its present role. */
  readonly maker: () => SeedMaker;
  readonly secret: Uint8Array;
  readonly journal: Journal;
}

/** What a request for `target` bears to show that it knows the secret. */
export function proofOf(secret: Uint8Array, node: string, nonce: string, target: string): string {
  const text = `cascade seed 2\n${node}\n${nonce}\n${target}`;
  return `${nonce}.${createHmac("sha256", secret).update(text).digest("hex")}`;
}

/**
 * Nonces that this process made up. It keeps none of them, however many are asked for: it knows them by a key of its
 * own. Only those that were used are kept, until they are too old; to use one takes the secret.
 */
class Nonces {
  readonly #key = crypto.getRandomValues(new Uint8Array(32));
  readonly #used = new Map<string, number>();

  /** `TIME-RANDOM-SEAL`; the time is of the clock that only goes on. */
  make(): string {
    const random = Buffer.from(crypto.getRandomValues(new Uint8Array(16))).toString("hex");
    return this.#sealed(`${Math.floor(performance.now())}-${random}`);
  }

  #sealed(text: string): string {
    return `${text}-${createHmac("sha256", this.#key).update(text).digest("hex")}`;
  }

  /** Whether this is a fresh one of ours. */
  isFresh(nonce: string): boolean {
    const [, head = "", time] = /^((\d{1,15})-[0-9a-f]{32})-[0-9a-f]{64}$/.exec(nonce) ?? [];
    if (!isSame(nonce, this.#sealed(head)) || this.#used.has(nonce)) return false;
    return performance.now() - Number(time) <= NONCE_AGE_MS_MAX;
  }

  use(nonce: string): void {
    const nowMs = performance.now();
    for (const [old, atMs] of this.#used) {
      if (nowMs - atMs <= 2 * NONCE_AGE_MS_MAX) break;
      this.#used.delete(old);
    }
    this.#used.set(nonce, nowMs);
  }
}

const nonces = new Nonces();

function isSame(text: string, other: string): boolean {
  const [a, b] = [Buffer.from(text), Buffer.from(other)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function isProof(text: unknown, secret: Uint8Array, node: string, target: string): boolean {
  if (typeof text !== "string") return false;
  const nonce = text.split(".", 1)[0] ?? "";
  if (!nonces.isFresh(nonce) || !isSame(text, proofOf(secret, node, nonce, target))) return false;
  nonces.use(nonce);
  return true;
}

/** What is staged, as a query; empty when it is too much for one. */
export function stagedQuery(staged: StagedMessage | null): string {
  if (staged === null) return "";
  const text = Buffer.from(JSON.stringify(staged)).toString("base64url");
  return text.length > STAGED_LENGTH_MAX ? "" : `?staged=${text}`;
}

function readStaged(text: string | null): StagedMessage | null {
  if (text === null) return null;
  try {
    return stagedSchema.parse(JSON.parse(Buffer.from(text, "base64url").toString("utf8")));
  } catch (cause) {
    throw new CascadeError("usage", "what is staged cannot be read", { cause });
  }
}

/** Answers to POST /seed. Throws what {@linkcode SeedMaker.begin} throws. */
export async function answerSeed(
  headers: IncomingHttpHeaders,
  { searchParams, pathname, search }: URL,
  { maker, secret, journal }: SeedGiver,
  node: string,
): Promise<Answer> {
  const proof = headers[PROOF_HEADER];
  if (!isProof(proof, secret, node, pathname + search)) {
    const isWrong = typeof proof === "string" && proof !== "";
    const body = isWrong
      ? "the secret of the cascade is another one\n"
      : "prove the secret first\n";
    return { code: 403, body, headers: { [NONCE_HEADER]: nonces.make() } };
  }
  const making = await maker().begin(readStaged(searchParams.get("staged")));
  return {
    code: 200,
    body: "",
    type: "application/octet-stream",
    headers: {
      [RESUMES_HEADER]: making.resumes ? "1" : "0",
      [BYTES_HEADER]: String(Math.ceil(making.bytesExpected)),
    },
    async stream(write: (bytes: Bytes) => Promise<void>) {
      journal.write("info", "a seed is being made", { resumes: making.resumes });
      try {
        const { toLsn } = await making.write(write);
        journal.write("info", "a seed was made", { lsn: toLsn });
      } catch (error) {
        journal.write("warn", "a seed was not made to its end", { reason: describeError(error) });
        throw error;
      } finally {
        making.close();
      }
    },
  };
}
