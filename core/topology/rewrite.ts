/**
 * A topology's text with the roles and links as they are by now in place of those that it says. Nothing else of it
 * changes, and no comment is lost; what comes out was checked like any other topology, and says what was wanted.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { CascadeError } from "../errors.ts";
import {
  isDeclaredIn,
  type SettledLink,
  settledLinks,
  settledParents,
  settledTree,
} from "../tree/settled.ts";
import type { ClusterTree } from "../tree/tree.ts";
import type { View } from "../tree/view.ts";
import { dialAddresses } from "./hosts.ts";
import { nodeNamed, treeOf } from "./node_config.ts";
import { parseTopology, topologyOrThrow } from "./parse.ts";
import { type DocumentPath, formatProblem } from "./problem.ts";
import { Reporter } from "./reporter.ts";
import { locate, type Located, plain, readSource } from "./source.ts";
import type { Topology } from "./topology.ts";
import { editMaps, type MapEdit } from "./yaml_edit.ts";

/** Of keys that go, each round takes one a mapping. */
const ROUNDS_MAX = 32;

/** What a mapping is to hold; `isWhole`: and no other keys. */
interface Wanted {
  readonly path: DocumentPath;
  readonly values: ReadonlyMap<string, unknown>;
  readonly isWhole: boolean;
}

/**
 * The text of `file` with the roles and links of `view`; the text itself when it says so already. `folder` is where
 * relative paths are resolved from. Throws `topology` when the file is wrong as it is, `refused` when it would be wrong,
 * or is written in a way that cannot be changed here.
 */
export function rewriteTopology(text: string, file: string, folder: string, view: View): string {
  const before = topologyOrThrow(parseTopology(text, file, folder));
  const tree = treeOf(before);
  if (!tree.nodes.some(({ name }) => name === view.primary)) {
    throw refused(`it has no node "${view.primary}", which is the primary`);
  }
  if (isDeclaredIn(tree, view)) return text;
  const slots = settledLinks(tree, view);
  if (slots.length !== before.links.length) throw refused("its links are not those of the tree");
  const settled = settledTree(tree, view);
  const wanted = [
    ...settled.nodes.map(({ name, role }): Wanted => ({
      path: ["nodes", name],
      values: new Map<string, unknown>([["role", role], ...wantedParents(before, settled, name)]),
      isWhole: false,
    })),
    ...slots.flatMap((slot, index) => wantedLink(before, slot, index) ?? []),
  ];
  const mark = text.startsWith("\ufeff") ? "\ufeff" : "";
  const result = mark + edited(text.slice(mark.length), file, wanted);
  check(before, parseTopology(result, file, folder), settled);
  return result;
}

/** A list of parents begins with the node that the links put it below. */
function wantedParents(
  topology: Topology,
  settled: ClusterTree,
  name: string,
): [string, unknown][] {
  const { parents } = nodeNamed(topology, name);
  const wanted = settledParents(parents, upstreamOf(settled, name));
  return wanted === parents ? [] : [["parents", wanted]];
}

function upstreamOf({ links }: ClusterTree, name: string): string | undefined {
  return links.find(({ to }) => to === name)?.from;
}

/** What is to stand at the place of one link; null: what stands there. */
function wantedLink(topology: Topology, slot: SettledLink, index: number): Wanted | null {
  const { link, model } = slot;
  const { from, to } = topology.links[index]!;
  if (link.from === from && link.to === to) return null;
  const like = topology.links[model]!;
  const source = topology.reporter.tree;
  const located = source === null ? null : locate(source, ["links", model]);
  const values = new Map(Object.entries(located === null ? {} : plain(located) as object));
  values.set("from", link.from);
  values.set("to", link.to);
  if (values.has("name")) values.set("name", link.name);
  if (values.has("dial") || link.dial !== "to") values.set("dial", link.dial);
  if (values.get("onDisconnect") === "fail") values.set("onDisconnect", link.onDisconnect);
  if (values.get("paused") === true) values.set("paused", link.paused);
  const dialled = nodeNamed(topology, link.dial === "to" ? link.from : link.to);
  if (String(dialAddresses(dialled, like)) !== String(link.addresses)) {
    values.delete("transport");
    values.delete("exec");
  }
  return { path: ["links", index], values, isWhole: true };
}

function edited(text: string, file: string, wanted: readonly Wanted[]): string {
  let current = text;
  for (let round = 0; round < ROUNDS_MAX; round++) {
    const source = readSource(new Reporter(file, current));
    if (source === null) break;
    const edits = wanted.flatMap((one) => editOf(source, one) ?? []);
    if (edits.length === 0) return current;
    const next = editMaps(current, edits);
    if (next === null || next === current) break;
    current = next;
  }
  throw refused("its roles and links are written in a way that cannot be changed here");
}

function editOf(source: Located, { path, values, isWhole }: Wanted): MapEdit | null {
  const located = locate(source, path);
  const found = new Map(Object.entries(located === null ? {} : plain(located) as object));
  const isSame = (key: string, value: unknown) =>
    found.has(key) && JSON.stringify(found.get(key)) === JSON.stringify(value);
  const set = new Map([...values].filter(([key, value]) => !isSame(key, value)));
  const remove = isWhole ? [...found.keys()].filter((key) => !values.has(key)) : [];
  return set.size === 0 && remove.length === 0 ? null : { path, set, remove };
}

/** What was written is a topology, and differs from the one before in what was meant and in nothing else. */
function check(
  before: Topology,
  result: ReturnType<typeof parseTopology>,
  settled: ReturnType<typeof treeOf>,
): void {
  const { topology, problems } = result;
  if (topology === null) {
    const error = problems.find(({ severity }) => severity === "error");
    const why = error === undefined ? "" : `: ${formatProblem(error)}`;
    throw refused(`with the roles and links as they are now it would be wrong${why}`);
  }
  const now = treeOf(topology);
  const isMeant = canon(now.nodes) === canon(settled.nodes) &&
    canon(byEnd(now.links)) === canon(byEnd(settled.links)) &&
    restOf(topology, settled) === restOf(before, settled);
  if (!isMeant) {
    throw refused("its roles and links are written in a way that cannot be changed here");
  }
}

function byEnd(links: readonly LinkConfig[]): LinkConfig[] {
  return links.toSorted((a, b) => a.to < b.to ? -1 : 1);
}

function restOf(
  { reporter: _reporter, links: _links, nodes, ...rest }: Topology,
  settled: ClusterTree,
): string {
  const listed = nodes.map(({ role: _role, ...node }) => ({
    ...node,
    parents: settledParents(node.parents, upstreamOf(settled, node.name)),
  }));
  return canon([rest, listed]);
}

/** The same text for the same data, in whichever order its keys came. */
function canon(data: unknown): string {
  return JSON.stringify(data, (_key, value) => {
    if (value instanceof Map) return [...value];
    if (typeof value !== "object" || value === null || Array.isArray(value)) return value;
    return Object.fromEntries(Object.entries(value).sort(([a], [b]) => a < b ? -1 : 1));
  });
}

function refused(why: string): CascadeError {
  return new CascadeError("refused", why, { hint: "Change roles and links there by hand" });
}
