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

/**
 * What else the runtime is told. QUIC is not stable there yet. And the engine is to look for garbage when there is a
 * fifth more than was in use, with room of 8 MiB for what is young: left to itself it waits for four times as
 * much, and never gives back what a flood of strangers made it take.
 */
export const RUNTIME: readonly string[] = [
  "--unstable-net",
  "--v8-flags=--max-semi-space-size=8,--heap-growing-percent=20",
];
