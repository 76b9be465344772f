/**
 * Assertions that stay on: a broken invariant stops the node before it harms the data.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";

/** Throws a `bug` error unless `condition` holds. Message only, so that the hot path stays cheap. */
export function assert(condition: boolean, message: string): asserts condition {
  if (!condition) throw new CascadeError("bug", `invariant broken: ${message}`);
}

/** Closes a switch over a union: the compiler proves that it is never called. */
export function unreachable(value: never): never {
  throw new CascadeError("bug", `unreachable: ${String(value)}`);
}
