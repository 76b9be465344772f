/**
 * What each hop of the demo's cascade carried, gathered from the nodes' own statuses while they run:
 * also over the kill of a node, whose counters begin anew.
 *
 * @module
 */
import type { LinkStatus, NodeStatus } from "../../core/status.ts";
import type { LinkReport, Report } from "../report.ts";

/** What one link did from beginning to end. */
export interface Hop {
  readonly link: string;
  readonly to: string;
  readonly mode: LinkStatus["mode"];
  /** What the nodes above wrote to their logs, and this peer now has. */
  readonly logBytes: number;
  /** What went over the link for that, frames included. */
  readonly sentBytes: number;
  /** Deltas that it went in; 0 when it went as records. */
  readonly deltas: number;
  /** What need not be sent, since it was overwritten before the delta was made. */
  readonly savedBytes: number;
  /** How far the node below was behind the primary at most. */
  readonly lagSecondsMax: number;
}

interface Tally {
  readonly link: string;
  readonly to: string;
  readonly mode: LinkStatus["mode"];
  logBytes: number;
  /** By the process that counted, named by the time at which it began. */
  readonly sentBytes: Map<number, number>;
  /** Runs that sent something, by the time at which they began. */
  readonly runs: Set<number>;
  lagSecondsMax: number;
}

/** See the module's text. */
export class Hops {
  readonly #tallies = new Map<string, Tally>();

  /** Takes in what the nodes say now. */
  look(report: Report): void {
    for (const link of report.links) {
      const tally = this.#tallyOf(link);
      const node = report.nodes.find(({ node }) => node.name === link.link.to)?.status ?? null;
      tally.lagSecondsMax = Math.max(tally.lagSecondsMax, lagOf(node, link.status));
      tally.logBytes = Math.max(tally.logBytes, link.status?.durable ?? 0);
      if (link.status === null || link.teller === null) continue;
      // The other end counts what it sends itself: acknowledgements.
      if (link.teller.name === link.link.from) count(tally, link.status, link.teller);
    }
  }

  #tallyOf({ link: { name, to, mode } }: LinkReport): Tally {
    const known = this.#tallies.get(name);
    if (known !== undefined) return known;
    const sentBytes = new Map<number, number>();
    const runs = new Set<number>();
    const tally = { link: name, to, mode, logBytes: 0, sentBytes, runs, lagSecondsMax: 0 };
    this.#tallies.set(name, tally);
    return tally;
  }

  /** In the order of the topology. */
  get all(): Hop[] {
    return [...this.#tallies.values()].map(({ link, to, mode, logBytes, ...tally }) => {
      const sentBytes = [...tally.sentBytes.values()].reduce((sum, bytes) => sum + bytes, 0);
      const savedBytes = tally.runs.size === 0 ? 0 : Math.max(0, logBytes - sentBytes);
      const { lagSecondsMax, runs } = tally;
      return { link, to, mode, logBytes, sentBytes, deltas: runs.size, savedBytes, lagSecondsMax };
    });
  }
}

function lagOf(node: NodeStatus | null, link: LinkStatus | null): number {
  return Math.max(node?.lagSeconds ?? 0, link?.lagSeconds ?? 0);
}

function count(tally: Tally, status: LinkStatus, teller: NodeStatus): void {
  tally.sentBytes.set(teller.startedAt, status.sentBytes);
  const run = status.schedule?.lastRun ?? null;
  if (run?.outcome === "done" && run.deltaBytes > 0) tally.runs.add(run.startedAtMs);
}
