import { assert, assertEquals } from "@std/assert";
import fc from "fast-check";
import { parseTopology } from "../../../core/topology/parse.ts";
import { formatProblem } from "../../../core/topology/problem.ts";

const GOOD = `cascade: 1
name: payroll
secret: ./payroll.secret
volumes:
  data: { size: 1GiB }
nodes:
  hq:
    role: primary
    dir: ./hq
    listen: tcp://127.0.0.1:7420
    volumes: { data: ./hq.img }
  dr:
    role: secondary
    dir: ./dr
    volumes: { data: ./dr.img }
links:
  - { from: hq, to: dr, mode: async }
`;

function problemsOf(text: string): string[] {
  return parseTopology(text, "t.yaml", "/srv").problems.map(formatProblem);
}

Deno.test("any text gives a topology or a problem, never an exception", () => {
  fc.assert(fc.property(fc.string({ unit: "binary", maxLength: 300 }), (text) => {
    const { topology, problems } = parseTopology(text, "t.yaml", "/srv");
    assert(topology !== null || problems.length > 0);
  }));
});

Deno.test("a topology with any part of it replaced by any text never throws", () => {
  const part = fc.oneof(
    fc.string({ maxLength: 12 }),
    fc.constantFrom(
      ": ",
      "\n",
      "- ",
      "{",
      "}",
      "[",
      "&a ",
      "*a",
      "<<: ",
      "!x ",
      "'",
      "? ",
      "~",
      "\t",
    ),
  );
  fc.assert(
    fc.property(fc.nat(GOOD.length), fc.nat(30), part, (at, length, text) => {
      const changed = GOOD.slice(0, at) + text + GOOD.slice(at + length);
      const { topology, problems } = parseTopology(changed, "t.yaml", "/srv");
      assert(topology !== null || problems.some(({ severity }) => severity === "error"));
      const lines = changed.split("\n");
      for (const { line, column } of problems) {
        assert(line >= 1 && line <= lines.length, `line ${line} of ${lines.length}`);
        assert(column >= 1 && column <= (lines[line - 1] ?? "").length + 1, `column ${column}`);
      }
    }),
    { numRuns: 500 },
  );
});

Deno.test("any value in any place of a topology never throws", () => {
  const value = fc.jsonValue({ maxDepth: 3 });
  const paths = [["nodes"], ["nodes", "hq"], ["nodes", "hq", "listen"], ["volumes"], ["links"]];
  const good = {
    cascade: 1,
    name: "p",
    secret: "./s",
    volumes: { data: { size: "1GiB" } },
    nodes: { hq: { role: "primary", dir: "./hq", volumes: { data: "./hq.img" } } },
    links: [],
  };
  fc.assert(fc.property(fc.constantFrom(...paths), value, (path, replacement) => {
    const changed: Record<string, unknown> = structuredClone(good);
    let holder = changed;
    for (const key of path.slice(0, -1)) holder = holder[key] as Record<string, unknown>;
    holder[path.at(-1) ?? ""] = replacement;
    parseTopology(JSON.stringify(changed), "t.yaml", "/srv");
  }));
});

Deno.test("huge and hostile texts are refused in bounded time and space", () => {
  const texts = {
    "too long": "#".repeat(1024 * 1024 + 1),
    "deep lists": "[".repeat(5_000),
    "deep mappings": "{".repeat(5_000),
    "deep blocks": Array.from({ length: 900 }, (_, i) => `${" ".repeat(i)}a:`).join("\n"),
    "many keys": Array.from({ length: 20_000 }, (_, i) => `k${i}:`).join("\n"),
    "many aliases": `x-a: &a {}\nx-b: [${"*a,".repeat(10_000)}]`,
    "many wrong links": `links: [${"3,".repeat(5_000)}]`,
    "many nodes": JSON.stringify({
      ...{ cascade: 1, name: "x", secret: "s", volumes: { data: { size: 512 } } },
      nodes: Object.fromEntries(
        Array.from({ length: 2_000 }, (_, i) => [
          `n${i}`,
          { role: "secondary", dir: `/n${i}`, volumes: { data: `/n${i}.img` } },
        ]),
      ),
    }),
    "alias of itself": "x-a: &a [*a]",
    "merge of itself": "x-a: &a\n  <<: *a",
  };
  for (const [what, text] of Object.entries(texts)) {
    const { topology, problems } = parseTopology(text, "t.yaml", "/srv");
    assert(topology === null && problems.length > 0, what);
    assert(problems.length <= 102, `${what}: ${problems.length} problems`);
  }
});

Deno.test("line ends of any system and a byte order mark do not move places", () => {
  const wrong = GOOD.replace("secondary", "secondry");
  const [unix] = problemsOf(wrong);
  assertEquals(problemsOf(wrong.replaceAll("\n", "\r\n")), [unix]);
  assertEquals(problemsOf(`\ufeff${wrong}`), [unix]);
  assert(unix?.startsWith("t.yaml:13:11: error: "));
});

Deno.test("what is wrong in an anchor is told once, where it is written", () => {
  const text = GOOD
    .replace("volumes:\n", "x-log: &log { budget: 10G }\nvolumes:\n")
    .replaceAll("    dir:", "    log: *log\n    dir:");
  const expected = 'nodes.hq.log.budget is "10G"; expected 10GiB (powers of 1024) or 10GB ' +
    "(powers of 1000)";
  assertEquals(problemsOf(text), [`t.yaml:4:23: error: ${expected}`]);
});

Deno.test("merge keys fill in what a mapping does not say itself", () => {
  const text = GOOD
    .replace("volumes:\n", "x-all: &all { log: { budget: 2GiB }, insecure: true }\nvolumes:\n")
    .replaceAll("    dir:", "    <<: *all\n    dir:")
    .replace("dir: ./dr", "dir: ./dr\n    insecure: false");
  const { topology, problems } = parseTopology(text, "t.yaml", "/srv");
  assertEquals(problems, []);
  assertEquals(topology?.nodes.map(({ log }) => log.budgetBytes), [2 * 1024 ** 3, 2 * 1024 ** 3]);
  assertEquals(topology?.nodes.map(({ insecure }) => insecure), [true, false]);
});

Deno.test("paths and sockets are relative to the folder of the file", () => {
  const text = GOOD.replace("    dir: ./hq\n", "    dir: sub/../hq\n    nbd: unix:../hq.sock\n");
  const { topology } = parseTopology(text, "t.yaml", "/srv/cascade");
  const hq = topology?.nodes[0];
  assertEquals(hq?.dir, "/srv/cascade/hq");
  assertEquals(hq?.nbd, ["unix:/srv/hq.sock"]);
  assertEquals(hq?.volumes?.get("data"), "/srv/cascade/hq.img");
  assertEquals(topology?.secret, { kind: "file", path: "/srv/cascade/payroll.secret" });
});

Deno.test("a node may have the name of something that every object has", () => {
  const text = GOOD.replaceAll("dr", "constructor").replaceAll("hq", "toString");
  assertEquals(problemsOf(text), []);
  assert(problemsOf(GOOD.replace("  dr:", "  __proto__:")).length > 0);
});

Deno.test("a small log budget gets segments of a quarter of it", () => {
  const text = GOOD.replace("    dir: ./hq\n", "    dir: ./hq\n    log: { budget: 100MiB }\n");
  const { topology } = parseTopology(text, "t.yaml", "/srv");
  assertEquals(topology?.nodes[0]?.log.segmentBytes, 25 * 1024 ** 2);
  assertEquals(topology?.nodes[1]?.log.segmentBytes, 64 * 1024 ** 2);
});
