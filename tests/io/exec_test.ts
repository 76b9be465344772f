import { assert, assertEquals, assertRejects } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import { formatExec } from "../../core/topology/address.ts";
import { DenoNetwork } from "../../io/network.ts";

const said: string[] = [];
const network = new DenoNetwork({
  journal: { write: (_, message, fields) => void said.push(`${message}: ${fields?.text}`) },
});
const dial = (...command: string[]) => network.dial(formatExec(command));

Deno.test("what a command reads and prints is the link", async () => {
  const near = await dial("cat");
  assertEquals([near.transport, near.remote], ["exec", "exec:cat"]);
  const bytes = Uint8Array.from({ length: 300_000 }, (_, index) => index * 3);
  const writing = near.write(bytes);
  const into = new Uint8Array(bytes.length);
  for (let at = 0; at < bytes.length;) at += (await near.read(into.subarray(at))) ?? NaN;
  await writing;
  assertEquals(into, bytes);
  const waiting = assertRejects(() => near.read(into), CascadeError, "closed here");
  near.close();
  await waiting;
  await assertRejects(() => near.write(into), CascadeError, "closed here");
});

Deno.test("a command that fails is the reason, with what it said", async () => {
  const near = await dial("sh", "-c", "echo no route >&2; exit 255");
  const error = await assertRejects(() => near.read(new Uint8Array(9)), CascadeError);
  assertEquals(error.message, "the command ended with 255: no route");
  assert(error.retryable);
  assert(said.includes("the command of a link says: no route"), String(said));
  near.close();
});

Deno.test("a command that ends well is the end of the link", async () => {
  const near = await dial("sh", "-c", "printf x");
  const into = new Uint8Array(9);
  assertEquals(await near.read(into), 1);
  assertEquals(await near.read(into), null);
  near.close();
});

Deno.test("a command that is not there is unreachable, and says where it is looked for", async () => {
  const error = await assertRejects(() => dial("no-such-command"), CascadeError);
  assertEquals([error.code, error.retryable], ["unreachable", true]);
  assert(error.hint?.includes("PATH"));
});

Deno.test("a command goes with its link, and takes along what it started", async () => {
  const near = await dial("sh", "-c", "sleep 100 & echo $!; wait");
  const into = new Uint8Array(20);
  const count = await near.read(into);
  const pid = Number(new TextDecoder().decode(into.subarray(0, count ?? 0)));
  near.close();
  const isThere = () => {
    try {
      return Deno.readTextFileSync(`/proc/${pid}/stat`).split(" ")[2] !== "Z";
    } catch {
      return false;
    }
  };
  for (const end = Date.now() + 10_000; isThere();) {
    assert(Date.now() < end, "it is still there");
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
});
