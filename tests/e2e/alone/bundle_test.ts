import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { cascadeArgs } from "../support/cascade_args.ts";
import { e2e } from "../support/e2e.ts";
import { run } from "../support/programs.ts";

const ROOT = new URL("../../../", import.meta.url).pathname;

/** Command lines on which commander has the word, and what it takes of the host shows. */
const LINES: readonly (readonly string[])[] = [
  [],
  ["--help"],
  ["help", "sync"],
  ["sync", "--help"],
  ["certs", "--help"],
  ["no-such-command"],
  ["sync"],
  ["sync", "--nod", "hq"],
  ["sync", "--node", "hq", "--timeout", "soon"],
  ["sync", "--node", "hq"],
  ["check"],
  ["plan", "--format", "json"],
];

e2e("the bundle says to every command line what the source says", [], async ({ folder }) => {
  const { tasks } = JSON.parse(Deno.readTextFileSync(join(ROOT, "deno.json")));
  const bundle = join(folder, "js");
  // The task itself, into a folder of the test's own.
  const script = (tasks.bundle as string).replaceAll("dist/js", bundle)
    .replaceAll("deno ", `${Deno.execPath()} `);
  await run("sh", ["-c", script], { cwd: ROOT });
  Deno.writeTextFileSync(join(folder, "wrong.yaml"), "cascade: 1\nnodes: 3\n");
  const environments = [{}, { CASCADE_TOPOLOGY: join(folder, "wrong.yaml"), COLUMNS: "60" }];
  for (const env of environments) {
    for (const line of LINES) {
      const args = cascadeArgs(...line);
      const bundled = args.map((arg) => arg.endsWith("/mod.ts") ? join(bundle, "mod.js") : arg);
      const outcomes = await Promise.all(
        [args, bundled].map((args) =>
          run(Deno.execPath(), args, { cwd: folder, env: { NO_COLOR: "1", ...env }, codes: null })
        ),
      );
      assertEquals(outcomes[1], outcomes[0], line.join(" "));
    }
  }
});
