/**
 * The demo's story of a failover: it ends well, and whether it ends or is cut off, nothing of it is left.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import * as z from "zod";
import { cascadeArgs } from "../support/cascade_args.ts";
import { type Cleanup, e2e } from "../support/e2e.ts";
import { run } from "../support/programs.ts";
import { until } from "../support/wait.ts";

const WORDS = ["demo", "--story", "failover", "--size", "64MiB", "--duration", "4s"];

const resultSchema = z.object({
  returnBytes: z.number(),
  kept: z.object({ folder: z.string(), bytes: z.number() }),
  checks: z.array(z.object({ after: z.string(), pages: z.number() })),
});

/** Processes that have the folder in their command lines. */
function processesOf(folder: string): string[] {
  return [...Deno.readDirSync("/proc")].flatMap(({ name }) => {
    if (!/^[0-9]+$/.test(name)) return [];
    try {
      const line = Deno.readTextFileSync(`/proc/${name}/cmdline`);
      return line.includes(folder) ? [line] : [];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
}

function assertNothingLeft({ folder }: Cleanup): void {
  assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name), []);
  assertEquals(processesOf(folder), []);
}

e2e("the story of a failover loses nothing that was flushed", [], async (cleanup) => {
  const env = { TMPDIR: cleanup.folder };
  const { stdout, stderr } = await run(Deno.execPath(), cascadeArgs(...WORDS, "--json"), { env });
  const { returnBytes, kept, checks } = resultSchema.parse(JSON.parse(stdout));
  for (let act = 1; act <= 6; act++) assertStringIncludes(stderr, `\n${act}. `);
  assertStringIncludes(stderr, "$ cascade promote metro --dry-run");
  assertStringIncludes(stderr, `abandoned/${kept.folder}`);
  assert(kept.bytes > 0);
  assert(returnBytes > 0);
  assertEquals(checks.length, 3);
  assertNothingLeft(cleanup);
});

for (const cut of ["1. ", "3. ", "5. "]) {
  e2e(`the story of a failover cut off in act ${cut}leaves nothing behind`, [], async (cleanup) => {
    const child = new Deno.Command(Deno.execPath(), {
      args: cascadeArgs(...WORDS),
      env: { TMPDIR: cleanup.folder },
      stdout: "piped",
      stderr: "null",
    }).spawn();
    const text = child.stdout.pipeThrough(new TextDecoderStream());
    let said = "";
    for await (const part of text.values({ preventCancel: true })) {
      said += part;
      if (said.includes(`\n${cut}`)) break;
    }
    child.kill("SIGINT");
    await text.cancel();
    assertEquals((await child.status).success, false);
    await until("all have ended", () => processesOf(cleanup.folder).length === 0);
    assertNothingLeft(cleanup);
  });
}

e2e("a story that nobody knows is refused with those that are known", [], async () => {
  const args = cascadeArgs("demo", "--story", "romance");
  const { code, stderr } = await run(Deno.execPath(), args, { codes: null });
  assertEquals(code, 2);
  assertStringIncludes(stderr, "cascade, failover");
});
