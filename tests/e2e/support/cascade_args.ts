/**
 * How the end-to-end tests run the command line: with the permissions of the compiled program.
 *
 * @module
 */
import { PERMISSIONS, RUNTIME } from "../../../build/permissions.ts";

/** The command line; CASCADE_E2E_MOD names another file to be put to the same tests. */
const MOD = Deno.env.get("CASCADE_E2E_MOD") ??
  new URL("../../../mod.ts", import.meta.url).pathname;
const CONFIG = new URL("../../../deno.json", import.meta.url).pathname;

/** What to give Deno so that it runs the command line with `args`. */
export function cascadeArgs(...args: readonly string[]): string[] {
  return cascadeArgsWith(PERMISSIONS, ...args);
}

/** The same with other permissions. */
export function cascadeArgsWith(
  permissions: readonly string[],
  ...args: readonly string[]
): string[] {
  return ["run", ...permissions, ...RUNTIME, "--no-check", "--config", CONFIG, MOD, ...args];
}
