/**
 * Makes the binary of what `deno task bundle` has left in dist/js. What is given is passed on to `deno compile`
 * (`--target aarch64-unknown-linux-gnu`); `--devices` first makes the one that opens block devices.
 *
 * @module
 */
import { PERMISSIONS, PERMISSIONS_DEVICES, RUNTIME } from "./permissions.ts";

/** What `deno` is called with. Each target and kind has a file name of its own. */
export function compileArgs(args: readonly string[]): string[] {
  const devices = args[0] === "--devices";
  const rest = devices ? args.slice(1) : args;
  const at = rest.indexOf("--target");
  const target = at >= 0 ? rest[at + 1] : undefined;
  const arm = target?.startsWith("aarch64-") === true ? "-arm64" : "";
  return [
    "compile",
    ...(devices ? PERMISSIONS_DEVICES : PERMISSIONS),
    ...RUNTIME,
    "--include",
    "dist/js",
    "--output",
    `dist/cascade${devices ? "-devices" : ""}${arm}`,
    ...rest,
    "dist/js/mod.js",
  ];
}

if (import.meta.main) {
  const child = new Deno.Command(Deno.execPath(), { args: compileArgs(Deno.args) }).spawn();
  Deno.exit((await child.status).code);
}
