import { assertEquals } from "@std/assert";
import { compileArgs } from "../../build/compile.ts";
import { RUNTIME } from "../../build/permissions.ts";
import { LIBC_PATHS } from "../../io/libc_path.ts";

/** What of an argument list bears on what the program may do. */
function rights(args: readonly string[]): string[] {
  return args.filter((arg) =>
    /^-[A-Z]|^--(?:allow|deny|ignore|permission|unstable|no-prompt)/.test(arg)
  );
}

Deno.test("the compiled program may do this and nothing more", () => {
  const expected = [
    "--no-prompt",
    "--allow-read",
    "--allow-write",
    "--allow-net",
    "--allow-env",
    "--allow-run",
    `--allow-ffi=${LIBC_PATHS.join(",")}`,
    "--unstable-net",
  ];
  assertEquals(rights(compileArgs([])), expected);
  assertEquals(rights(compileArgs(["--target", "aarch64-unknown-linux-gnu"])), expected);
});

Deno.test("the compiled program keeps its memory as the tested one does", () => {
  for (const args of [[], ["--devices"]]) {
    const line = compileArgs(args);
    assertEquals(line.filter((arg) => RUNTIME.includes(arg)), [...RUNTIME]);
    assertEquals(line.filter((arg) => arg.startsWith("--v8-flags=")).length, 1);
  }
});

Deno.test("only the program for block devices may do everything", () => {
  assertEquals(rights(compileArgs(["--devices"])), [
    "--no-prompt",
    "--allow-all",
    "--unstable-net",
  ]);
});

Deno.test("each kind and target of the program has a file of its own", () => {
  const outputs = [[], ["--target", "aarch64-unknown-linux-gnu"]].flatMap((target) =>
    [target, ["--devices", ...target]].map((args) => {
      const line = compileArgs(args);
      return line[line.indexOf("--output") + 1];
    })
  );
  assertEquals(outputs, [
    "dist/cascade",
    "dist/cascade-devices",
    "dist/cascade-arm64",
    "dist/cascade-devices-arm64",
  ]);
});
