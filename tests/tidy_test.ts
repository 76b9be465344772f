/**
 * Keeps the house tidy: which way imports point, that core stays deterministic, that files and
 * functions stay short, that only one place ends the process.
 *
 * Files are read as text. Comments and strings are blanked first, keeping every line in its place.
 */
import { assertEquals } from "@std/assert";

const ROOT = new URL("../", import.meta.url).pathname;
const FILE_LINES_MAX = 400;
const FUNCTION_LINES_MAX = 80;

interface Source {
  /** From the root of the project. */
  readonly path: string;
  readonly text: string;
  /** The text without what stands in comments and strings. */
  readonly code: string;
}

function filesBelow(folder: string, endings: readonly string[]): string[] {
  const files: string[] = [];
  for (const entry of Deno.readDirSync(ROOT + folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) files.push(...filesBelow(path, endings));
    else if (endings.some((ending) => path.endsWith(ending))) files.push(path);
  }
  return files.sort();
}

function read(path: string): Source {
  const text = Deno.readTextFileSync(ROOT + path);
  return { path, text, code: blank(text) };
}

/** What a scanner meets in code that is not code; a slash begins an expression where no value ends. */
const TOKENS = {
  comment: /\/\/[^\n]*|\/\*[\s\S]*?\*\//y,
  text: /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'/y,
  expression: /\/(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/[a-z]*/y,
};

/** Import specifiers are texts that the arrows need. */
const SPECIFIER = /^"(?:\.{1,2}\/|npm:|node:|jsr:|https?:|@)/;

/**
 * Blanks comments, strings and regular expressions, and keeps every line in its place. What stands
 * in `${...}` within a template stays code. Good enough for formatted source.
 */
function blank(text: string): string {
  let result = "";
  // Open braces of each `${`, innermost last; -1 stands for the text of a template.
  const stack: number[] = [];
  for (let at = 0; at < text.length;) {
    const char = text.charAt(at);
    const depth = stack.at(-1);
    if (depth === -1) {
      const length = char === "\\" || text.startsWith("${", at) ? 2 : 1;
      if (length === 2 && char === "$") stack.push(0);
      if (char === "`") stack.pop();
      result += spaces(text.slice(at, at + length));
      at += length;
      continue;
    }
    const token = tokenAt(text, at, result);
    if (token !== null) {
      result += SPECIFIER.test(token) ? token : spaces(token);
      at += token.length;
      continue;
    }
    const closes = depth === 0 && char === "}";
    if (char === "`") stack.push(-1);
    else if (closes) stack.pop();
    else if (depth !== undefined && char === "{") stack[stack.length - 1] = depth + 1;
    else if (depth !== undefined && char === "}") stack[stack.length - 1] = depth - 1;
    result += closes || char === "`" ? " " : char;
    at++;
  }
  return result;
}

/** The comment, string or regular expression that begins at `at`; `before` is the code so far. */
function tokenAt(text: string, at: number, before: string): string | null {
  const char = text.charAt(at);
  if (char !== "/" && char !== '"' && char !== "'") return null;
  const kinds = [TOKENS.comment, TOKENS.text];
  if (/(?:^|[=(,:?&|!;{}[>]|\breturn)\s*$/.test(before.slice(-200))) kinds.push(TOKENS.expression);
  for (const kind of kinds) {
    kind.lastIndex = at;
    const match = kind.exec(text);
    if (match !== null) return match[0];
  }
  return null;
}

function spaces(text: string): string {
  return text.replace(/[^\n]/g, " ");
}

/** Files that import something which `forbidden` names, as `FILE: SPECIFIER`. */
function wrongImports(sources: readonly Source[], forbidden: RegExp): string[] {
  return sources.flatMap(({ path, code }) =>
    [...code.matchAll(/(?:\bfrom|\bimport)\s*\(?\s*"([^"]+)"/g)]
      .map((match) => fromRoot(path, match[1] ?? ""))
      .filter((specifier) => forbidden.test(specifier))
      .map((specifier) => `${path}: ${specifier}`)
  );
}

/** A relative specifier as a path from the root; any other as it is. */
function fromRoot(path: string, specifier: string): string {
  if (!specifier.startsWith(".")) return specifier;
  return new URL(specifier, `file:///${path}`).pathname.slice(1);
}

/** Places where `pattern` stands in code, as `FILE:LINE: MATCH`. */
function places(sources: readonly Source[], pattern: RegExp): string[] {
  return sources.flatMap(({ path, code }) =>
    code.split("\n").flatMap((line, index) => {
      const match = pattern.exec(line);
      return match === null ? [] : [`${path}:${index + 1}: ${match[0]}`];
    })
  );
}

/**
 * Functions and methods that are too long, as `FILE:LINE: N lines`. A function begins on a line
 * that ends in `{` and looks like a signature's last line, and ends with the `}` that is indented
 * like the line where it began: formatted source has it so.
 */
function longFunctions({ path, code }: Source): string[] {
  const lines = code.split("\n");
  const begins =
    /^( *)(?:export )?(?:default )?(?:async )?(?:function\b|(?:static |private |get |set |override |async |\*)*#?[\w$]+(?:<[^>]*>)?\(|constructor\()/;
  const arrow =
    /^( *)(?:export )?const [\w$]+(?::[^=]+)? = (?:async )?(?:\([^)]*$|\(.*\)(?:: [^=]+)? =>)/;
  const found: string[] = [];
  for (const [index, line] of lines.entries()) {
    const match = begins.exec(line) ?? arrow.exec(line);
    if (match === null || /^ *(?:if|for|while|switch|catch|return|throw|await)\b/.test(line)) {
      continue;
    }
    const indent = match[1] ?? "";
    const end = lines.findIndex((other, at) =>
      at > index && (other.startsWith(`${indent}}`) || other.startsWith(`${indent});`))
    );
    const isOneLine = end < 0 ||
      lines.slice(index + 1, end).some((other) =>
        other.trim() !== "" && !other.startsWith(`${indent} `) && !other.startsWith(`${indent})`)
      );
    const length = isOneLine ? 1 : end - index + 1;
    if (length > FUNCTION_LINES_MAX) found.push(`${path}:${index + 1}: ${length} lines`);
  }
  return found;
}

const core = filesBelow("core", [".ts"]).map(read);
const io = filesBelow("io", [".ts"]).map(read);
const cli = filesBelow("cli", [".ts"]).map(read);
const face = [read("mod.ts")];
const program = [...core, ...io, ...cli, ...face];
const tests = filesBelow("tests", [".ts"]).map(read);

Deno.test("arrows run one way: cli to io to core", () => {
  assertEquals(wrongImports(core, /^(?:io|cli|tests)\/|^mod\.ts$/), []);
  assertEquals(wrongImports(io, /^(?:cli|tests)\/|^mod\.ts$/), []);
  assertEquals(wrongImports(cli, /^tests\/|^mod\.ts$/), []);
});

Deno.test("nothing is imported from a URL or another registry than npm", () => {
  assertEquals(wrongImports([...program, ...tests], /^(?:https?|jsr):/), []);
});

Deno.test("core reaches the world through its ports alone", () => {
  const allowed = /^node:(?:zlib|crypto|buffer)$/;
  const node = wrongImports(core, /^node:/).filter((line) =>
    !allowed.test(line.split(": ")[1] ?? "")
  );
  assertEquals(node, []);
  const world =
    /\bDeno\.|\bprocess\.|\b(?:setTimeout|setInterval|setImmediate)\(|\bnew WebSocket\b|(?:=|await|return|globalThis\.) ?\bfetch\(|\bDate\.now\b|\bnew Date\(\)|\bMath\.random\b|\bperformance\.|\bcrypto\.(?:getRandomValues|randomUUID|subtle)|\b(?:randomBytes|randomUUID|randomInt)\(|\bconsole\./;
  assertEquals(places(core, world), []);
});

Deno.test("only cli/main.ts ends the process", () => {
  const others = program.filter(({ path }) => path !== "cli/main.ts");
  assertEquals(places(others, /\bDeno\.exit\b|\bprocess\.exit\b|\bDeno\.exitCode\b/), []);
});

Deno.test(`no file of the program has more than ${FILE_LINES_MAX} lines`, () => {
  const long = program.map(({ path, text }) => ({ path, lines: text.split("\n").length - 1 }))
    .filter(({ lines }) => lines > FILE_LINES_MAX);
  assertEquals(long, []);
});

Deno.test(`no function of the program has more than ${FUNCTION_LINES_MAX} lines`, () => {
  assertEquals(program.flatMap(longFunctions), []);
});

Deno.test("what is opened is closed by name: the bundler leaves out what follows from `using`", () => {
  assertEquals(places(program, /^\s*(?:await )?using \w+ = /m), []);
});

Deno.test("types are not switched off", () => {
  const off = /(?::|\bas|<|\|) *any\b(?! of)|@ts-(?:ignore|nocheck|expect-error)/;
  assertEquals(places(program, off), []);
  const comments = [...program, ...tests].filter(({ path, text }) =>
    path !== "tests/tidy_test.ts" && /@ts-(?:ignore|nocheck|expect-error)/.test(text)
  );
  assertEquals(comments.map(({ path }) => path), []);
});

Deno.test("files are named in snake_case", () => {
  const odd = [...program, ...tests].map(({ path }) => path)
    .filter((path) => !/^(?:[a-z0-9_]+\/)*[a-z0-9_]+(?:\.d)?\.ts$/.test(path));
  assertEquals(odd, []);
});

Deno.test("no text names a registry's host", () => {
  const host = new RegExp(
    ["registry\\.npm" + "js\\.org", "j" + "sr\\.io", "cdn\\.jsdel" + "ivr"].join("|"),
  );
  const files = [
    ...filesBelow("core", [".ts"]),
    ...filesBelow("io", [".ts"]),
    ...filesBelow("cli", [".ts"]),
    ...filesBelow("build", [".ts"]),
    ...filesBelow("tests", [".ts", ".yaml", ".md"]),
    ...filesBelow("docs", [".md"]),
    ...filesBelow("samples", [".yaml"]),
    ...[...Deno.readDirSync(ROOT)].filter(({ isFile }) => isFile).map(({ name }) => name)
      .filter((name) => /\.(?:md|ts|json)$/.test(name)),
  ];
  assertEquals(files.filter((path) => host.test(Deno.readTextFileSync(ROOT + path))), []);
});

Deno.test("the reader of this test finds what it looks for", () => {
  const source = (code: string): Source => ({ path: "core/x/y.ts", text: code, code: blank(code) });
  const clean = source(
    "// Deno.exit(1)\n/* Date.now() */ const a = \"Deno.x\" + 'Deno.y' + `Deno.z`; x = /Deno\\.\\/x/;\n",
  );
  assertEquals(places([clean], /Deno\.|Date\.now/), []);
  const url = source(
    "const a = `tcp://${host}`; // it's `\nDeno.pid;\nconst b = `it's \\` ${Deno.b}`;\n",
  );
  assertEquals(places([url], /Deno\.\w+/), ["core/x/y.ts:2: Deno.pid", "core/x/y.ts:3: Deno.b"]);
  const used = source("const a = `${Deno.pid}` + `${ {b: `${Date.now()}`} }`;\n");
  assertEquals(places([used], /Deno\./), ["core/x/y.ts:1: Deno."]);
  assertEquals(places([used], /Date\.now/), ["core/x/y.ts:1: Date.now"]);
  const imports = source(
    'import { a } from "../../io/z.ts";\nconst b = await import("../../cli/q.ts");\n',
  );
  assertEquals(wrongImports([imports], /^(?:io|cli)\//), [
    "core/x/y.ts: io/z.ts",
    "core/x/y.ts: cli/q.ts",
  ]);
  const body = "    step();\n".repeat(FUNCTION_LINES_MAX);
  const long = source(
    `class A {\n  async run(\n    a: string,\n  ): Promise<void> {\n${body}  }\n}\n`,
  );
  assertEquals(longFunctions(long), [`core/x/y.ts:2: ${FUNCTION_LINES_MAX + 4} lines`]);
  const free = source(`export function f() {\n${body}}\nfunction g() {\n  h();\n}\n`);
  assertEquals(longFunctions(free), [`core/x/y.ts:1: ${FUNCTION_LINES_MAX + 2} lines`]);
  const arrow = source(`export const f = (a: string) => {\n${body}};\n`);
  assertEquals(longFunctions(arrow).length, 1);
  assertEquals(longFunctions(source(`interface A {\n${body}}\nconst t = {\n${body}};\n`)), []);
});
