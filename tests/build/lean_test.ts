import { assertEquals, assertThrows } from "@std/assert";
import { EventEmitter as NodeEmitter } from "node:events";
import { stripVTControlCharacters as nodeStrip } from "node:util";
import host, { EventEmitter, stripVTControlCharacters } from "../../build/commander_host.ts";
import { HOST, leaner, leanFolder } from "../../build/lean.ts";

const COMMANDER = 'import{EventEmitter as a}from"node:events";import b from"node:child_process";';

Deno.test("commander gets its host, and nobody else does", () => {
  const other = 'import{EventEmitter as a}from"node:events";import c from "node:fs";a(c);';
  assertEquals(leaner(other), other);
  assertEquals(
    leaner(`${COMMANDER}import{x}from"./chunk-A.js";x(a,b);`),
    `import{EventEmitter as a}from"./${HOST}";import b from"./${HOST}";import{x}from"./chunk-A.js";x(a,b);`,
  );
});

Deno.test("a module of Node's that commander never took is not replaced in silence", () => {
  assertThrows(
    () => leaner(`${COMMANDER}import c from "node:crypto";c(a,b);`),
    Error,
    "the chunk of commander imports node:crypto too",
  );
});

Deno.test("what is imported when it is needed is looked at no sooner", () => {
  assertEquals(
    leaner('import"./chunk-A.js";const x=await import("./sync-B.js"),y=await import("node:os");'),
    'import"./chunk-A.js";const x=await import(String("./sync-B.js")),y=await import("node:os");',
  );
});

Deno.test("a bundle in which commander is not told apart is refused", () => {
  const folder = Deno.makeTempDirSync({ prefix: "cascade-lean-" });
  try {
    Deno.writeTextFileSync(`${folder}/a.js`, 'import("./b.js");');
    assertThrows(() => leanFolder(folder), Error, "expected one chunk with commander");
    Deno.writeTextFileSync(`${folder}/b.js`, COMMANDER);
    leanFolder(folder);
    assertEquals(Deno.readTextFileSync(`${folder}/a.js`), 'import(String("./b.js"));');
    Deno.writeTextFileSync(`${folder}/b.js`, COMMANDER);
    Deno.writeTextFileSync(`${folder}/c.js`, COMMANDER);
    assertThrows(() => leanFolder(folder), Error, "found 2");
  } finally {
    Deno.removeSync(folder, { recursive: true });
  }
});

Deno.test("listeners are called as Node calls them", () => {
  const calls = [EventEmitter, NodeEmitter].map((Emitter) => {
    const emitter = new Emitter();
    const told: unknown[] = [emitter.emit("option:a", 1), emitter.listenerCount("option:a")];
    emitter.on("option:a", (...args: unknown[]) => void told.push("first", ...args));
    emitter.on("option:a", (...args: unknown[]) => void told.push("second", ...args));
    emitter.on("option:b", function (this: unknown) {
      told.push(this === emitter);
    });
    told.push(emitter.emit("option:a", "x", null), emitter.emit("option:b"));
    return [...told, emitter.listenerCount("option:a")];
  });
  assertEquals(calls[0], calls[1]);
});

Deno.test("escape sequences are taken out as Node takes them out", () => {
  const texts = [
    "",
    "no sequence [1m at all",
    "\x1b[1mbold\x1b[22m and \x1b[38;5;208mcolour\x1b[0m",
    "\x1b]8;;https://example.com\x07a link\x1b]8;;\x07",
    "\x1b[2K\x1b[1G\x1b[?25lhidden",
  ];
  for (const text of texts) assertEquals(stripVTControlCharacters(text), nodeStrip(text), text);
});

Deno.test("variables are what they are when they are asked for", () => {
  const name = "CASCADE_TEST_LEAN";
  const env = host.env as Record<string, string | undefined>;
  assertEquals([name in env, env[name]], [false, undefined]);
  Deno.env.set(name, "x");
  try {
    assertEquals([name in env, env[name]], [true, "x"]);
  } finally {
    Deno.env.delete(name);
  }
});
