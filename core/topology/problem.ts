/**
 * What is wrong with a topology, and where: the shape in which the parser and the lints report.
 *
 * @module
 */

/** An error refuses the topology; a warning is told and goes on. */
export type Severity = "error" | "warning";

/** One thing that is wrong, with its place in the file. */
export interface Problem {
  readonly severity: Severity;
  /** As the user gave it. */
  readonly file: string;
  /** From 1. */
  readonly line: number;
  /** From 1, in UTF-16 units, as editors count. */
  readonly column: number;
  /** Length of the offending text on that line, at least 1. */
  readonly length: number;
  /** A whole sentence: what was found, what was expected, what to do. */
  readonly message: string;
  /** Where in the document: `links[2].mode`. */
  readonly path: string;
  /** The offending text, if there is one. */
  readonly found: string | null;
  /** What was expected in its place, if that can be said. */
  readonly expected: string | null;
  /** The nearest right word to a misspelt one. */
  readonly nearest: string | null;
}

/** A way to a place in the document. */
export type DocumentPath = readonly (string | number)[];

/** `links[2].mode`; the empty path is the topology itself. */
export function formatPath(path: DocumentPath): string {
  let text = "";
  for (const step of path) {
    if (typeof step === "number") text += `[${step}]`;
    else text += (text === "" ? "" : ".") + (/^[\w-]{1,64}$/.test(step) ? step : quote(step));
  }
  return text === "" ? "the topology" : text;
}

/** Text between double quotes, on one line and not too long. */
export function quote(text: string): string {
  const short = text.length > 60 ? `${text.slice(0, 57)}...` : text;
  return JSON.stringify(short);
}

/** `FILE:LINE:COL: error: message`, as compilers write it. */
export function formatProblem(problem: Problem): string {
  const { file, line, column, severity, message } = problem;
  return `${file}:${line}:${column}: ${severity}: ${message}`;
}

/** By place; at one place errors first. */
export function compareProblems(a: Problem, b: Problem): number {
  return a.line - b.line || a.column - b.column || a.severity.localeCompare(b.severity);
}
