/**
 * From a tree of values to a checked shape: runs the Zod schema and turns its issues into problems
 * with a place, what was found, what was expected and the nearest right word.
 *
 * A misspelt key or word does not hide what else is wrong: it is set right in a copy of the tree,
 * and the copy is checked on. The file still counts as wrong.
 *
 * @module
 */
import type * as z from "zod";
import { nearest, orList } from "./nearest.ts";
import { type DocumentPath, formatPath, quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";
import { keysAt, LINK_KEYS, topologySchema, type TopologySpec } from "./schema.ts";
import { locate, type Located, plain } from "./source.ts";

type Issue = z.core.$ZodIssue;

/** How often a repaired tree is checked again; each round can uncover what the last one hid. */
const ROUNDS_MAX = 4;

/** More mistakes than this are not told apart any more: it is some other kind of file. */
const ISSUES_MAX = 100;

/** A way to set a tree right. */
type Repair = (tree: Located) => Located;

/**
 * Checks the shape of `tree`; problems go to `reporter`, which looks for places in the tree that
 * was set right from then on. Null when not even that has the shape.
 */
export function checkShape(tree: Located, reporter: Reporter): TopologySpec | null {
  if (tree.kind !== "map") {
    reporter.report([], "value", { message: "a topology is a mapping: lines of KEY: VALUE" });
    return null;
  }
  let current = withoutExtensions(tree);
  for (let round = 0; round < ROUNDS_MAX; round++) {
    reporter.tree = current;
    const result = topologySchema.safeParse(plain(current));
    if (result.success) return result.data;
    const issues = result.error.issues.slice(0, ISSUES_MAX);
    const repairs = issues.flatMap((issue) => reportIssue(issue, current, reporter, issues));
    if (repairs.length === 0 || reporter.errors >= ISSUES_MAX) return null;
    current = repairs.reduce((repaired, repair) => repair(repaired), current);
  }
  return null;
}

/** Keys at the top that begin with `x-` are the user's own, to hang anchors on. */
function withoutExtensions(tree: Located): Located {
  const children = new Map([...tree.children].filter(([key]) => !String(key).startsWith("x-")));
  return { ...tree, children };
}

function reportIssue(
  issue: Issue,
  tree: Located,
  reporter: Reporter,
  all: readonly Issue[],
): Repair[] {
  const path = documentPath(issue.path);
  if (issue.code === "unrecognized_keys") {
    return issue.keys.slice(0, ISSUES_MAX)
      .flatMap((key) => reportUnknownKey(key, path, tree, reporter));
  }
  if (issue.code === "invalid_key") {
    const expected = issue.issues[0]?.message ?? "a name";
    const found = String(path.at(-1) ?? "");
    reporter.report(path, "key", {
      message: `${quote(found)} cannot be a name; expected ${expected}`,
      found,
      expected,
    });
    return [];
  }
  if (locate(tree, path) === null) {
    return reportMissing(issue, path, tree, reporter, all);
  }
  return reportWrongValue(issue, path, tree, reporter);
}

function reportUnknownKey(
  key: string,
  path: DocumentPath,
  tree: Located,
  reporter: Reporter,
): Repair[] {
  const parent = locate(tree, path);
  const mode = parent?.children.get("mode")?.scalar;
  const known = keysAt(path, typeof mode === "string" ? mode : null);
  const [word = "", ...rest] = key.split(":");
  if (rest.length > 0 && known.includes(word)) {
    return reportGluedKey(key, word, rest.join(":"), path, reporter);
  }
  const meant = nearest(key, known.filter((name) => parent?.children.has(name) !== true));
  const elsewhere = path[0] === "links"
    ? [...LINK_KEYS].filter(([, keys]) => keys.includes(key)).map(([name]) => name)
    : [];
  const hint = meant !== null
    ? `did you mean ${quote(meant)}?`
    : elsewhere.length > 0
    ? `only a link of mode ${orList(elsewhere)} has it, and this one is ${String(mode)}`
    : `known here: ${known.join(", ")}`;
  reporter.report([...path, key], "key", {
    message: `${formatPath(path)} has an unknown key ${quote(key)}; ${hint}`,
    found: key,
    expected: known.join(", "),
    nearest: meant,
  });
  return [(repaired) => edit(repaired, path, (map) => renameKey(map, key, meant))];
}

/** `listen:tcp://...` is one word to YAML, and so a key. */
function reportGluedKey(
  key: string,
  word: string,
  value: string,
  path: DocumentPath,
  reporter: Reporter,
): Repair[] {
  reporter.report([...path, key], "key", {
    message: `${formatPath(path)} has an unknown key ${quote(key)}; put a space after "${word}:"`,
    found: key,
    expected: `${word}: ${value}`,
    nearest: word,
  });
  const glue = (map: Located): Located => {
    const renamed = renameKey(map, key, word);
    return edit(renamed, [word], (child) => ({ ...child, scalar: value }));
  };
  return [(repaired) => edit(repaired, path, glue)];
}

function reportMissing(
  issue: Issue,
  path: DocumentPath,
  tree: Located,
  reporter: Reporter,
  all: readonly Issue[],
): Repair[] {
  const parentPath = path.slice(0, -1);
  const key = String(path.at(-1) ?? "");
  // A misspelt key was reported already, and is this one.
  const misspelt = all.some((other) =>
    other.code === "unrecognized_keys" &&
    formatPath(documentPath(other.path)) === formatPath(parentPath) &&
    other.keys.some((word) => nearest(word, [key]) !== null)
  );
  if (misspelt) return [];
  const expected = expectedOf(issue);
  const meant = issue.code === "invalid_union" ? misspeltMode(tree, parentPath) : null;
  reporter.report(path, "value", {
    message: `${formatPath(parentPath)} has no ${quote(key)}; expected ${expected}` +
      (meant === null ? "" : `. Is ${quote(meant)} meant to be ${quote(key)}?`),
    found: meant,
    expected,
    nearest: meant === null ? null : key,
  });
  if (meant === null) return [];
  return [(repaired) => edit(repaired, parentPath, (map) => renameKey(map, meant, key))];
}

/** Zod does not look into a link of an unknown mode: a misspelt `mode` is found here. */
function misspeltMode(tree: Located, path: DocumentPath): string | null {
  const known = new Set([...LINK_KEYS.values()].flat());
  const present = [...locate(tree, path)?.children.keys() ?? []].map(String);
  return nearest("mode", present.filter((name) => !known.has(name)));
}

function reportWrongValue(
  issue: Issue,
  path: DocumentPath,
  tree: Located,
  reporter: Reporter,
): Repair[] {
  const node = locate(tree, path);
  const place = reporter.place(path, "value");
  const empty = node !== null && node.kind === "scalar" && node.scalar === null;
  const text = unquoted(reporter.textAt(place));
  const found = empty
    ? "empty"
    : node?.kind === "map"
    ? "a mapping"
    : node?.kind === "list"
    ? "a list"
    : typeof node?.scalar === "string"
    ? quote(text)
    : text;
  const expected = expectedOf(issue);
  const words = wordsOf(issue);
  const meant = typeof node?.scalar === "string" ? nearest(node.scalar, words) : null;
  const needsQuotes = typeof node?.scalar === "number" && path.at(-1) !== "cascade" &&
    issue.code === "invalid_type" && issue.expected === "string";
  reporter.at(place, path, {
    message: `${formatPath(path)} is ${found}; expected ${expected}` +
      (meant === null ? "" : `. Did you mean ${quote(meant)}?`) +
      (needsQuotes ? `. Put it in quotes if it is one: "${String(node.scalar)}"` : ""),
    found: node?.kind === "scalar" && !empty ? text : null,
    expected,
    nearest: meant,
  });
  if (meant === null) return [];
  return [(repaired) => edit(repaired, path, (old) => ({ ...old, scalar: meant }))];
}

/** The phrase after "expected"; the schemas of scalars bring their own. */
function expectedOf(issue: Issue): string {
  const words = wordsOf(issue);
  if (words.length > 0) return orList(words);
  // A schema may have a phrase of its own; what Zod would say is for programmers.
  if (issue.code === "invalid_type" && issue.message.startsWith("Invalid input")) {
    if (issue.expected === "object" || issue.expected === "record") {
      return "a mapping (KEY: VALUE lines)";
    }
    if (issue.expected === "array") return "a list (lines that begin with a dash)";
  }
  return issue.message;
}

/** The words of which one was expected, if it is such an issue. */
function wordsOf(issue: Issue): string[] {
  if (issue.code === "invalid_value") return issue.values.map(String);
  if (issue.code === "invalid_union" && issue.path.at(-1) === "mode") return [...LINK_KEYS.keys()];
  return [];
}

function documentPath(path: readonly PropertyKey[]): DocumentPath {
  return path.map((step) => typeof step === "number" ? step : String(step));
}

function unquoted(text: string): string {
  return /^(["']).*\1$/.test(text) && text.length >= 2 ? text.slice(1, -1) : text;
}

/** A copy of `tree` with the part at `path` changed. */
function edit(tree: Located, path: DocumentPath, change: (part: Located) => Located): Located {
  const [step, ...rest] = path;
  if (step === undefined) return change(tree);
  const child = tree.children.get(step);
  if (child === undefined) return tree;
  const children = new Map(tree.children);
  children.set(step, edit(child, rest, change));
  return { ...tree, children };
}

/** A copy of a mapping with one key under another name, or without it. */
function renameKey(map: Located, key: string, name: string | null): Located {
  const children = new Map(map.children);
  const keys = new Map(map.keys);
  const child = children.get(key);
  const place = keys.get(key);
  children.delete(key);
  keys.delete(key);
  if (name !== null && child !== undefined && place !== undefined && !children.has(name)) {
    children.set(name, child);
    keys.set(name, place);
  }
  return { ...map, children, keys };
}
