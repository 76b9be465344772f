/**
 * Waits until a link's downstream node has what it should have.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { approximateDuration } from "../core/topology/units.ts";
import type { LinkReport, Report } from "./report.ts";

const POLL_MS = 100;

/** What {@linkcode waitFor} waits for. */
export interface Goal {
  readonly link: string;
  /** Null: what is durable upstream when the upstream node first answers. */
  readonly goalLsn: number | null;
  readonly timeoutMs: number;
  readonly look: () => Promise<Report>;
}

/** Settles when the goal is reached. Throws `timed-out` with what was missing. */
export async function waitFor({ link: name, goalLsn, timeoutMs, look }: Goal): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  let goal = goalLsn;
  while (true) {
    const report = await look();
    const link = report.links.find((candidate) => candidate.link.name === name);
    if (link === undefined) throw new CascadeError("usage", `there is no link ${name}`);
    goal ??= durableOf(report, link.link.from);
    const reached = positionsOf(report, link);
    if (goal !== null && reached !== null && Math.min(reached.durable, reached.applied) >= goal) {
      return;
    }
    const leftMs = deadlineMs - performance.now();
    if (leftMs <= 0) throw timedOut(link, goal, reached, timeoutMs);
    await new Promise((resolve) => setTimeout(resolve, Math.min(POLL_MS, leftMs)));
  }
}

interface Positions {
  readonly durable: number;
  readonly applied: number;
}

/**
 * How far the downstream node is, as it says itself or as those above heard in its acks. Its own word
 * counts only when it is in the epoch of the node above: before that its end may be of another history.
 */
function positionsOf(report: Report, { link, status, teller }: LinkReport): Positions | null {
  const own = statusOf(report, link.to);
  const above = statusOf(report, link.from);
  if (own !== null && (above === null || own.epoch?.id === above.epoch?.id)) {
    return { durable: own.lsn.durable, applied: own.lsn.applied };
  }
  // The downstream end of a link tells what it has itself, whatever the epoch.
  if (teller === null || teller.name === link.to) return null;
  if (status === null || status.durable === null || status.applied === null) return null;
  return { durable: status.durable, applied: status.applied };
}

function durableOf(report: Report, node: string): number | null {
  return statusOf(report, node)?.lsn.durable ?? null;
}

function statusOf(report: Report, name: string) {
  return report.nodes.find(({ node }) => node.name === name)?.status ?? null;
}

function timedOut(
  { link, status }: LinkReport,
  goal: number | null,
  reached: Positions | null,
  timeoutMs: number,
): CascadeError {
  const state = status === null ? "" : `; the link is ${status.state}` +
    (status.reason === null ? "" : ` (${status.reason})`);
  const what = goal === null
    ? `${link.from} did not answer, so its end is unknown`
    : reached === null
    ? `nobody who answers knows how far ${link.to} is`
    : `of ${goal}, ${link.to} has made durable ${reached.durable} and applied ${reached.applied}: ` +
      `${goal - Math.min(reached.durable, reached.applied)} bytes are missing`;
  return new CascadeError(
    "timed-out",
    `not within ${approximateDuration(timeoutMs)}: ${what}${state}`,
    {
      where: { link: link.name },
      // It may be hours until it ships by itself.
      ...(link.mode === "periodic"
        ? { hint: `\`cascade sync --node ${link.from} --link ${link.name}\` ships now.` }
        : {}),
      retryable: true,
    },
  );
}
