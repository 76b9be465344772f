/**
 * The text of a topology as a tree of values that know where they stand in it.
 *
 * YAML is read with the `yaml` library; the tree is built here rather than by the library, since
 * every value needs its place, also one that came through an alias or a merge key (`<<`), and since
 * bounds on size, depth and aliases must hold before anything is built.
 *
 * @module
 */
import { isAlias, isMap, isScalar, isSeq, parseDocument, visit } from "yaml";
import type { Alias, Document, Node, Pair, YAMLMap, YAMLSeq } from "yaml";
import type { DocumentPath } from "./problem.ts";
import { formatPath, quote } from "./problem.ts";
import type { Reporter } from "./reporter.ts";

/** Larger files are no topology. */
export const TEXT_BYTES_MAX = 1024 * 1024;

/** Deeper nesting than a topology can have. */
const DEPTH_MAX = 32;

/** Values in all, each use of an alias counted: stops an alias bomb. */
const VALUES_MAX = 100_000;

const SYNTAX_ERRORS_MAX = 5;

/** Where something stands in the text, in UTF-16 units. */
export interface Place {
  readonly offset: number;
  readonly length: number;
}

/** A value and its place, with those of its parts. */
export interface Located {
  readonly kind: "scalar" | "list" | "map";
  /** What a scalar holds; null for the others. */
  readonly scalar: unknown;
  readonly place: Place;
  /** Places of the keys of a mapping. */
  readonly keys: ReadonlyMap<string, Place>;
  /** Parts of a mapping by key, of a list by index. */
  readonly children: ReadonlyMap<string | number, Located>;
}

/**
 * Reads `reporter.text`. Problems go to `reporter`; the result is null when the text is not a tree
 * at all, else what could be read. Never throws on any text.
 */
export function readSource(reporter: Reporter): Located | null {
  const { text } = reporter;
  if (text.length > TEXT_BYTES_MAX) {
    reporter.at({ offset: 0, length: 1 }, [], {
      message: `the file has more than ${TEXT_BYTES_MAX} characters, which no topology needs`,
    });
    return null;
  }
  let document: Document.Parsed;
  try {
    // Duplicate keys are looked for below: the library compares every key with every other.
    document = parseDocument(text, {
      merge: false,
      prettyErrors: false,
      schema: "core",
      uniqueKeys: false,
    });
  } catch (error) {
    // The library recurses, and text can be nested as deeply as it is long.
    reporter.at({ offset: 0, length: 1 }, [], {
      message: `this cannot be read as YAML: ${error instanceof Error ? error.message : error}`,
    });
    return null;
  }
  reportSyntax(document, reporter);
  if (document.errors.length > 0) return null;
  if (document.contents === null || isEmptyScalar(document.contents)) {
    reporter.at({ offset: 0, length: 1 }, [], {
      message: "the file is empty; `cascade init` writes a topology to start from",
    });
    return null;
  }
  return new TreeBuilder(document, reporter).build();
}

function reportSyntax(document: Document.Parsed, reporter: Reporter): void {
  // The first syntax errors tell; what follows is mostly the parser being lost.
  const lines = new Set<number>();
  for (const error of [...document.errors, ...document.warnings].slice(0, SYNTAX_ERRORS_MAX)) {
    const [from, to] = error.pos;
    const { line } = reporter.position(from);
    if (lines.has(line)) continue;
    lines.add(line);
    const message = error.code === "RESOURCE_EXHAUSTION"
      ? "nested too deeply for a topology"
      : error.code === "MULTIPLE_DOCS"
      ? "a second YAML document begins here; a topology is one"
      : error.code === "TAG_RESOLVE_FAILED"
      ? `${error.message}; a topology needs no tags`
      : error.message;
    reporter.at({ offset: from, length: Math.max(1, to - from) }, [], { message });
  }
}

function isEmptyScalar(node: Node): boolean {
  return isScalar(node) && node.value === null && (node.source ?? "") === "";
}

/** Builds the tree; one for each file. */
class TreeBuilder {
  readonly #document: Document.Parsed;
  readonly #reporter: Reporter;
  readonly #targets: ReadonlyMap<Alias, Node>;
  #count = 0;
  #stopped = false;
  #isBroken = false;

  constructor(document: Document.Parsed, reporter: Reporter) {
    this.#document = document;
    this.#reporter = reporter;
    this.#targets = aliasTargets(document);
  }

  build(): Located | null {
    const tree = this.#node(this.#document.contents, [], 0, { offset: 0, length: 1 });
    return this.#stopped || this.#isBroken ? null : tree;
  }

