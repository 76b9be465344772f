/**
 * Gathers the problems of one file and gives each its line and column.
 *
 * @module
 */
import type { DocumentPath, Problem, Severity } from "./problem.ts";
import { compareProblems, formatPath } from "./problem.ts";
import type { Located, Place } from "./source.ts";

/** More problems than this are counted and not kept. */
const PROBLEMS_MAX = 100;

/** What there is to say of a problem, beside its place. */
export interface Report {
  readonly message: string;
  readonly severity?: Severity;
  readonly found?: string | null;
  readonly expected?: string | null;
  readonly nearest?: string | null;
}

/** Which part of an entry is at fault: its key or its value. */
export type Target = "key" | "value";

/** The problems of one file. */
export class Reporter {
  readonly file: string;
  readonly text: string;
  readonly #lineOffsets: readonly number[];
  readonly #problems: Problem[] = [];
  readonly #seen = new Set<string>();
  #omitted = 0;
  #errors = 0;
  #tree: Located | null = null;

  /** `file` is named in the problems, as the user gave it. */
  constructor(file: string, text: string) {
    this.file = file;
    this.text = text;
    const offsets = [0];
    for (let at = text.indexOf("\n"); at !== -1; at = text.indexOf("\n", at + 1)) {
      offsets.push(at + 1);
    }
    this.#lineOffsets = offsets;
  }

  /** The tree that {@linkcode Reporter.report} finds its places in. */
  set tree(tree: Located | null) {
    this.#tree = tree;
  }

  get tree(): Located | null {
    return this.#tree;
  }

  /** How many of the problems are errors. */
  get errors(): number {
    return this.#errors;
  }

  /** All problems, by place. */
  problems(): Problem[] {
    const sorted = this.#problems.toSorted(compareProblems);
    const last = sorted.at(-1);
    if (this.#omitted > 0 && last !== undefined) {
      sorted.push({ ...last, message: `and ${this.#omitted} more problems`, found: null });
    }
    return sorted;
  }

  /** Line and column, both from 1. */
  position(offset: number): { line: number; column: number } {
    let low = 0;
    let high = this.#lineOffsets.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#lineOffsets[middle] ?? 0) <= offset) low = middle;
      else high = middle - 1;
    }
    return { line: low + 1, column: offset - (this.#lineOffsets[low] ?? 0) + 1 };
  }

  /** Reports a problem at a place in the text. */
  at(place: Place, path: DocumentPath, report: Report): void {
    const { line, column } = this.position(place.offset);
    const severity = report.severity ?? "error";
    // An anchor is checked at each of its uses, and is wrong only once.
    const once = `${place.offset} ${severity} ${withoutPath(report.message, path)}`;
    if (this.#seen.has(once)) return;
    this.#seen.add(once);
    if (severity === "error") this.#errors++;
    if (this.#problems.length >= PROBLEMS_MAX) {
      this.#omitted++;
      return;
    }
    const lineEnd = this.#lineOffsets[line] ?? this.text.length + 1;
    this.#problems.push({
      severity,
      file: this.file,
      line,
      column,
      length: Math.max(1, Math.min(place.length, lineEnd - 1 - place.offset)),
      message: report.message,
      path: formatPath(path),
      found: report.found ?? null,
      expected: report.expected ?? null,
      nearest: report.nearest ?? null,
    });
  }

  /** Reports a problem of an entry; of the nearest thing around it, if the file has no such entry. */
  report(path: DocumentPath, target: Target, report: Report): void {
    this.at(this.place(path, target), path, report);
  }

  /** Where an entry's key or value stands, or what is around it. */
  place(path: DocumentPath, target: Target): Place {
    let node = this.#tree;
    let key: Place = { offset: 0, length: 1 };
    for (const [index, step] of path.entries()) {
      const child = node?.children.get(step);
      const childKey = node?.keys.get(String(step));
      if (node === null || child === undefined) {
        // Not there: a scalar in place of a list, the key of what should hold it, or its start.
        if (node?.kind === "scalar") return node.place;
        return index === 0 || typeof path[index - 1] === "number" ? node?.place ?? key : key;
      }
      key = childKey ?? child.place;
      node = child;
    }
    return target === "key" ? key : node?.place ?? key;
  }

  /** The text that stands at a place: its first line. */
  textAt(place: Place): string {
    const text = this.text.slice(place.offset, place.offset + place.length);
    return text.split("\n", 1)[0]?.trim() ?? "";
  }
}

/** A message without the path that it begins with. */
function withoutPath(message: string, path: DocumentPath): string {
  const prefix = [path, path.slice(0, -1)].map(formatPath).find((text) => message.startsWith(text));
  return message.slice(prefix?.length ?? 0);
}
