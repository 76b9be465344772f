/**
 * Asks the admin side of a node.
 *
 * @module
 */
import { CascadeError, isCascadeError } from "../core/errors.ts";
import type { LimitOverride } from "../core/link/line.ts";
import type { LineStatus, NodeStatus } from "../core/status.ts";
import type { Order } from "../core/tree/asks.ts";
import type { OrderProgress } from "../core/tree/order_progress.ts";
import type { TreeReport } from "../core/tree/tree_report.ts";
import { formatRate } from "../core/topology/units.ts";
import { parseSyncReport, type SyncOptions, type SyncReport } from "../core/sync_report.ts";
import type { VerifyReport } from "../core/verify_report.ts";
import { CONTROL_HEADER, NODE_HEADER } from "./admin_headers.ts";
import { AdminStream, NotConnected } from "./admin_stream.ts";
import { askHttp, type HttpAnswer } from "./http_answer.ts";

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
  /** Gives up, with its reason, when it is aborted. */
  readonly signal?: AbortSignal;
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
  // Large, and not needed by whoever only wants something done.
  const { nodeStatusSchema } = await import("../core/status.ts");
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
 * Limits a link at its upstream node, or (null) lets what its topology says hold again; returns what holds.
 * Throws like {@linkcode changeLink}.
 */
export async function limitLink(
  target: AdminTarget,
  link: string,
  limit: LimitOverride | null,
): Promise<LineStatus> {
  const rate = limit === null || limit.rate === null ? "none" : formatRate(limit.rate);
  const query = limit === null ? "" : `?bandwidth=${encodeURIComponent(rate)}`;
  const path = `/links/${encodeURIComponent(link)}/limit${query}`;
  const { code, body } = await request(target, "POST", path);
  if (code !== 200) throw notDone(target.address, code, body);
  const { lineStatusSchema } = await import("../core/status.ts");
  return readReport(lineStatusSchema, body, { address: target.address });
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
  return readReport({ parse: parseSyncReport }, body, where);
}

/**
 * Orders something of the tree from node `meant`, through whichever node answers at the target's address. Throws like
 * {@linkcode changeLink}, and `locked` while that node carries out another order.
 */
export async function orderTree(
  target: AdminTarget,
  meant: string,
  order: Order,
): Promise<TreeReport> {
  const query = new URLSearchParams({ node: meant });
  if (order.dryRun) query.set("dryRun", "1");
  if (order.order === "promote") {
    if (order.force) query.set("force", "1");
    for (const [key, value] of Object.entries(order.at ?? {})) query.set(key, String(value));
  }
  if (order.order === "migrate") query.set("timeoutMs", String(order.timeoutMs));
  if (order.order === "reparent") query.set("to", order.to);
  const { code, body } = await request(target, "POST", `/${order.order}?${query}`);
  const where = { address: target.address };
  if (code === 423) throw new CascadeError("locked", body.trim(), { where, retryable: true });
  if (code !== 200) throw notDone(target.address, code, body);
  const { treeReportSchema } = await import("../core/tree/tree_report.ts");
  return readReport(treeReportSchema, body, where);
}

/**
 * How far the order is that was given to node `meant`, asked through whichever node answers at the target's address; null:
 * none, or nobody can tell. Throws like {@linkcode changeLink}.
 */
export async function fetchProgress(
  target: AdminTarget,
  meant: string,
): Promise<OrderProgress | null> {
  const { code, body } = await fetchPage(target, `/order?${new URLSearchParams({ node: meant })}`);
  if (code !== 200) return null;
  const { orderProgressSchema } = await import("../core/tree/order_progress.ts");
  return readReport(orderProgressSchema.nullable(), body, { address: target.address });
}

/** What reads a report of one kind. Throws when it is none. */
interface Reader<T> {
  parse(value: unknown): T;
}

function readReport<T>(schema: Reader<T>, body: string, where: { address: string }): T {
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
  const { verifyReportSchema } = await import("../core/verify_report.ts");
  return readReport(verifyReportSchema, body, where);
}

/** Why a node did not do what it was asked. */
export function notDone(address: string, code: number, body: string): CascadeError {
  const where = { address };
  const told = body.trim() || `HTTP ${code}`;
  if (code === 401) return wrongToken(where);
  if (code === 421) return new CascadeError("unreachable", `it is another one: ${told}`, { where });
  if (code === 504) return new CascadeError("unreachable", told, { where });
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

async function request(
  target: AdminTarget,
  method: "GET" | "POST",
  path: string,
): Promise<{ code: number; body: string }> {
  const answer = await openAnswer(target, method, path);
  try {
    return { code: answer.response.status, body: await readBody(answer.response) };
  } catch (error) {
    throw unreachable(target.address, error);
  } finally {
    answer.close();
  }
}

/** An answer of which the body is yet to come, within the time that the whole may take. */
export interface OpenAnswer {
  readonly response: HttpAnswer;
  /** Breaks off what did not come yet. */
  close(): void;
}

/** Asks, and returns once the answer has begun. Throws `unreachable`, `bad-address`. */
export async function openAnswer(
  target: AdminTarget,
  method: "GET" | "POST",
  path: string,
  headers: Readonly<Record<string, string>> = {},
): Promise<OpenAnswer> {
  const stop = new AbortController();
  const late = () => stop.abort(new Error(`no answer within ${target.timeoutMs / 1000} s`));
  const timer = setTimeout(late, target.timeoutMs);
  const signal = target.signal === undefined
    ? stop.signal
    : AbortSignal.any([stop.signal, target.signal]);
  let stream: AdminStream | null = null;
  const close = () => {
    clearTimeout(timer);
    stream?.close();
  };
  try {
    stream = await AdminStream.connect(target.address, signal);
    const response = await askHttp(stream, {
      method,
      path,
      headers: {
        ...(target.node === undefined ? {} : { [NODE_HEADER]: target.node }),
        ...(method === "POST" ? { [CONTROL_HEADER]: "1" } : {}),
        ...(target.token === null ? {} : { authorization: `Bearer ${target.token}` }),
        ...headers,
      },
    });
    return { response, close };
  } catch (error) {
    close();
    throw unreachable(target.address, error);
  }
}

/** The whole body of an answer. Throws when it is too long, or breaks off. */
export async function readBody({ body }: HttpAnswer): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > ANSWER_BYTES_MAX) throw new Error("the answer has no end");
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** Whether nobody took the question: no connection was made, or it led to another node. */
export function wasNeverAsked(error: unknown): boolean {
  if (!isCascadeError(error, "unreachable")) return false;
  return error.cause === undefined || error.cause instanceof NotConnected;
}

/** Nobody answers, or what told it. */
export function unreachable(address: string, error: unknown): CascadeError {
  if (isCascadeError(error)) return error;
  return new CascadeError(
    "unreachable",
    `nobody answers: ${error instanceof Error ? error.message : String(error)}`,
    {
      where: { address },
      retryable: true,
      cause: error,
    },
  );
}
