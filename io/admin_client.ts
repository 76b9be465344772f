/**
 * Asks the admin side of a node.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import { type IncomingMessage, request as open, type RequestOptions } from "node:http";
import type { z } from "zod";
import { CascadeError, isCascadeError } from "../core/errors.ts";
import { type NodeStatus, nodeStatusSchema } from "../core/status.ts";
import { type SyncOptions, type SyncReport, syncReportSchema } from "../core/sync_report.ts";
import { type VerifyReport, verifyReportSchema } from "../core/verify_report.ts";
import { parseAdminAddress } from "./address.ts";
import { CONTROL_HEADER, NODE_HEADER } from "./admin_control.ts";

/** The status of a node with as many links as a topology may have stays far below. */
const ANSWER_BYTES_MAX = 16 * 1024 * 1024;

/** Whom to ask. */
export interface AdminTarget {
  /** No other node shall take a change that is meant for this one. */
  readonly node?: string;
  /** `http://host:port` or `unix:/path`. */
  readonly address: string;
  readonly token: string | null;
  /** {@linkcode TIMEOUT_NEVER_MS} at most. */
  readonly timeoutMs: number;
}

/** The longest that a timer takes: more than three weeks. */
export const TIMEOUT_NEVER_MS = 2 ** 31 - 1;

/**
 * Asks for the status of a node. Throws `unreachable` when nobody answers in time, `refused` when the token
 * is not taken, `protocol` when the answer is none, `bad-address`.
 */
export async function fetchStatus(target: AdminTarget): Promise<NodeStatus> {
  const { code, body } = await fetchPage(target, "/status");
  const where = { address: target.address };
  if (code === 401) throw wrongToken(where);
  if (code !== 200) {
    throw new CascadeError("protocol", `expected a status, found HTTP ${code}`, { where });
  }
  try {
    return nodeStatusSchema.parse(JSON.parse(body));
  } catch (cause) {
    throw new CascadeError("protocol", "expected a status, found something else", {
      where,
      hint: "Does a node of another version, or another program, listen there?",
      cause,
    });
  }
}

function wrongToken(where: { readonly address: string }): CascadeError {
  return new CascadeError("refused", "the node wants another token", {
    where,
    hint: "Use the topology that the node runs on.",
  });
}

/**
 * Pauses or resumes a link at a node. Throws `unreachable`, `bad-address`, `refused` with what the node
 * answered, `protocol` when the answer is none of these.
 */
export async function changeLink(
  target: AdminTarget,
  link: string,
  change: { readonly pause: { readonly reason: string | null } } | "resume",
): Promise<void> {
  const path = `/links/${encodeURIComponent(link)}`;
  const reason = change === "resume" ? null : change.pause.reason;
  const query = reason === null ? "" : `?reason=${encodeURIComponent(reason)}`;
  const { code, body } = await request(
    target,
    "POST",
    `${path}/${change === "resume" ? "resume" : `pause${query}`}`,
  );
  if (code !== 204) throw notDone(target.address, code, body);
}

/**
 * Has a node sync `links` (null: all to nodes below), and settles when it is over. Throws like
 * {@linkcode changeLink}, and `locked` when a sync runs there already.
 */
export async function syncNode(
  target: AdminTarget,
  links: readonly string[] | null,
  { dryRun, full }: SyncOptions,
): Promise<SyncReport> {
  const query = new URLSearchParams((links ?? []).map((link) => ["link", link]));
  if (dryRun) query.set("dryRun", "1");
  if (full) query.set("full", "1");
  const { code, body } = await request(target, "POST", `/sync?${query}`);
  const where = { address: target.address };
  if (code === 423) throw new CascadeError("locked", body.trim(), { where, retryable: true });
  if (code === 405) {
    throw new CascadeError("refused", "the node does not sync on request", {
      where,
      hint: "Does it run another version of Cascade?",
    });
  }
  if (code !== 200) throw notDone(target.address, code, body);
  return readReport(syncReportSchema, body, where);
}

