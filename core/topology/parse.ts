/**
 * From the text of a topology file to a checked topology, or to everything that is wrong with it:
 * text, tree (source.ts), shape (shape.ts), meaning (lint.ts).
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import { lintAvailable } from "./available.ts";
import { lint } from "./lint.ts";
import { formatProblem, type Problem } from "./problem.ts";
import { Reporter } from "./reporter.ts";
import { checkShape } from "./shape.ts";
import { readSource } from "./source.ts";
import { buildTopology, type Topology } from "./topology.ts";

/** What came of a text: a topology (unless there are errors), and its problems by place. */
export interface ParseResult {
  readonly topology: Topology | null;
  readonly problems: readonly Problem[];
}

/**
 * Checks `text`. `file` is named in problems as it is given; `folder`, the absolute path of the
 * file's folder, is what relative paths are resolved from. Never throws, whatever the text.
 *
 * @example
 * ```ts
 * const { topology, problems } = parseTopology(text, "topology.yaml", "/etc/cascade");
 * ```
 */
export function parseTopology(text: string, file: string, folder: string): ParseResult {
  // An editor may have left a byte order mark; without it columns are what editors show.
  const reporter = new Reporter(file, text.startsWith("\ufeff") ? text.slice(1) : text);
  const topology = check(reporter, folder);
  const problems = reporter.problems();
  return { topology: reporter.errors === 0 ? topology : null, problems };
}

function check(reporter: Reporter, folder: string): Topology | null {
  const tree = readSource(reporter);
  if (tree === null) return null;
  reporter.tree = tree;
  const spec = checkShape(tree, reporter);
  if (spec === null) return null;
  const topology = buildTopology(spec, folder, reporter);
  lintAvailable(topology, reporter);
  lint(topology);
  return topology;
}

/** The topology of a result. Throws `topology`, one line for each error, when there are any. */
export function topologyOrThrow(result: ParseResult): Topology {
  if (result.topology !== null) return result.topology;
  const errors = result.problems.filter((problem) => problem.severity === "error");
  throw new CascadeError("topology", errors.map(formatProblem).join("\n"));
}
