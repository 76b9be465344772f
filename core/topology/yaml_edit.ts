/**
 * Changes of single keys in a YAML text that leave all else as it stands, to the character: comments, layout,
 * quotes, anchors. The `yaml` library tells where things are; its own writing would lay the whole text out anew.
 *
 * A comment within a key that goes stays, on a line of its own.
 *
 * @module
 */
import { isAlias, isMap, isScalar, isSeq, parseDocument, Parser, Scalar } from "yaml";
import type { CST, Document, Node, Pair, YAMLMap } from "yaml";
import type { DocumentPath } from "./problem.ts";

/** What is to become of one mapping. */
export interface MapEdit {
  readonly path: DocumentPath;
  /** Keys with their new values. */
  readonly set: ReadonlyMap<string, unknown>;
  readonly remove: readonly string[];
}

/** A piece of the text, and what comes in its place. */
interface Splice {
  readonly from: number;
  readonly to: number;
  readonly text: string;
}

/**
 * Makes the edits, or a part of them: of keys that go, one a mapping. So it is to be called until nothing is left to
 * do. Null when there is no mapping at a path, or not one that can be changed. `text` is YAML that was read before.
 */
export function editMaps(text: string, edits: readonly MapEdit[]): string | null {
  const document = parseDocument(text, {
    merge: false,
    prettyErrors: false,
    schema: "core",
    uniqueKeys: false,
  });
  const editor = new Editor(text, document);
  const splices: Splice[] = [];
  for (const edit of edits) {
    const made = editor.edit(edit);
    if (made === null) return null;
    // Two ways may lead to one mapping, through an alias.
    const isClear = made.every((one) => !splices.some((other) => overlap(one, other)));
    if (isClear) splices.push(...made);
  }
  return apply(text, splices);
}

/** The comments of a YAML text, each with its hash sign, in their order. */
export function commentsOf(text: string): { offset: number; source: string }[] {
  const found: { offset: number; source: string }[] = [];
  const walk = (value: unknown) => {
    if (Array.isArray(value)) return value.forEach(walk);
    if (typeof value !== "object" || value === null) return;
    const token = value as Partial<CST.SourceToken>;
    if (token.type === "comment") {
      found.push({ offset: token.offset ?? 0, source: (token.source ?? "").trimEnd() });
    }
    Object.values(value).forEach(walk);
  };
  for (const token of new Parser().parse(text)) walk(token);
  return found.sort((a, b) => a.offset - b.offset);
}

function overlap(a: Splice, b: Splice): boolean {
  return a.from < b.to && b.from < a.to || (a.from === b.from && a.to === b.to);
}

function apply(text: string, splices: readonly Splice[]): string {
  // From the end, so that places before stay right; where one inserts and one takes away, that one first.
  const sorted = splices.toSorted((a, b) => b.from - a.from || b.to - a.to);
  let result = text;
  for (const { from, to, text: made } of sorted) {
    result = result.slice(0, from) + made + result.slice(to);
  }
  return result;
}

/** Finds the splices for edits of one text. */
class Editor {
  readonly #text: string;
  readonly #document: Document.Parsed;
  readonly #eol: string;

  constructor(text: string, document: Document.Parsed) {
    this.#text = text;
    this.#document = document;
    this.#eol = text.includes("\r\n") ? "\r\n" : "\n";
  }

