/**
 * Two promotions at once, side by side: what each half of the cascade has. Pure.
 *
 * @module
 */
import type { NodeStatus } from "../../core/status.ts";
import { approximateSize } from "../../core/topology/units.ts";
import type { ConflictReport } from "../../core/tree/tree_report.ts";

const EPOCHS_SHOWN = 6;

/** One reign of a history. */
interface Reign {
  readonly number: number;
  readonly firstLsn: number;
  readonly node: string;
}

/** What follows the same of the promotions. */
interface Half {
  readonly title: string;
  readonly nodes: readonly { readonly name: string; readonly endLsn: number }[];
  readonly epochs: readonly Reign[];
}

/** The halves of a decision, and what it leaves behind; `dirs`: where each node keeps what is its own. */
export function conflictLines(
  { forkLsn, halves, silent }: ConflictReport,
  dirs: ReadonlyMap<string, string>,
  isDone: boolean,
): string[] {
  const kept = isDone ? "kept" : "to be kept";
  const shown = halves.map(({ primary, isKept, nodes, epochs }) => ({
    title: isKept ? `${primary} (${kept})` : primary,
    nodes,
    epochs,
  }));
  const left = halves.flatMap(({ nodes }) => nodes).flatMap(({ name, lostBytes, keptIn }) => {
    if (keptIn === null) return [];
    const size = approximateSize(lostBytes);
    const folder = `${dirs.get(name) ?? name}/${keptIn}`;
    return [`Left behind: ${size} of log that ${name} alone has, kept there as ${folder}`];
  });
  const unknown = silent.map((name) =>
    `${name} does not answer: what it may have beyond is kept in ${
      dirs.get(name) ?? name
    }/abandoned once it is back`
  );
  const nothing = left.length + unknown.length === 0 ? ["Left behind: nothing."] : [];
  return [...drawn(shown, forkLsn), "", ...left, ...nothing, ...unknown];
}

/** The halves as the nodes tell of them; none: there is no conflict. */
export function conflictOf(statuses: readonly NodeStatus[]): string[] {
  const trees = statuses.flatMap((status) =>
    status.tree === null ? [] : [{ status, tree: status.tree }]
  );
  if (!trees.some(({ tree }) => tree.conflict !== null)) return [];
  const reign = Math.max(...trees.map(({ tree }) => tree.reign));
  const primaries = [
    ...new Set(trees.filter(({ tree }) => tree.reign === reign).map(({ tree }) => tree.primary)),
  ];
  if (primaries.length < 2) return [];
  const members = primaries.map((primary) =>
    trees.filter(({ tree }) => tree.reign === reign && tree.primary === primary)
  );
  const histories = members.map((half, i) =>
    (half.find(({ status }) => status.name === primaries[i]) ?? half[0])?.status.history ?? []
  );
  const forkLsn = forkOf(histories);
  const halves = members.map((half, i): Half => ({
    title: primaries[i] ?? "",
    nodes: half.map(({ status }) => ({ name: status.name, endLsn: status.lsn.appended })),
    epochs: (histories[i] ?? []).filter(({ firstLsn }) => forkLsn !== null && firstLsn >= forkLsn),
  }));
  return drawn(halves, forkLsn);
}

/** Where histories part, behind the last reign that all of them have; null: they have none in common. */
function forkOf(histories: readonly (readonly Reign[])[]): number | null {
  const [first = [], ...others] = histories;
  const has = (history: readonly Reign[], reign: Reign) =>
    history.some(({ number, firstLsn, node }) =>
      number === reign.number && firstLsn === reign.firstLsn && node === reign.node
    );
  const last = first.findLast((reign) => others.every((other) => has(other, reign)));
  if (last === undefined) return null;
  const next = histories.flatMap((history) =>
    history.filter(({ number, firstLsn }) => firstLsn >= last.firstLsn && number !== last.number)
      .filter(({ number }) => number > last.number).map(({ firstLsn }) => firstLsn)
  );
  return next.length === 0 ? null : Math.min(...next);
}

function drawn(halves: readonly Half[], forkLsn: number | null): string[] {
  const common = forkLsn === null ? "not known" : `up to LSN ${forkLsn}`;
  const rows: [string, string[][]][] = [
    ["", halves.map(({ title }) => [title])],
    ["nodes", halves.map(({ nodes }) => [nodes.map(({ name }) => name).join(", ")])],
    ["in common", halves.map(() => [common])],
    ["since then", halves.map(({ epochs }) => epochLines(epochs))],
    ["log ends at", halves.map(({ nodes }) => [endText(nodes)])],
  ];
  const left = Math.max(...rows.map(([label]) => label.length));
  const widths = halves.map((_, i) =>
    Math.max(...rows.flatMap(([, cells]) => (cells[i] ?? []).map((text) => text.length)))
  );
  return rows.flatMap(([label, cells]) => {
    const height = Math.max(1, ...cells.map((lines) => lines.length));
    return Array.from({ length: height }, (_, line) => {
      const texts = cells.map((lines, i) => (lines[line] ?? "").padEnd(widths[i] ?? 0));
      return `${(line === 0 ? label : "").padEnd(left)}  ${texts.join("  |  ")}`.trimEnd();
    });
  });
}

function epochLines(epochs: readonly Reign[]): string[] {
  const lines = epochs.slice(0, EPOCHS_SHOWN)
    .map(({ number, node, firstLsn }) => `epoch ${number} of ${node} from LSN ${firstLsn} on`);
  const more = epochs.length - EPOCHS_SHOWN;
  if (more > 0) lines.push(`and ${more} more`);
  return lines.length === 0 ? ["nothing of its own"] : lines;
}

function endText(nodes: Half["nodes"]): string {
  const ends = new Set(nodes.map(({ endLsn }) => endLsn));
  if (ends.size <= 1) return nodes[0] === undefined ? "?" : String(nodes[0].endLsn);
  return nodes.map(({ name, endLsn }) => `${endLsn} (${name})`).join(", ");
}
