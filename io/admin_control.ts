/**
 * What the admin side of a node can change: links are paused and resumed, and synced on request.
 *
 *     POST /links/NAME/pause?reason=TEXT
 *     POST /links/NAME/resume                        204 when it is durable, else why not
 *     POST /links/NAME/limit?bandwidth=RATE          200 and the `line` of its status; none: no limit; left
 *                                                    out: what the topology says holds again
 *     POST /sync?link=NAME&link=NAME&dryRun=1&full=1 200 and a report (core/sync_report.ts) at the end
 *     POST /verify?link=NAME&repair=1                200 and a report (core/verify_report.ts) at the end
 *     POST /promote?node=NAME&dryRun=1&force=1       200 and a report (core/tree/tree_report.ts) at the end;
 *                                                    with &mark=NAME, &lsn=N or &timeMs=N as of that
 *     POST /migrate?node=NAME&dryRun=1&timeoutMs=N   the same; `node`: which one is meant, if not this one
 *     POST /reparent?node=NAME&to=NAME&dryRun=1
 *     POST /resolve?node=NAME&dryRun=1
 *     POST /write?node=NAME                          the roles and links as they are, into the topology files
 *     POST /seed                                     a seed file: admin_seed.ts
 *
 * Every request bears the header `cascade-control: 1`, which no web page can send to another site
 * without asking first.
 *
 * @module
 */
import type { IncomingHttpHeaders } from "node:http";
import * as z from "zod";
import { describeError, isCascadeError } from "../core/errors.ts";
import type { LimitOverride } from "../core/link/line.ts";
import type { LineStatus } from "../core/status.ts";
import { parseLimit } from "../core/topology/line_scalars.ts";
import { type Order, orderSchema } from "../core/tree/asks.ts";
import type { OrderProgress } from "../core/tree/order_progress.ts";
import type { TreeReport } from "../core/tree/tree_report.ts";
import { asOf } from "./admin_marks.ts";
import type { SyncRunner } from "../core/sync_report.ts";
import type { Verifier } from "../core/verify_report.ts";
import type { Bytes } from "../core/ports.ts";
import { CONTROL_HEADER, NODE_HEADER } from "./admin_headers.ts";
import { answerMarks, isMarksChange, type MarksGiver } from "./admin_marks.ts";
import { answerSeed, type SeedGiver } from "./admin_seed.ts";

/** Pauses and limits of links. A change settles when it is durable, or throws why not. */
export interface AdminControl {
  pause(link: string, reason: string | null): Promise<void>;
  resume(link: string): Promise<void>;
  /** Null: what the topology says holds again. Throws `not-found`, `usage`. */
  limit(link: string, limit: LimitOverride | null): Promise<LineStatus>;
  /** `target`: the node that is meant; null: this one. Throws `not-found`, `usage`, `refused`, ... */
  order(target: string | null, order: Order): Promise<TreeReport>;
  /** How far the order is that the node that is meant carries out; null: none. Throws like `order`. */
  progress(target: string | null): Promise<OrderProgress | null>;
}

/** What can be changed, as far as the node lets it. */
export interface Controls {
  readonly control?: AdminControl;
  readonly sync?: SyncRunner;
  readonly verify?: Verifier;
  readonly seeds?: SeedGiver;
  readonly marks?: MarksGiver;
}

/** What is answered to a request. */
export interface Answer {
  readonly code: number;
  readonly body: string;
  readonly type?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** Writes the body, in place of `body`; if it throws, the answer breaks off. */
  stream?(write: (bytes: Bytes) => Promise<void>): Promise<void>;
}

const ORDER_PATHS: readonly string[] = ["/promote", "/migrate", "/reparent", "/resolve", "/write"];
/** How long a hand-over may take to catch up when nothing else is said, ms. */
const MIGRATE_MS = 600_000;

/** Whether a request for `url` is meant to change something that can be changed here. */
export function isControlUrl(
  url: string,
  { control, sync, verify, seeds, marks }: Controls,
): boolean {
  if (url.startsWith("/links/")) return control !== undefined;
  const path = url.split("?", 1)[0] ?? "";
  if (ORDER_PATHS.includes(path)) return control !== undefined;
  if (path === "/seed") return seeds !== undefined;
  if (isMarksChange(path ?? "")) return marks !== undefined;
  return (path === "/sync" && sync !== undefined) || (path === "/verify" && verify !== undefined);
}

