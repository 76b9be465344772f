/**
 * Marks, and exports of images of the past, over the admin side: what `cascade mark`, `marks` and `export` ask.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { MarkList, ViewStatus } from "../core/marks/apply_status.ts";
import type { Mark } from "../core/marks/mark_index.ts";
import type { AsOf } from "../core/marks/views.ts";
import type { Answer } from "./admin_control.ts";

/** A lease may not be shorter: a request may take that long. */
const LEASE_MS_MIN = 5_000;

/** What a node does about marks. */
export interface MarksKeeper {
  set(name: string): Promise<Mark>;
  list(): MarkList;
  readonly views: {
    open(asOf: AsOf, address: string | null, leaseMs: number | null): Promise<ViewStatus>;
    keep(id: string): ViewStatus;
    close(id: string): void;
  };
}

/** The node that runs now. */
export type MarksGiver = () => MarksKeeper;

/** Answers `GET /marks`. */
export function listMarks(marks: MarksGiver): Answer {
  return json(marks().list());
}

/** Whether a path is one for {@linkcode answerMarks}. */
export function isMarksChange(path: string): boolean {
  return path === "/mark" || path === "/views" || path.startsWith("/views/");
}

/** Acts on `/mark?name=`, `/views?...`, `/views/ID/keep` and `/views/ID/close`. */
export async function answerMarks(
  { pathname, searchParams }: URL,
  give: MarksGiver,
): Promise<Answer> {
  const marks = give();
  if (pathname === "/mark") return json(await marks.set(searchParams.get("name") ?? ""));
  if (pathname === "/views") {
    const lease = searchParams.get("leaseMs");
    const leaseMs = lease === null ? null : Math.max(LEASE_MS_MIN, number(lease, "leaseMs"));
    const image = asOf(searchParams);
    if (image === null) {
      throw new CascadeError("usage", "an export is as of a mark, an lsn or a timeMs");
    }
    return json(await marks.views.open(image, searchParams.get("address"), leaseMs));
  }
  const match = /^\/views\/([0-9a-f]+)\/(keep|close)$/.exec(pathname);
  if (match === null) return { code: 404, body: "There is /views/ID/keep and close.\n" };
  const id = match[1] ?? "";
  if (match[2] === "keep") return json(marks.views.keep(id));
  marks.views.close(id);
  return { code: 204, body: "" };
}

/** Which image is meant; null: nothing is said of it. Throws `usage`. */
export function asOf(query: URLSearchParams): AsOf | null {
  const [mark, lsn, timeMs] = ["mark", "lsn", "timeMs"].map((key) => query.get(key));
  if (mark !== null && mark !== undefined) return { mark };
  if (lsn !== null && lsn !== undefined) return { lsn: number(lsn, "lsn") };
  if (timeMs !== null && timeMs !== undefined) return { timeMs: number(timeMs, "timeMs") };
  return null;
}

function number(text: string, what: string): number {
  const value = /^\d{1,16}$/.test(text) ? Number(text) : NaN;
  if (Number.isSafeInteger(value)) return value;
  throw new CascadeError("usage", `${what} is "${text}"`, { hint: "Give a whole number" });
}

function json(value: unknown): Answer {
  return { code: 200, body: JSON.stringify(value) + "\n", type: "application/json" };
}
