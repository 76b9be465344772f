import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import { hooks } from "../../io/hooks.ts";

const MINUTE_MS = 60_000;

function shell(text: string, timeoutMs = MINUTE_MS): Promise<readonly string[]> {
  return hooks.run("beforeScan", ["/bin/sh", "-c", text], timeoutMs);
}

async function failure(promise: Promise<unknown>): Promise<string> {
  const error = await assertRejects(() => promise, CascadeError);
  assertEquals([error.code, typeof error.where["command"]], ["hook-failed", "string"]);
  return error.message;
}

Deno.test("a hook gives the lines that it printed, and knows its name", async () => {
  assertEquals(await shell("echo; echo one; echo two >&2; printf $CASCADE_HOOK"), [
    "one",
    "beforeScan",
  ]);
});

Deno.test("a hook that fails is told with its code and what it said", async () => {
  assertMatch(await failure(shell("echo out; echo no room >&2; exit 7")), /with 7: no room$/);
  assertMatch(await failure(shell("exit 1")), /it ended with 1$/);
  assertMatch(await failure(shell("kill -9 $$")), /it ended with 137$/);
  assertMatch(await failure(hooks.run("afterScan", ["/nowhere"], MINUTE_MS)), /afterScan failed/);
});

Deno.test("a hook that hangs is killed with all that it started", async () => {
  const path = await Deno.makeTempFile();
  const text = `trap '' TERM; sleep 600 & echo $! > ${path}; echo waiting >&2; wait; sleep 600`;
  assertMatch(await failure(shell(text, 300)), /after 300ms, and was killed: waiting$/);
  const pid = (await Deno.readTextFile(path)).trim();
  const stat = await Deno.readTextFile(`/proc/${pid}/stat`).catch(() => "gone");
  assert(stat === "gone" || stat.includes(") Z "), stat);
  await Deno.remove(path);
});

Deno.test("what a hook leaves running does not keep it, nor is it ended", async () => {
  const lines = await shell("sleep 600 & echo $!");
  const [pid] = lines;
  assert(pid !== undefined, "it printed a line");
  Deno.kill(Number(pid), "SIGKILL");
});

Deno.test("of a hook that says a lot the last is kept", async () => {
  const lines = await shell("seq 1 200000");
  assertEquals(lines.at(-1), "200000");
  assert(lines.length < 20_000, "not all of it");
});
