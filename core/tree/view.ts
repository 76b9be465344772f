/**
 * Who reigns, and who is fed by whom, as the nodes themselves have settled it: what goes beyond the topology
 * file. Every node keeps its own view, durably, and tells it in each handshake; two views are merged, and any
 * order of merging ends with the same one (a last-writer-wins map, as in the literature on convergent
 * replicated data types).
 *
 * @module
 */
import * as z from "zod";

/** Reigns by promotion count in steps of this; those that a restart begins count by ones between them. */
export const PROMOTION_STEP = 4096;

const NODES_MAX = 128;
const name = z.string().min(1).max(128);
const count = z.number().int().nonnegative();

/** Whom a node is fed by. A later reign beats an earlier one, within one the greater serial. */
const parentSchema = z.object({
  to: name,
  reign: count,
  serial: count,
  /** The node has chosen that parent by itself, and is at home below this one. Left out: it was told to. */
  home: name.optional(),
  /** An operator said so before the reign began, and it goes on to count. */
  typed: z.literal(true).optional(),
});

export const viewSchema = z.object({
  primary: name,
  /** The promotion by which it reigns: number and id of the epoch that began with it; 0 and "": the file's. */
  reign: count.max(0xffff_ffff),
  reignId: z.string().max(32),
  parents: z.record(name, parentSchema)
    .refine((parents) => Object.keys(parents).length <= NODES_MAX, "too many nodes"),
});

/** See the module's text. */
export type View = z.infer<typeof viewSchema>;

/** The view of a cascade in which nothing was ever changed: all is as the topology file says. */
export function firstView(primary: string): View {
  return { primary, reign: 0, reignId: "", parents: {} };
}

/** Whether both name the same reign, or one of them a later one; false: both were promoted at once. */
export function agree(a: View, b: View): boolean {
  return a.reign !== b.reign || a.reignId === b.reignId;
}

/** All that either knows. Of two promotions at once `mine` stays. */
export function mergeViews(mine: View, theirs: View): View {
  const reigning = theirs.reign > mine.reign ? theirs : mine;
  const parents: View["parents"] = { ...mine.parents };
  for (const [node, entry] of Object.entries(theirs.parents)) {
    const known = parents[node];
    if (known === undefined || isNewer(entry, known)) parents[node] = entry;
    // Who knows less of the same word has it from a node of an older version.
    else if (!isNewer(known, entry)) parents[node] = { ...entry, ...known };
  }
  const { primary, reign, reignId } = reigning;
  return { primary, reign, reignId, parents };
}

type Parent = View["parents"][string];

function isNewer(entry: Parent, known: Parent): boolean {
  if (entry.reign !== known.reign) return entry.reign > known.reign;
  if (entry.serial !== known.serial) return entry.serial > known.serial;
  if (entry.to !== known.to) {
    // What an operator has typed counts for more than what the node would have chosen at that moment.
    const isOwn = entry.home !== undefined;
    return isOwn === (known.home !== undefined) ? entry.to > known.to : !isOwn;
  }
  return false;
}

/** The same text for the same view. */
export function digestOf({ primary, reign, reignId, parents }: View): string {
  // What a node of an older version does not pass on is left out: it would never have heard.
  const sorted = Object.entries(parents).sort(([a], [b]) => a < b ? -1 : 1)
    .map(([node, { to, reign, serial }]) => [node, { to, reign, serial }]);
  return JSON.stringify([primary, reign, reignId, sorted]);
}

/** The view in which `node` is fed by `to` from now on; `home`: it has chosen that itself, see the schema. */
export function withParent(view: View, node: string, to: string, home?: string): View {
  const serial = (view.parents[node]?.serial ?? 0) + 1;
  const entry = { to, reign: view.reign, serial, ...(home === undefined ? {} : { home }) };
  return { ...view, parents: { ...view.parents, [node]: entry } };
}

/** Who has said whom a node is fed by; null: nobody but the topology file. */
export type ParentSaidBy = "operator" | "promotion" | "itself" | null;

/** Who has said whom `node` is fed by. */
export function saidBy({ parents }: View, node: string): ParentSaidBy {
  const entry = parents[node];
  if (entry === undefined) return null;
  if (entry.home !== undefined) return "itself";
  return entry.typed === true || entry.serial > 0 ? "operator" : "promotion";
}

/** The view as it would be if all nodes were at home: without what they have chosen by themselves for the time being. */
export function viewAtHome(view: View): View {
  const parents = Object.entries(view.parents).map(([node, entry]) => {
    const { home, ...said } = entry;
    return [node, home === undefined ? entry : { ...said, to: home }] as const;
  });
  return { ...view, parents: Object.fromEntries(parents) };
}

/** The number that a promotion after the epoch `last` gets: beyond all that restarts may have begun. */
export function nextReign(last: number): number {
  return (Math.floor(last / PROMOTION_STEP) + 1) * PROMOTION_STEP;
}

/** Whether `later` began by a promotion after `earlier`, and not by a restart. */
export function isPromotedOver(later: number, earlier: number): boolean {
  return Math.floor(later / PROMOTION_STEP) > Math.floor(earlier / PROMOTION_STEP);
}
