/**
 * What the compiled program may do, defined here once: compiling reads it, and so does what runs the
 * program in the end-to-end tests, so that each of them shows that it suffices. The README says why
 * each is there.
 *
 * @module
 */
import { LIBC_PATHS } from "../io/libc_path.ts";

/** For everything but block devices: no whole-system access, no code from elsewhere, no question on a terminal. */
export const PERMISSIONS: readonly string[] = [
  "--no-prompt",
  "--allow-read",
  "--allow-write",
  "--allow-net",
  "--allow-env",
  "--allow-run",
  `--allow-ffi=${LIBC_PATHS.join(",")}`,
];

/** The runtime opens nothing below `/dev` for a program that lacks any permission of any kind. */
export const PERMISSIONS_DEVICES: readonly string[] = ["--no-prompt", "--allow-all"];

/** What of the runtime is not stable yet and is used. */
export const UNSTABLE: readonly string[] = ["--unstable-net"];
