/**
 * Changing what links make of their lines while they run: on an operator's word, or by a changed topology.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { CascadeError } from "../errors.ts";
import { linksNamed } from "../link_access.ts";
import type { LineStatus } from "../status.ts";
import { RATE_MIN } from "../topology/lint_lines.ts";
import { formatRate } from "../topology/units.ts";
import type { ByHand } from "./by_hand.ts";
import type { LinkHub } from "./hub.ts";
import type { LimitOverride } from "./line.ts";

/** A node whose links are limited. */
export interface Limiting {
  readonly config: { readonly name: string };
  readonly hub: LinkHub;
  readonly byHand: ByHand;
}

/**
 * Limits the link `name` of a node in place of its topology, also across restarts; null: the topology's limit holds
 * again. It counts at once; settles with what holds now when that is durable. Throws `not-found`, `usage`.
 */
export async function limitLink(
  { config: { name: node }, hub, byHand: { limits } }: Limiting,
  name: string,
  limit: LimitOverride | null,
): Promise<LineStatus> {
  if (hub.upstream?.config.name === name) {
    const { from } = hub.upstream.config;
    throw new CascadeError("usage", `${node} receives on link ${name}, and does not send`, {
      hint: `Ask ${from}: the upstream end sends`,
    });
  }
  const rate = limit?.rate ?? null;
  if (rate !== null && rate < RATE_MIN) {
    throw new CascadeError("usage", `${formatRate(rate)} is too slow for a link`, {
      hint: `Give at least ${formatRate(RATE_MIN)}, or \`cascade pause\` the link`,
    });
  }
  const [link] = linksNamed(node, hub, [name]);
  link!.line.override(limit);
  await (limit === null ? limits.remove(name) : limits.set({ link: name, rate: limit.rate }));
  return link!.line.status(link!.connected);
}

/** The topology changed: what of `links` can change while they run does. */
export function tuneLinks(hub: LinkHub, links: readonly LinkConfig[]): void {
  for (const { config, line } of hub.downstream) {
    const next = links.find(({ name }) => name === config.name);
    if (next !== undefined) line.tune(next);
  }
}
