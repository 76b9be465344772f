/**
 * Which of the nodes of its list a node goes on under: pure decisions from what they have answered.
 *
 * While its upstream is away, or the primary is not heard through it, the first of the list is taken that
 *
 *  1. hears the primary, and can go on from where this node stands with less than all blocks;
 *  2. or hears it, and sends all blocks, once the upstream was away for ten times as long;
 *  3. or does not hear it, either, and has more than this node. Of two that are cut off together never both go below
 *     each other: only one of them has more.
 *
 * A better one than where the node is now, which is one before it in the list, is taken once it has been fit for a while, and
 * has come to where the node was when it was first found so.
 *
 * @module
 */
import type { Offer, Standing } from "./asks.ts";
import { isBelow } from "./promotion.ts";
import { canMeet, type ClusterTree } from "./tree.ts";
import type { View } from "./view.ts";

/** A node that has heard of the primary within this hears it; twice what a half-open connection takes to be found, ms. */
export const HEARD_MS = 10_000;
/** All blocks are sent only when the upstream was away for so many times as long. */
export const ALL_BLOCKS_FACTOR = 10;

/** The node that chooses. */
export interface Chooser {
  readonly tree: ClusterTree;
  readonly view: View;
  readonly name: string;
  readonly stableLsn: number;
}

/** What a node has answered, or why it has not. */
export interface Answer {
  readonly name: string;
  readonly standing: Standing | null;
  /** What it would send. */
  readonly offer: Offer | null;
  /** Of whichever was not answered. */
  readonly error: string | null;
}

/** What a node of the list is good for. */
export interface Candidate {
  readonly name: string;
  /** Why it cannot feed this node now; null: it can. */
  readonly flaw: string | null;
  readonly hears: boolean;
  readonly stableLsn: number;
  readonly offer: Offer | null;
}

/** Judges an answer. */
export function judgeCandidate(chooser: Chooser, answer: Answer): Candidate {
  const { name, standing, offer } = answer;
  return {
    name,
    flaw: flawOf(chooser, answer),
    hears: standing !== null && hearsPrimary(standing),
    stableLsn: standing?.stableLsn ?? 0,
    offer,
  };
}

function hearsPrimary({ reigns, primaryTimeMs, silenceMs }: Standing): boolean {
  return reigns || (primaryTimeMs > 0 && silenceMs <= HEARD_MS);
}

function flawOf(chooser: Chooser, answer: Answer): string | null {
  const { tree, view, name, stableLsn } = chooser;
  const { standing, error } = answer;
  if (isBelow(tree, view, answer.name, name)) return `it is fed by ${name} itself`;
  if (!canMeet(tree, answer.name, name)) return "neither end has an address to dial";
  if (standing === null) return error ?? "it does not answer";
  if (standing.state !== "running") return `it is ${standing.state}`;
  if (!standing.isWhole) return "it has no whole image itself";
  if (standing.paused.includes(name)) return "its link to this node is paused";
  if (standing.stableLsn < stableLsn) {
    return `it is at LSN ${standing.stableLsn}, behind this node`;
  }
  return answer.offer === null ? error ?? "it does not say what it would send" : null;
}

/** The one to go to while the upstream is away; null: none can feed this node. `isLong`: all blocks may be sent. */
export function replacement(
  candidates: readonly Candidate[],
  stableLsn: number,
  isLong: boolean,
): Candidate | null {
  const fit = candidates.filter(({ flaw }) => flaw === null);
  const isCheap = ({ offer }: Candidate) => offer !== null && offer.by !== "all";
  return fit.find((one) => one.hears && isCheap(one)) ??
    fit.find((one) => one.hears && isLong) ??
    fit.find((one) => one.stableLsn > stableLsn && isCheap(one)) ?? null;
}

/** Whether a node could be gone back to. */
export function isBetter({ flaw, hears, offer }: Candidate): boolean {
  return flaw === null && hears && offer !== null && offer.by !== "all";
}

/** Those of the list that are preferred to where the node is: all, if that is none of them. */
export function preferredTo(list: readonly string[], upstream: string | null): readonly string[] {
  const place = upstream === null ? -1 : list.indexOf(upstream);
  return place < 0 ? list : list.slice(0, place);
}

/** Why one of the list is not gone to, for people; null: nothing is in the way. */
export function whyNot({ flaw, hears, offer }: Candidate): string | null {
  if (flaw !== null) return flaw;
  if (!hears) return "it does not hear the primary, either";
  return offer?.by === "all" ? "it would have to compare all blocks" : null;
}