  edit({ path, set, remove }: MapEdit): Splice[] | null {
    const node = this.#find(path);
    if (node === null) return null;
    if (isAlias(node)) {
      // What it stands for is others', too: it is taken in, with what differs beside it.
      const [from, to] = rangeOf(node);
      const pairs = [`<<: ${this.#text.slice(from, to)}`, ...pairTexts(set, false)];
      return remove.length > 0 ? null : [{ from, to, text: `{ ${pairs.join(", ")} }` }];
    }
    if (!isMap(node) || node.items.length === 0) return null;
    const fresh = new Map(set);
    const splices: Splice[] = [];
    const gone = new Set(remove);
    for (const pair of node.items) {
      const key = keyOf(pair);
      if (key === null || !set.has(key)) continue;
      const change = this.#change(pair, set.get(key));
      // What is not one word goes, and comes anew.
      if (change === null) gone.add(key);
      else {
        splices.push(change);
        fresh.delete(key);
      }
    }
    const going = node.items.findIndex((pair) => gone.has(keyOf(pair) ?? ""));
    if (going >= 0) {
      const removal = this.#remove(node, going);
      return removal === null ? null : [removal];
    }
    // One that comes by a merge key cannot be taken away here.
    if (remove.length > 0) return null;
    if (fresh.size > 0) splices.push(this.#insert(node, fresh));
    return splices;
  }

  #find(path: DocumentPath): Node | null {
    let node: unknown = this.#document.contents;
    for (const step of path) {
      const at: unknown = isAlias(node) ? node.resolve(this.#document) : node;
      if (isMap(at)) node = at.items.find((pair) => keyOf(pair) === step)?.value;
      else if (isSeq(at) && typeof step === "number") node = at.items[step];
      else return null;
    }
    return node === undefined ? null : node as Node | null;
  }

  #change({ value }: Pair, wanted: unknown): Splice | null {
    if (Array.isArray(wanted) && isSeq(value) && value.flow === true) {
      const [from, to] = rangeOf(value);
      // A comment in it would be lost.
      if (this.#comments(from, to).length > 0) return null;
      return { from, to, text: valueText(wanted, undefined) };
    }
    const isWord = (typeof wanted !== "object" || wanted === null) &&
      (isAlias(value) || (isScalar(value) && !isBlock(value) && rangeOf(value)[1] > 0));
    if (!isWord) return null;
    const [from, to] = rangeOf(value as Node);
    return { from, to, text: wordText(wanted, isScalar(value) ? value.type : undefined) };
  }

  #insert(map: YAMLMap, fresh: ReadonlyMap<string, unknown>): Splice {
    const first = map.items[0]!;
    const isQuoted = isScalar(first.key) && first.key.type === Scalar.QUOTE_DOUBLE;
    const texts = pairTexts(fresh, isQuoted);
    const before = map.items.findLast((pair) =>
      ["from", "to"].includes(keyOf(pair) ?? "") && (isAlias(pair.value) || isScalar(pair.value)) &&
      !isBlock(pair.value)
    );
    if (map.flow === true) {
      if (before !== undefined) {
        const at = rangeOf(before.value as Node)[1];
        return { from: at, to: at, text: texts.map((text) => `, ${text}`).join("") };
      }
      const at = rangeOf(map)[0] + 1;
      const isTight = this.#text[at] !== " ";
      const lead = isTight ? "" : " ";
      const text = texts.map((one) => `${lead}${one},`).join("") + (isTight ? " " : "");
      return { from: at, to: at, text };
    }
    if (before !== undefined) {
      const at = this.#lineEnd(rangeOf(before.value as Node)[1]);
      const indent = this.#indentOf(before);
      return { from: at, to: at, text: texts.map((text) => this.#eol + indent + text).join("") };
    }
    const at = rangeOf(first.key as Node)[0];
    const indent = this.#indentOf(first);
    return { from: at, to: at, text: texts.map((text) => text + this.#eol + indent).join("") };
  }

  #remove(map: YAMLMap, index: number): Splice | null {
    const [pair, next, previous] = [map.items[index]!, map.items[index + 1], map.items[index - 1]];
    const isFlow = map.flow === true;
    const indent = this.#indentOf(pair);
    if (next !== undefined) {
      const from = rangeOf(pair.key as Node)[0];
      const to = rangeOf(next.key as Node)[0];
      const kept = this.#comments(from, to).map((comment) => comment + this.#eol + indent);
      return { from, to, text: kept.join("") };
    }
    if (previous === undefined) return null;
    const end = this.#endOf(previous);
    const from = isFlow ? end : this.#lineEnd(end);
    const to = isFlow ? this.#endOf(pair) : this.#lineEnd(this.#endOf(pair));
    const kept = this.#comments(from, to).map((comment) => this.#eol + indent + comment);
    return {
      from,
      to,
      text: kept.join("") + (isFlow && kept.length > 0 ? this.#eol + indent : ""),
    };
  }

  #comments(from: number, to: number): string[] {
    return commentsOf(this.#text).filter(({ offset }) => offset >= from && offset < to)
      .map(({ source }) => source);
  }

  /** Where a pair ends, without the line end that is a part of a block. */
  #endOf({ key, value }: Pair): number {
    let [, end] = rangeOf((value ?? key) as Node);
    while (end > 0 && /[\r\n ]/.test(this.#text[end - 1]!)) end--;
    return end;
  }

  /** The end of the line at `offset`, before its line end. */
  #lineEnd(offset: number): number {
    const next = this.#text.indexOf("\n", offset);
    if (next < 0) return this.#text.length;
    return this.#text[next - 1] === "\r" && next > offset ? next - 1 : next;
  }

  /** As many spaces as stand, or what else does, before a key. */
  #indentOf({ key }: Pair): string {
    const [from] = rangeOf(key as Node);
    return " ".repeat(from - (this.#text.lastIndexOf("\n", from - 1) + 1));
  }
}

function isBlock(node: unknown): boolean {
  return isScalar(node) &&
    (node.type === Scalar.BLOCK_LITERAL || node.type === Scalar.BLOCK_FOLDED);
}

function keyOf({ key }: Pair): string | null {
  return isScalar(key) ? key.source ?? String(key.value) : null;
}

function rangeOf(node: Node): [from: number, to: number] {
  const [from, to] = node.range ?? [0, 0];
  return [from, to];
}

function pairTexts(pairs: ReadonlyMap<string, unknown>, isQuoted: boolean): string[] {
  const style = isQuoted ? Scalar.QUOTE_DOUBLE : undefined;
  return [...pairs].map(([key, value]) => `${wordText(key, style)}: ${valueText(value, style)}`);
}

function valueText(value: unknown, style: Scalar.Type | undefined): string {
  if (Array.isArray(value)) return `[${value.map((item) => valueText(item, style)).join(", ")}]`;
  if (typeof value !== "object" || value === null) return wordText(value, style);
  return `{ ${pairTexts(new Map(Object.entries(value)), style !== undefined).join(", ")} }`;
}

/** Words that are no text when they stand without quotes. */
const NO_TEXT = /^(?:null|true|false)$/i;

function wordText(value: unknown, style: Scalar.Type | undefined): string {
  if (typeof value !== "string") return JSON.stringify(value);
  if (style === Scalar.QUOTE_SINGLE) return `'${value.replaceAll("'", "''")}'`;
  const isPlain = /^[a-z][\w.-]*$/i.test(value) && !NO_TEXT.test(value);
  return isPlain && style !== Scalar.QUOTE_DOUBLE ? value : JSON.stringify(value);
}