  #node(node: unknown, path: DocumentPath, depth: number, fallback: Place): Located {
    this.#count++;
    const place = placeOf(node, fallback);
    if (this.#count > VALUES_MAX || depth > DEPTH_MAX) {
      this.#stop(place, path, depth > DEPTH_MAX ? "nested too deeply" : "far too many values");
    }
    if (this.#stopped) return leaf(null, place);
    if (isAlias(node)) {
      const target = this.#targets.get(node);
      if (target === undefined) {
        this.#isBroken = true;
        this.#reporter.at(place, path, {
          message: `there is no anchor &${node.source} before this alias`,
        });
        return leaf(null, place);
      }
      // What the alias stands for keeps its own place: that is where it would be changed.
      return this.#node(target, path, depth + 1, place);
    }
    if (isMap(node)) return this.#map(node, path, depth, place);
    if (isSeq(node)) return this.#sequence(node, path, depth, place);
    return leaf(isScalar(node) ? node.value : null, place);
  }

  #sequence(node: YAMLSeq, path: DocumentPath, depth: number, place: Place): Located {
    const children = new Map<number, Located>();
    for (const [index, item] of node.items.entries()) {
      if (this.#stopped) break;
      children.set(index, this.#node(item, [...path, index], depth + 1, place));
    }
    return { kind: "list", scalar: null, place, keys: new Map(), children };
  }

  #map(node: YAMLMap, path: DocumentPath, depth: number, place: Place): Located {
    const keys = new Map<string, Place>();
    const children = new Map<string, Located>();
    const merges: Pair[] = [];
    for (const pair of node.items) {
      if (this.#stopped) break;
      if (isScalar(pair.key) && pair.key.value === "<<" && pair.key.type === "PLAIN") {
        merges.push(pair);
        continue;
      }
      const keyPlace = placeOf(pair.key, place);
      const key = this.#key(pair, path, keyPlace);
      if (key === null) continue;
      const first = keys.get(key);
      if (first !== undefined) {
        this.#reporter.at(keyPlace, [...path, key], {
          message: `the key ${quote(key)} is here twice; first on line ` +
            `${this.#reporter.position(first.offset).line}`,
          found: key,
        });
        continue;
      }
      keys.set(key, keyPlace);
      children.set(key, this.#node(pair.value, [...path, key], depth + 1, keyPlace));
    }
    for (const pair of merges) this.#merge(pair, path, depth, keys, children);
    return { kind: "map", scalar: null, place, keys, children };
  }

  /** The text of a key, or null (and a problem) when it cannot be one. */
  #key(pair: Pair, path: DocumentPath, place: Place): string | null {
    const key = isAlias(pair.key) ? this.#targets.get(pair.key) : pair.key;
    const text = isScalar(key) ? key.source ?? String(key.value) : null;
    if (text !== null && text !== "" && text !== "__proto__") return text;
    this.#reporter.at(place, path, { message: `${formatPath(path)} has a key that is not a name` });
    return null;
  }

  /** `<<`: what the mapping itself does not say is taken from another (YAML 1.1's merge key). */
  #merge(
    pair: Pair,
    path: DocumentPath,
    depth: number,
    keys: Map<string, Place>,
    children: Map<string, Located>,
  ): void {
    const place = placeOf(pair.key, { offset: 0, length: 2 });
    const merged = this.#node(pair.value, path, depth + 1, place);
    const sources = merged.kind === "list" ? [...merged.children.values()] : [merged];
    for (const source of sources) {
      if (this.#stopped) return;
      if (source.kind !== "map") {
        this.#isBroken = true;
        this.#reporter.at(place, path, { message: "<< takes a mapping, or a list of them" });
        continue;
      }
      for (const [key, child] of source.children) {
        if (keys.has(String(key))) continue;
        keys.set(String(key), source.keys.get(String(key)) ?? place);
        children.set(String(key), child);
      }
    }
  }

  #stop(place: Place, path: DocumentPath, message: string): void {
    if (this.#stopped) return;
    this.#stopped = true;
    this.#reporter.at(place, path, { message: `${message} for a topology` });
  }
}

/** What each alias stands for: the last anchor of its name before it. In one pass for all. */
function aliasTargets(document: Document.Parsed): Map<Alias, Node> {
  const anchors = new Map<string, Node>();
  const targets = new Map<Alias, Node>();
  visit(document, {
    Node(_key, node) {
      if (isAlias(node)) {
        const target = anchors.get(node.source);
        if (target !== undefined) targets.set(node, target);
      } else if (node.anchor !== undefined) {
        anchors.set(node.anchor, node);
      }
    },
  });
  return targets;
}

function leaf(scalar: unknown, place: Place): Located {
  return { kind: "scalar", scalar, place, keys: new Map(), children: new Map() };
}

function placeOf(node: unknown, fallback: Place): Place {
  const range = (node as Partial<Node> | null)?.range;
  if (range === undefined || range === null) return fallback;
  // An empty value stands nowhere: its key tells the reader more.
  if (range[1] <= range[0]) return fallback;
  return { offset: range[0], length: range[1] - range[0] };
}

/** The part of the tree at `path`, or null when the file has nothing there. */
export function locate(tree: Located, path: DocumentPath): Located | null {
  let found: Located | undefined = tree;
  for (const step of path) {
    found = found.children.get(step);
    if (found === undefined) return null;
  }
  return found;
}

/** The tree as plain data, such as JSON holds. */
export function plain(tree: Located): unknown {
  if (tree.kind === "scalar") return tree.scalar;
  if (tree.kind === "list") return [...tree.children.values()].map(plain);
  return Object.fromEntries([...tree.children].map(([key, child]) => [key, plain(child)]));
}
