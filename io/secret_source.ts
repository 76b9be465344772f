/**
 * Secrets and tokens, from where the topology says.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { cleanSecret } from "../core/topology/secret.ts";
import type { SecretSource } from "../core/topology/topology.ts";
import { readPrivateFile } from "./private_file.ts";

/**
 * The bytes of a secret, from its file or variable, without a line end. Throws `topology`, also when others than the
 * owner may read the file.
 */
export function readSecret(source: SecretSource): Uint8Array {
  if (source.kind === "file") {
    const { path } = source;
    const file = { path, what: "secret", hint: "Copy it from the other nodes" };
    return cleanSecret(readPrivateFile(file), path);
  }
  const value = Deno.env.get(source.name);
  if (value === undefined) {
    throw new CascadeError("topology", `the variable ${source.name} is not set`, {
      hint: "The topology takes a secret from it",
    });
  }
  return cleanSecret(new TextEncoder().encode(value), `the variable ${source.name}`);
}

/** The text of an admin token; see {@linkcode readSecret}. */
export function readToken(source: SecretSource): string {
  return new TextDecoder().decode(readSecret(source));
}
