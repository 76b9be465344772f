/**
 * Seed files over the admin side of a node.
 *
 *     POST /seed?staged=BASE64URL       200 and the file, or what is missing of it
 *
 * What is sent holds all data of the volumes: unlike a status, it is given only to whoever knows the secret
 * of the cluster. The request bears `cascade-proof: TIME.HMAC`, an HMAC-SHA256 with that secret over the
 * node's name and the time (ms), which may be some minutes off.
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
/** Clocks of two machines may differ. */
const PROOF_AGE_MS_MAX = 300_000;
/** What a request line has room for: a file with more volumes than that begins anew. */
const STAGED_LENGTH_MAX = 6_000;

/** What a node gives seed files with. */
export interface SeedGiver {
  /** Of the node in its present role. */
  readonly maker: () => SeedMaker;
  readonly secret: Uint8Array;
  readonly journal: Journal;
}

/** What a request bears to show that it knows the secret. */
export function proofOf(secret: Uint8Array, node: string, timeMs: number): string {
  const mac = createHmac("sha256", secret).update(`cascade seed\n${node}\n${timeMs}`).digest("hex");
  return `${timeMs}.${mac}`;
}

function isProof(text: unknown, secret: Uint8Array, node: string): boolean {
  if (typeof text !== "string") return false;
  const timeMs = Number(/^(\d{1,16})\.[0-9a-f]{64}$/.exec(text)?.[1] ?? NaN);
  if (!(Math.abs(Date.now() - timeMs) <= PROOF_AGE_MS_MAX)) return false;
  return timingSafeEqual(Buffer.from(text), Buffer.from(proofOf(secret, node, timeMs)));
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
  { searchParams }: URL,
  { maker, secret, journal }: SeedGiver,
  node: string,
): Promise<Answer> {
  if (!isProof(headers[PROOF_HEADER], secret, node)) {
    return { code: 403, body: "the secret of the cascade is another one, or a clock is wrong\n" };
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
