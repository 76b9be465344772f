/**
 * The family of errors: one class, a closed union of codes. Callers match codes, never text.
 *
 * @module
 */

/** Every way in which Cascade can fail. */
export type ErrorCode =
  // The disk.
  | "disk-full"
  | "disk-failed"
  | "not-found"
  | "locked"
  // The log and the node's folder.
  | "log-corrupt"
  | "log-gone"
  | "log-full"
  | "state-corrupt"
  | "wrong-folder"
  | "wrong-volume"
  // The network and the link protocol.
  | "unreachable"
  | "address-in-use"
  | "bad-address"
  | "connection-lost"
  | "timed-out"
  | "protocol"
  | "refused"
  // A command of the operator's.
  | "hook-failed"
  // The user's input.
  | "usage"
  | "topology"
  // The service to clients.
  | "not-primary"
  | "sync-peer-lost"
  | "stopping"
  // A broken invariant.
  | "bug";

/** What is known of an error beside its message. */
export interface ErrorDetails {
  /** Where: file, offset, LSN, node, link: whatever places it. */
  readonly where?: Readonly<Record<string, string | number>>;
  /** What to do about it, as an imperative sentence. */
  readonly hint?: string;
  /** Whether trying again later can help. */
  readonly retryable?: boolean;
  readonly cause?: unknown;
}

/** The one error class of Cascade. The message says what was found and what was expected. */
export class CascadeError extends Error {
  readonly code: ErrorCode;
  readonly where: Readonly<Record<string, string | number>>;
  readonly hint: string | undefined;
  readonly retryable: boolean;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = "CascadeError";
    this.code = code;
    this.where = details.where ?? {};
    this.hint = details.hint;
    this.retryable = details.retryable ?? false;
  }
}

/** Whether `error` is a {@linkcode CascadeError} (with this code, when one is given). */
export function isCascadeError(error: unknown, code?: ErrorCode): error is CascadeError {
  return error instanceof CascadeError && (code === undefined || error.code === code);
}

/** Any thrown thing as one line for a person: message, place and hint. */
export function describeError(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  if (!(error instanceof CascadeError)) return error.message;
  const where = Object.entries(error.where).map(([key, value]) => `${key} ${value}`).join(", ");
  return error.message + (where === "" ? "" : ` (${where})`) +
    (error.hint === undefined ? "" : `. ${error.hint}`);
}
