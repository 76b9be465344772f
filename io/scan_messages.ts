/**
 * What is said between the program and the workers that hash a volume. Each question but `open` is
 * answered once, in order.
 *
 * @module
 */
import type { ErrorCode } from "../core/errors.ts";
import type { Bytes } from "../core/ports.ts";

/** To a worker; `open` is the first, `close` the last. */
export type ToWorker =
  | {
    readonly kind: "open";
    readonly path: string;
    readonly seed: Bytes;
    readonly blockBytes: number;
  }
  | { readonly kind: "hash"; readonly offset: number; readonly length: number }
  | { readonly kind: "close" };

/** From a worker; the digests are empty in answer to `close`. */
export type FromWorker =
  | { readonly kind: "done"; readonly digests: Bytes }
  | { readonly kind: "failed"; readonly error: ErrorFields };

/** An error as it travels: classes do not. */
export interface ErrorFields {
  readonly code: ErrorCode;
  readonly message: string;
  readonly where: Readonly<Record<string, string | number>>;
  readonly hint: string | undefined;
  readonly retryable: boolean;
}
