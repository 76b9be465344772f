/**
 * Every end-to-end test runs the program with the permissions of the compiled one, which shows that they
 * suffice. These show that none of them could be left out, and what a device needs.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { PERMISSIONS, PERMISSIONS_DEVICES } from "../../build/permissions.ts";
import { cascadeArgsWith } from "./support/cascade_args.ts";
import { e2e } from "./support/e2e.ts";
import { run } from "./support/programs.ts";

/** For each permission a command that needs it; `%` is a folder with the files `a` and `b`. */
const NEEDS: Readonly<Record<string, { args: string[]; env?: Record<string, string> }>> = {
  read: { args: ["check", "%/t.yaml"] },
  write: { args: ["seed", "%/a", "%/c"] },
  net: { args: ["seed", "nbd://127.0.0.1:1/x", "%/c"] },
  env: { args: ["check"], env: { CASCADE_TOPOLOGY: "/nowhere.yaml" } },
  run: { args: ["demo"] },
  // Without it nobody sees that another program has locked a target.
  ffi: { args: ["seed", "%/a", "%/b"] },
};

const LACKS = /Requires \w+ access|NotCapable|lacks/;

e2e("each permission of the compiled program is needed", [], async ({ folder }) => {
  for (const name of ["a", "b"]) Deno.writeFileSync(join(folder, name), new Uint8Array(4096));
  Deno.writeTextFileSync(join(folder, "t.yaml"), "cascade: 1\n");
  const allowed = PERMISSIONS.filter((flag) => flag.startsWith("--allow-"));
  assertEquals(allowed.map((flag) => /^--allow-([a-z]+)/.exec(flag)![1]), Object.keys(NEEDS));
  for (const flag of allowed) {
    const { args, env = {} } = NEEDS[/^--allow-([a-z]+)/.exec(flag)![1]!]!;
    const without = PERMISSIONS.filter((other) => other !== flag);
    const line = cascadeArgsWith(without, ...args.map((arg) => arg.replace("%", folder)));
    const outcome = await run(Deno.execPath(), line, { codes: null, cwd: folder, env });
    assert(outcome.code !== 0, `${args.join(" ")} works without ${flag}: ${outcome.stdout}`);
    assertMatch(outcome.stderr, LACKS, flag);
  }
});

e2e("a device says which program opens it", ["root", "/dev/loop-control"], async ({ folder }) => {
  const source = join(folder, "a");
  Deno.writeFileSync(source, new Uint8Array(4096));
  const seed = (flags: readonly string[]) =>
    run(Deno.execPath(), cascadeArgsWith(flags, "seed", source, "/dev/loop-control"), {
      codes: null,
    });
  const narrow = await seed(PERMISSIONS);
  assertEquals(narrow.code, 1);
  assertMatch(narrow.stderr, /block devices need the one that `deno task compile-devices` makes/);
  const wide = await seed(PERMISSIONS_DEVICES);
  assertMatch(wide.stderr, /expected a regular file or a block device/);
});
