/**
 * Asks a node for marks, and for exports of images of the past.
 *
 * @module
 */
import type * as z from "zod";
import { CascadeError } from "../core/errors.ts";
import {
  type MarkList,
  markListSchema,
  markSchema,
  viewSchema,
  type ViewStatus,
} from "../core/marks/apply_status.ts";
import type { Mark } from "../core/marks/mark_index.ts";
import type { AsOf } from "../core/marks/views.ts";
import { type AdminTarget, notDone, openAnswer, readBody, unreachable } from "./admin_client.ts";

/** Sets a mark at the primary. Throws `refused`, `unreachable`. */
export async function setMark(target: AdminTarget, name: string): Promise<Mark> {
  return await ask(target, "POST", `/mark?${new URLSearchParams({ name })}`, markSchema);
}

/** The marks in a node's log. Throws `refused`, `unreachable`. */
export async function listMarks(target: AdminTarget): Promise<MarkList> {
  return await ask(target, "GET", "/marks", markListSchema);
}

/** Opens an export; see {@linkcode Views.open}. Throws `refused`, `unreachable`. */
export async function openView(
  target: AdminTarget,
  asOf: AsOf,
  address: string | null,
  leaseMs: number | null,
): Promise<ViewStatus> {
  const query = new URLSearchParams(
    Object.entries(asOf).map(([key, value]) => [key, String(value)]),
  );
  if (address !== null) query.set("address", address);
  if (leaseMs !== null) query.set("leaseMs", String(leaseMs));
  return await ask(target, "POST", `/views?${query}`, viewSchema);
}

/** Says that it is still wanted. Throws `refused` when it was closed. */
export async function keepView(target: AdminTarget, id: string): Promise<ViewStatus> {
  return await ask(target, "POST", `/views/${encodeURIComponent(id)}/keep`, viewSchema);
}

/** Closes it. Throws `refused` when it is closed already. */
export async function closeView(target: AdminTarget, id: string): Promise<void> {
  const path = `/views/${encodeURIComponent(id)}/close`;
  const { code, body } = await send(target, "POST", path);
  if (code !== 204) throw notDone(target.address, code, body);
}

async function ask<T>(
  target: AdminTarget,
  method: "GET" | "POST",
  path: string,
  schema: z.ZodType<T>,
): Promise<T> {
  const { code, body } = await send(target, method, path);
  if (code !== 200) throw notDone(target.address, code, body);
  try {
    return schema.parse(JSON.parse(body));
  } catch (cause) {
    const where = { address: target.address };
    throw new CascadeError("protocol", "expected an answer, found something else", {
      where,
      cause,
    });
  }
}

async function send(
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
