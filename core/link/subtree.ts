/**
 * The links at and below a node, as it tells them: its own first, then what the nodes below told of theirs.
 *
 * @module
 */
import type { LinkStatus } from "../status.ts";
import { SUBTREE_LINKS_MAX } from "./link_limits.ts";

/**
 * Each link once, by its name: what a node knows of its own links counts for more than what others say, and figures of
 * one name twice would spoil the metrics.
 */
export function eachOnce(own: readonly LinkStatus[], told: readonly LinkStatus[]): LinkStatus[] {
  const byName = new Map(own.map((link) => [link.name, link]));
  for (const link of told) if (!byName.has(link.name)) byName.set(link.name, link);
  return [...byName.values()];
}

/** A link as it is told upward: without what is null anyhow unless it is said. */
function brief(link: LinkStatus): Partial<LinkStatus> {
  // What the line is like is told by the node itself: it would take half of the message.
  const { line: _, ...told } = link;
  for (const field of ["delta", "schedule", "mapBytes", "verify", "fallback"] as const) {
    if (told[field] === null) delete (told as Partial<LinkStatus>)[field];
  }
  return told;
}

/** Links as they are told upward, as many as there may be. */
export function briefly(links: readonly LinkStatus[]): Partial<LinkStatus>[] {
  return links.slice(0, SUBTREE_LINKS_MAX).map(brief);
}
