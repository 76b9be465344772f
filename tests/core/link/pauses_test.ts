import { assertEquals, assertRejects } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { REASON_LENGTH_MAX } from "../../../core/link/link_limits.ts";
import { type Pause, Pauses } from "../../../core/link/pauses.ts";

function makePauses(list: readonly Pause[] = []) {
  const saved: (readonly Pause[])[] = [];
  const pauses = new Pauses(list, (list) => {
    saved.push(list);
    return Promise.resolve();
  });
  return { pauses, saved };
}

Deno.test("a pause counts at once, is saved, and a second one replaces its reason", async () => {
  const { pauses, saved } = makePauses();
  const first = pauses.add({ link: "a", reason: "work", sinceMs: 5 });
  assertEquals(pauses.of("a"), { link: "a", reason: "work", sinceMs: 5 });
  await first;
  await pauses.add({ link: "b", reason: null, sinceMs: 6 });
  await pauses.add({ link: "a", reason: "more work", sinceMs: 7 });
  assertEquals(saved.at(-1)?.map(({ link, reason }) => `${link} ${reason}`), [
    "b null",
    "a more work",
  ]);
});

Deno.test("what was paused before a restart is paused after it, until it is resumed", async () => {
  const { pauses, saved } = makePauses([{ link: "a", reason: null, sinceMs: 1 }]);
  assertEquals(pauses.of("a")?.sinceMs, 1);
  await pauses.remove("a");
  assertEquals([pauses.of("a"), saved], [null, [[]]]);
  await pauses.remove("a");
  assertEquals(saved.length, 1, "nothing to save");
});

Deno.test("a resume that could not be saved is saved when it is tried again", async () => {
  let fails = true;
  const saved: (readonly Pause[])[] = [];
  const pauses = new Pauses([{ link: "a", reason: null, sinceMs: 1 }], (list) => {
    if (fails) return Promise.reject(new Error("the disk failed"));
    saved.push(list);
    return Promise.resolve();
  });
  await assertRejects(() => pauses.remove("a"), Error, "the disk failed");
  fails = false;
  await pauses.remove("a");
  assertEquals(saved, [[]]);
});

Deno.test("a reason that is too long is refused, and changes nothing", async () => {
  const { pauses } = makePauses();
  const reason = "x".repeat(REASON_LENGTH_MAX + 1);
  const add = () => pauses.add({ link: "a", reason, sinceMs: 1 });
  await assertRejects(add, CascadeError, "more than");
  assertEquals(pauses.of("a"), null);
});
