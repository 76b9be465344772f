/**
 * From what the runtime throws for a file to the family of errors.
 *
 * @module
 */
import { CascadeError, isCascadeError } from "../core/errors.ts";

/** The error code of the system (`ENOSPC`) that a thrown thing carries, if it does. */
export function systemCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

const HINTS: Readonly<Record<string, string>> = {
  EACCES: "Give this user the right to it, or run as one who has it.",
  EPERM: "Give this user the right to it, or run as one who has it.",
  EROFS: "It lies on a file system that is mounted read-only.",
  EMFILE: "Raise the limit of open files (ulimit -n).",
  ENFILE: "Raise the system's limit of open files.",
  EEXIST: "A file of that name is in the way.",
  ENOTDIR: "A file is in the way where a folder should be.",
  EBUSY: "Another program uses it: unmount it or stop that program.",
};

/** The runtime opens devices only for a program that may do everything; the README says more. */
const NOT_CAPABLE_HINT =
  "This binary has permissions for files alone: block devices need the one that " +
  "`deno task compile-devices` makes (cascade-devices).";

/**
 * Turns what a file operation threw into a {@linkcode CascadeError}: `disk-full`, `not-found` or
 * `disk-failed`, with the path and, when there is one, the offset.
 */
export function diskError(
  error: unknown,
  operation: string,
  path: string,
  offset?: number,
): CascadeError {
  if (isCascadeError(error)) return error;
  const code = systemCode(error);
  const where = offset === undefined ? { path } : { path, offset };
  const reason = error instanceof Error ? error.message : String(error);
  const text = `cannot ${operation}: ${reason}`;
  // Errors of raw calls come without a code, but with the system's number in the text.
  if (code === "ENOSPC" || code === "EDQUOT" || /os error (28|122)\)/.test(reason)) {
    return new CascadeError("disk-full", text, {
      where,
      hint: "Make room on that disk.",
      retryable: true,
      cause: error,
    });
  }
  if (code === "ENOENT" || code === "ENOTDIR") {
    return new CascadeError("not-found", text, { where, cause: error });
  }
  const hint = error instanceof Deno.errors.NotCapable
    ? NOT_CAPABLE_HINT
    : code === undefined
    ? undefined
    : HINTS[code];
  return new CascadeError("disk-failed", text, {
    where,
    cause: error,
    ...(hint === undefined ? {} : { hint }),
  });
}
