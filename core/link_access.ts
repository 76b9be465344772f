/**
 * The links from a node to those below it, by name, and connected: what works on request begins with.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";
import type { DownstreamLink } from "./link/downstream.ts";
import type { LinkHub } from "./link/hub.ts";
import { SYNC_CONNECT_MS, TICK_INTERVAL_MS } from "./node_limits.ts";
import type { Clock } from "./ports.ts";

/** The links of that name, or (null) all. Throws `usage` when there are none, `not-found`. */
export function linksNamed(
  node: string,
  { downstream, upstream }: LinkHub,
  names: readonly string[] | null,
): readonly DownstreamLink[] {
  const known = downstream.map(({ config }) => config.name);
  if (names === null && downstream.length > 0) return downstream;
  if (names === null) {
    throw new CascadeError("usage", `${node} feeds no node`, {
      hint: upstream === null
        ? "Add a link to the topology"
        : `Run it for ${upstream.config.from}, which feeds this node`,
    });
  }
  return names.map((name) => {
    const link = downstream.find(({ config }) => config.name === name);
    if (link !== undefined) return link;
    throw new CascadeError("not-found", `${node} feeds no link "${name}"`, {
      hint: `Its links: ${known.join(", ") || "none"}`,
    });
  });
}

/** Where the peer stands, once it is connected; null: it is not, for too long. */
export async function reachPeer(link: DownstreamLink, clock: Clock): Promise<number | null> {
  const deadlineMs = clock.monotonicMs() + SYNC_CONNECT_MS;
  while (clock.monotonicMs() < deadlineMs) {
    if (link.connected && link.durableLsn !== null) return link.durableLsn;
    if (link.pausedWhy !== null) return null;
    await wait(clock);
  }
  return null;
}

/** Until it is worth to look at a link again. */
export function wait(clock: Clock): Promise<void> {
  return new Promise((go) => clock.after(TICK_INTERVAL_MS / 20, go));
}
