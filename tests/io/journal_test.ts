import { assert, assertEquals } from "@std/assert";
import { type JournalFormat, LineJournal } from "../../io/journal.ts";

function journal(format: JournalFormat, options: { colour?: boolean; fail?: () => boolean } = {}) {
  const lines: string[] = [];
  const made = new LineJournal({
    node: "hq",
    format,
    level: "info",
    colour: options.colour ?? false,
    sink: (line) => {
      if (options.fail?.() === true) throw new Error("nobody reads");
      lines.push(line);
    },
    nowMs: () => Date.UTC(2026, 0, 31, 12),
  });
  return { made, lines };
}

Deno.test("a text line has time, level, node, message and fields", () => {
  const { made, lines } = journal("text");
  made.write("info", "link is streaming", { link: "hq-metro", lsn: 4096, sync: true });
  assertEquals(lines, [
    "2026-01-31T12:00:00.000Z INFO  hq link is streaming link=hq-metro lsn=4096 sync=true\n",
  ]);
});

Deno.test("a JSON line has the same, and fields never hide the head of the line", () => {
  const { made, lines } = journal("json");
  made.write("warn", "refused", { node: "dr1", reason: "wrong secret" });
  assertEquals(JSON.parse(lines[0]!), {
    time: "2026-01-31T12:00:00.000Z",
    level: "warn",
    node: "hq",
    message: "refused",
    node_: "dr1",
    reason: "wrong secret",
  });
});

Deno.test("what a peer sent cannot forge a line, nor reach the terminal", () => {
  const evil = 'x\n2026 ERROR hq forged\x1b[2J\x9b31m\u202e "quoted" \x7f';
  for (const format of ["text", "json"] as const) {
    const { made, lines } = journal(format);
    made.write("info", `hello ${evil}`, { reason: evil, empty: "", eq: "a=b" });
    const line = lines[0]!;
    assertEquals(line.split("\n").length, 2);
    // deno-lint-ignore no-control-regex -- those are what must not be there
    if (format === "text") assert(!/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/.test(line), line);
    if (format === "text") assert(line.includes(' empty="" eq="a=b"'), line);
    if (format === "json") assertEquals(JSON.parse(line).reason, evil);
  }
});

Deno.test("levels below the chosen one are left out, and the choice can change", () => {
  const { made, lines } = journal("text");
  made.write("debug", "one");
  made.level = "debug";
  made.write("debug", "two");
  made.level = "error";
  made.write("warn", "three");
  made.write("error", "four");
  assertEquals(lines.map((line) => line.trim().split(" ").at(-1)), ["two", "four"]);
});

Deno.test("colour is there only when asked for", () => {
  const { made, lines } = journal("text", { colour: true });
  made.write("error", "bad");
  assert(lines[0]!.includes("\x1b[31mERROR\x1b[0m"));
});

Deno.test("lines that could not be written are counted, and told with the next one", () => {
  let failing = true;
  const { made, lines } = journal("text", { fail: () => failing });
  made.write("info", "one");
  made.write("info", "two");
  failing = false;
  made.write("info", "three");
  made.write("info", "four");
  assert(lines[0]!.endsWith("three linesLost=2\n"), lines[0]);
  assert(lines[1]!.endsWith("four\n"));
});
