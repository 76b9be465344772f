import { assertEquals } from "@std/assert";
import { StrangerJournal } from "../../core/stranger_journal.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { MemoryJournal } from "../support/small.ts";

function make() {
  const journal = new MemoryJournal();
  const clock = new ManualClock();
  const strangers = new StrangerJournal(journal, clock);
  const told = () =>
    journal.lines.map(({ message, fields }) =>
      `${message} ${fields["n"]}` +
      (fields["untold"] === undefined ? "" : ` and ${fields["untold"]} more`)
    );
  return { journal, clock, strangers, told };
}

Deno.test("what comes now and then is told at once, each time", () => {
  const { clock, strangers, told } = make();
  for (let n = 0; n < 3; n++) {
    strangers.write("warn", "dropped", { n });
    clock.advance(1000);
  }
  assertEquals(told(), ["dropped 0", "dropped 1", "dropped 2"]);
  assertEquals(clock.pending, 0);
});

Deno.test("a flood is a line now and then, with a count of what was not told, to its end", () => {
  const { clock, strangers, told } = make();
  for (let n = 0; n < 300; n++) {
    strangers.write("warn", "dropped", { n });
    clock.advance(10);
  }
  clock.advance(10_000);
  assertEquals(told()[0], "dropped 0");
  assertEquals(told().at(-1)?.startsWith("dropped 299 and "), true);
  assertEquals(told().length, 4);
  const counted = told().map((line) => 1 + Number(/and (\d+) more/.exec(line)?.[1] ?? 0));
  assertEquals(counted.reduce((sum, count) => sum + count), 300);
  assertEquals(clock.pending, 0);
});

Deno.test("each message has its own second, and the end tells what waits, and nothing after", () => {
  const { clock, strangers, told, journal } = make();
  strangers.write("warn", "dropped", { n: 1 });
  strangers.write("info", "gone", { n: 2 });
  strangers.write("warn", "dropped", { n: 3 });
  assertEquals(told(), ["dropped 1", "gone 2"]);
  strangers.close();
  strangers.write("warn", "dropped", { n: 4 });
  assertEquals(told().slice(2), ["dropped 3"]);
  assertEquals([journal.lines[1]?.level, clock.pending], ["info", 0]);
});

Deno.test("what goes on for a day is a line a minute, and once it was over it is told at once again", () => {
  const { clock, strangers, told } = make();
  for (let n = 0; n < 3600; n++) {
    strangers.write("warn", "dropped", { n });
    clock.advance(1000);
  }
  assertEquals(told().length < 70, true, String(told().length));
  clock.advance(120_000);
  const before = told().length;
  for (let n = 0; n < 2; n++) {
    strangers.write("warn", "dropped", { n });
    clock.advance(60_000);
  }
  assertEquals(told().slice(before), ["dropped 0", "dropped 1"]);
});

Deno.test("what has another code is another kind: a flood of one does not hide it", () => {
  const { strangers, told } = make();
  for (let n = 0; n < 100; n++) strangers.write("warn", "dropped", { n, code: "protocol" });
  strangers.write("warn", "dropped", { n: 7, code: "wrong-secret" });
  assertEquals(told(), ["dropped 0", "dropped 7"]);
  strangers.close();
});
