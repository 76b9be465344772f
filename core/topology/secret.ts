/**
 * Secrets, as the topology names their places.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";

/** Shorter secrets can be guessed from one recorded handshake. */
const SECRET_BYTES_MIN = 16;

/**
 * A secret as it was read from a file or the environment, without the line end that editors and
 * `echo` leave behind. `origin` is named when it is too short (`usage`); the secret never is.
 */
export function cleanSecret(bytes: Uint8Array, origin: string): Uint8Array {
  let end = bytes.length;
  while (end > 0 && (bytes[end - 1] === 0x0a || bytes[end - 1] === 0x0d)) end--;
  if (end >= SECRET_BYTES_MIN) return bytes.slice(0, end);
  throw new CascadeError(
    "usage",
    end === 0
      ? `the secret in ${origin} is empty`
      : `the secret in ${origin} has ${end} bytes; expected at least ${SECRET_BYTES_MIN}`,
    { hint: "Make one with: openssl rand -hex 32, in a file that you alone may read" },
  );
}