function readReport<T>(schema: z.ZodType<T>, body: string, where: { address: string }): T {
  try {
    return schema.parse(JSON.parse(body));
  } catch (cause) {
    throw new CascadeError("protocol", "expected a report, found something else", { where, cause });
  }
}

/**
 * Has a node compare the ends of a link, and with `repair` mend the lower one; settles when it is over.
 * Throws like {@linkcode changeLink}, `locked` when it does so already, `unreachable` when its peer is.
 */
export async function verifyLink(
  target: AdminTarget,
  link: string,
  repair: boolean,
): Promise<VerifyReport> {
  const query = new URLSearchParams({ link, ...(repair ? { repair: "1" } : {}) });
  const { code, body } = await request(target, "POST", `/verify?${query}`);
  const where = { address: target.address };
  if (code === 423) throw new CascadeError("locked", body.trim(), { where, retryable: true });
  if (code === 504) throw new CascadeError("unreachable", body.trim(), { where, retryable: true });
  if (code !== 200) throw notDone(target.address, code, body);
  return readReport(verifyReportSchema, body, where);
}

/** Why a node did not do what it was asked. */
function notDone(address: string, code: number, body: string): CascadeError {
  const where = { address };
  const told = body.trim() || `HTTP ${code}`;
  if (code === 401) return wrongToken(where);
  if (code === 421) return new CascadeError("unreachable", `it is another one: ${told}`, { where });
  if (code >= 400 && code < 500) return new CascadeError("refused", told, { where });
  return new CascadeError("protocol", `the node could not: ${told}`, { where });
}

/** Asks for one page of the admin side. Throws `unreachable` or `bad-address`. */
export function fetchPage(
  target: AdminTarget,
  path: string,
): Promise<{ code: number; body: string }> {
  return request(target, "GET", path);
}

function request(
  target: AdminTarget,
  method: "GET" | "POST",
  path: string,
): Promise<{ code: number; body: string }> {
  const options: RequestOptions = {
    ...endpoint(target.address),
    path,
    method,
    agent: false,
    headers: {
      ...(target.node === undefined ? {} : { [NODE_HEADER]: target.node }),
      ...(method === "POST" ? { [CONTROL_HEADER]: "1", "content-length": "0" } : {}),
      host: "localhost",
      connection: "close",
      ...(target.token === null ? {} : { authorization: `Bearer ${target.token}` }),
    },
  };
  return new Promise((resolve, reject) => {
    const fail = (error: unknown) => {
      clearTimeout(timer);
      request.destroy();
      reject(unreachable(target.address, error));
    };
    const late = () => fail(new Error(`no answer within ${target.timeoutMs / 1000} s`));
    const timer = setTimeout(late, target.timeoutMs);
    const request = open(options, (response) => {
      readBody(response).then((body) => {
        clearTimeout(timer);
        resolve({ code: response.statusCode ?? 0, body });
      }, fail);
    });
    request.on("error", fail);
    request.end();
  });
}

function endpoint(address: string): RequestOptions {
  const parsed = parseAdminAddress(address);
  if (parsed.scheme === "unix") return { socketPath: parsed.path };
  return { host: parsed.host, port: parsed.port };
}

function readBody(response: IncomingMessage): Promise<string> {
  return new Promise((resolve, reject) => {
    const chunks: Uint8Array[] = [];
    let bytes = 0;
    response.on("data", (chunk: Uint8Array) => {
      bytes += chunk.length;
      if (bytes > ANSWER_BYTES_MAX) reject(new Error("the answer has no end"));
      else chunks.push(chunk);
    });
    response.on("end", () => resolve(Buffer.concat(chunks).toString("utf8")));
    response.on("error", reject);
    response.on("aborted", () => reject(new Error("the answer broke off")));
  });
}

function unreachable(address: string, error: unknown): CascadeError {
  if (isCascadeError(error)) return error;
  const reason = error instanceof Error ? error.message : String(error);
  return new CascadeError("unreachable", `nobody answers: ${reason}`, {
    where: { address },
    retryable: true,
    cause: error,
  });
}
