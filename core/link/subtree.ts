/**
 * The links at and below a node, as it tells them: its own first, then what the nodes below told of theirs.
 *
 * @module
 */
import type { LinkStatus } from "../status.ts";

/**
 * Each link once, by its name: what a node knows of its own links counts for more than what others say, and figures of
 * one name twice would spoil the metrics.
 */
export function eachOnce(own: readonly LinkStatus[], told: readonly LinkStatus[]): LinkStatus[] {
  const byName = new Map(own.map((link) => [link.name, link]));
  for (const link of told) if (!byName.has(link.name)) byName.set(link.name, link);
  return [...byName.values()];
}
