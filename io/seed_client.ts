/**
 * Asks a node for a seed file; see admin_seed.ts.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { StagedMessage } from "../core/link/messages.ts";
import {
  type AdminTarget,
  notDone,
  type OpenAnswer,
  openAnswer,
  readBody,
  unreachable,
} from "./admin_client.ts";
import {
  BYTES_HEADER,
  NONCE_HEADER,
  PROOF_HEADER,
  proofOf,
  RESUMES_HEADER,
  stagedQuery,
} from "./admin_seed.ts";

/** What takes the file as it comes. */
export interface SeedTaker {
  /** The node gives it: all of it, or what is missing. `bytesExpected`: of the body in all. */
  onBegin(resumes: boolean, bytesExpected: number): void;
  onBytes(bytes: Uint8Array): void;
}

/**
 * Has the node give a seed file, or what is missing of one; settles at its end. Throws `unreachable`, `refused`,
 * `protocol`, `connection-lost` when it broke off (also by the target's signal), and what the taker throws.
 */
export async function fetchSeed(
  target: AdminTarget & { readonly node: string },
  secret: Uint8Array,
  staged: StagedMessage | null,
  taker: SeedTaker,
): Promise<void> {
  const { node, address } = target;
  const path = `/seed${stagedQuery(staged)}`;
  const nonce = await nonceOf(target, path);
  const proof = { [PROOF_HEADER]: proofOf(secret, node, nonce, path) };
  const answer = await openAnswer(target, "POST", path, proof);
  try {
    const { status, headers } = answer.response;
    if (status !== 200) throw notDone(address, status, await bodyOf(answer, address));
    taker.onBegin(headers.get(RESUMES_HEADER) === "1", Number(headers.get(BYTES_HEADER) ?? 0));
    await take(answer, taker);
  } finally {
    answer.close();
  }
}

/** What the node wants to see in the proof. */
async function nonceOf(target: AdminTarget, path: string): Promise<string> {
  const { address } = target;
  const answer = await openAnswer(target, "POST", path);
  try {
    const { status, headers } = answer.response;
    const nonce = headers.get(NONCE_HEADER);
    if (status === 403 && nonce !== undefined) return nonce;
    if (status === 405 || status === 404 || status === 403) {
      throw new CascadeError("refused", "the node makes no seeds", {
        where: { address },
        hint: "Does it run another version of Cascade?",
      });
    }
    throw notDone(address, status, await bodyOf(answer, address));
  } finally {
    answer.close();
  }
}

async function bodyOf({ response }: OpenAnswer, address: string): Promise<string> {
  try {
    return await readBody(response);
  } catch (error) {
    throw unreachable(address, error);
  }
}

/** Only the stream tells its end: whether the file is whole, its footer does. */
async function take({ response }: OpenAnswer, taker: SeedTaker): Promise<void> {
  try {
    for await (const chunk of response.body) taker.onBytes(chunk);
  } catch (cause) {
    if (cause instanceof CascadeError) throw cause;
    throw new CascadeError("connection-lost", "the node broke off", {
      hint: "Its journal says why. Run the same command again to go on.",
      retryable: true,
      cause,
    });
  }
}
