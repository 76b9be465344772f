/**
 * Asks a node for a seed file; see admin_seed.ts.
 *
 * @module
 */
import { type IncomingMessage, request as open } from "node:http";
import { CascadeError } from "../core/errors.ts";
import type { StagedMessage } from "../core/link/messages.ts";
import { type AdminTarget, endpoint, notDone, readBody, unreachable } from "./admin_client.ts";
import { CONTROL_HEADER, NODE_HEADER } from "./admin_control.ts";
import { BYTES_HEADER, PROOF_HEADER, proofOf, RESUMES_HEADER, stagedQuery } from "./admin_seed.ts";

/** What takes the file as it comes. */
export interface SeedTaker {
  /** The node gives it: all of it, or what is missing. `bytesExpected`: of the body in all. */
  onBegin(resumes: boolean, bytesExpected: number): void;
  onBytes(bytes: Uint8Array): void;
  /** Asked now and then: true breaks it off. */
  stopped(): boolean;
}

/**
 * Has the node give a seed file, or what is missing of one. Returns whether it came to its end: false when
 * `stopped` said so. Throws `unreachable`, `refused`, `protocol`, `connection-lost` when it broke off, and
 * what the taker throws.
 */
export async function fetchSeed(
  target: AdminTarget & { readonly node: string },
  secret: Uint8Array,
  staged: StagedMessage | null,
  taker: SeedTaker,
): Promise<boolean> {
  const response = await ask(target, secret, staged);
  const code = response.statusCode ?? 0;
  if (code === 405 || code === 404) {
    response.destroy();
    throw new CascadeError("refused", "the node makes no seeds", {
      where: { address: target.address },
      hint: "Does it run another version of Cascade?",
    });
  }
  if (code !== 200) throw notDone(target.address, code, await readBody(response));
  const { headers } = response;
  taker.onBegin(headers[RESUMES_HEADER] === "1", Number(headers[BYTES_HEADER] ?? 0));
  return await take(response, taker);
}

function ask(
  target: AdminTarget & { readonly node: string },
  secret: Uint8Array,
  staged: StagedMessage | null,
): Promise<IncomingMessage> {
  const { node, address, token } = target;
  return new Promise((resolve, reject) => {
    const request = open({
      ...endpoint(address),
      path: `/seed${stagedQuery(staged)}`,
      method: "POST",
      agent: false,
      headers: {
        [NODE_HEADER]: node,
        [CONTROL_HEADER]: "1",
        [PROOF_HEADER]: proofOf(secret, node, Date.now()),
        "content-length": "0",
        host: "localhost",
        connection: "close",
        ...(token === null ? {} : { authorization: `Bearer ${token}` }),
      },
    }, resolve);
    request.on("error", (error) => reject(unreachable(address, error)));
    request.end();
  });
}

/** Only the stream tells its end: whether the file is whole, its footer does. */
async function take(response: IncomingMessage, taker: SeedTaker): Promise<boolean> {
  try {
    for await (const chunk of response) {
      if (taker.stopped()) return false;
      taker.onBytes(chunk);
    }
    return true;
  } catch (cause) {
    if (cause instanceof CascadeError) throw cause;
    throw new CascadeError("connection-lost", "the node broke off", {
      hint: "Its journal says why. Run the same command again to go on.",
      retryable: true,
      cause,
    });
  } finally {
    response.destroy();
  }
}