/** Acts on a request for a `target` that {@linkcode isControlUrl}; `node` is the name of this one. */
export async function actOn(
  target: string,
  headers: IncomingHttpHeaders,
  controls: Controls,
  node: string,
): Promise<Answer> {
  if (headers[CONTROL_HEADER] !== "1") {
    return { code: 403, body: `A change needs the header ${CONTROL_HEADER}: 1\n` };
  }
  // An address such as 127.0.0.1 leads to another node on every host.
  const meant = headers[NODE_HEADER];
  if (meant !== undefined && meant !== node) {
    return { code: 421, body: `node ${node} answers here\n` };
  }
  const url = new URL(target, "http://localhost");
  try {
    if (url.pathname === "/sync") return await sync(url, controls);
    if (url.pathname === "/verify") return await verify(url, controls);
    if (ORDER_PATHS.includes(url.pathname)) return await order(url, controls);
    if (url.pathname === "/seed" && controls.seeds !== undefined) {
      return await answerSeed(headers, url, controls.seeds, node);
    }
    if (isMarksChange(url.pathname) && controls.marks !== undefined) {
      return await answerMarks(url, controls.marks);
    }
    return await change(url, controls);
  } catch (error) {
    const body = `${describeError(error)}\n`;
    if (isCascadeError(error, "not-found")) return { code: 404, body };
    if (isCascadeError(error, "usage") || isCascadeError(error, "refused")) {
      return { code: 409, body };
    }
    if (isCascadeError(error, "locked")) return { code: 423, body };
    if (isCascadeError(error, "timed-out")) return { code: 504, body };
    if (isCascadeError(error, "unreachable") || isCascadeError(error, "connection-lost")) {
      return { code: 504, body };
    }
    throw error;
  }
}

/** Acts on `/links/NAME/pause`, `resume` and `limit`. */
async function change({ pathname, searchParams }: URL, { control }: Controls): Promise<Answer> {
  const match = /^\/links\/([^/]+)\/(pause|resume|limit)$/.exec(pathname);
  if (match === null || control === undefined) {
    return { code: 404, body: "There is /links/NAME/pause, resume and limit.\n" };
  }
  const link = decodeURIComponent(match[1]!);
  if (match[2] === "limit") return await limit(link, searchParams.get("bandwidth"), control);
  if (match[2] === "pause") await control.pause(link, searchParams.get("reason"));
  else await control.resume(link);
  return { code: 204, body: "" };
}

async function limit(
  link: string,
  text: string | null,
  control: AdminControl,
): Promise<Answer> {
  const parsed = text === null ? null : parseLimit(text);
  if (text !== null && parsed === null) return { code: 400, body: "A rate is such as 5MiB/s.\n" };
  const body = JSON.stringify(await control.limit(link, parsed)) + "\n";
  return { code: 200, body, type: "application/json" };
}

/** Acts on `/sync`; a client that goes away meanwhile does not end it. */
async function sync({ searchParams }: URL, { sync: runner }: Controls): Promise<Answer> {
  if (runner === undefined) return { code: 404, body: "This node does not sync on request.\n" };
  const links = searchParams.getAll("link");
  const report = await runner.sync(links.length === 0 ? null : links, {
    dryRun: searchParams.get("dryRun") === "1",
    full: searchParams.get("full") === "1",
  });
  return { code: 200, body: JSON.stringify(report) + "\n", type: "application/json" };
}

/** Acts on `/verify`; a client that goes away meanwhile does not end it. */
async function verify({ searchParams }: URL, { verify: verifier }: Controls): Promise<Answer> {
  const link = searchParams.get("link");
  if (verifier === undefined || link === null) return { code: 404, body: "Name a link.\n" };
  const report = await verifier.verify(link, searchParams.get("repair") === "1");
  return { code: 200, body: JSON.stringify(report) + "\n", type: "application/json" };
}

/** Acts on what is ordered of the tree; a client that goes away meanwhile does not end it. */
async function order({ pathname, searchParams }: URL, { control }: Controls): Promise<Answer> {
  if (control === undefined) return { code: 404, body: "This node takes no orders.\n" };
  const parsed = orderSchema.safeParse({
    order: pathname.slice(1),
    dryRun: searchParams.get("dryRun") === "1",
    force: searchParams.get("force") === "1",
    at: asOf(searchParams),
    to: searchParams.get("to"),
    timeoutMs: Number(searchParams.get("timeoutMs") ?? MIGRATE_MS),
  });
  if (!parsed.success) return { code: 400, body: `${z.prettifyError(parsed.error)}\n` };
  const report = await control.order(searchParams.get("node"), parsed.data);
  return { code: 200, body: JSON.stringify(report) + "\n", type: "application/json" };
}

/** Answers how far the order is that was given to `node`: GET `/order`. */
export async function answerProgress(node: string | null, control: AdminControl): Promise<Answer> {
  try {
    const body = JSON.stringify(await control.progress(node)) + "\n";
    return { code: 200, body, type: "application/json" };
  } catch (error) {
    if (!isCascadeError(error)) throw error;
    return { code: 504, body: `${describeError(error)}\n` };
  }
}
