/**
 * Where the C library is. The runtime takes the names in a list of allowed libraries for files, so
 * that a program which may load this library and no other has to name it by its path.
 *
 * @module
 */

/** Where Linux distributions of x86-64 and arm64 keep glibc. */
export const LIBC_PATHS: readonly string[] = [
  "/lib/x86_64-linux-gnu/libc.so.6",
  "/lib/aarch64-linux-gnu/libc.so.6",
  "/lib64/libc.so.6",
  "/usr/lib/x86_64-linux-gnu/libc.so.6",
  "/usr/lib/aarch64-linux-gnu/libc.so.6",
  "/usr/lib64/libc.so.6",
  "/usr/lib/libc.so.6",
];

/**
 * Opens `symbols` of the C library, or returns null where that cannot be done. Asks for no permission.
 */
export function openLibc<const S extends Deno.ForeignLibraryInterface>(
  symbols: S,
): Deno.DynamicLibrary<S> | null {
  if (Deno.build.os !== "linux") return null;
  // The bare name last: the loader finds it anywhere, but only a program that may load any library may use it.
  for (const path of [...LIBC_PATHS, null]) {
    // Without this look the runtime would stop and ask on a terminal.
    const may = Deno.permissions.querySync(path === null ? { name: "ffi" } : { name: "ffi", path });
    if (may.state !== "granted") continue;
    try {
      return Deno.dlopen(path ?? "libc.so.6", symbols);
    } catch {
      // Not there, or for another processor, or another library: the next, or the plain ways.
    }
  }
  return null;
}
