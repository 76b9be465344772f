/**
 * What a changed topology means for a node that runs.
 *
 * @module
 */
import type { NodeSetup } from "./serve_node.ts";

/** The names of what has changed, by when it takes effect. */
export interface ChangedParts {
  readonly live: readonly string[];
  readonly restart: readonly string[];
}

/** Compares two setups of one node. */
export function changedParts(before: NodeSetup, after: NodeSetup): ChangedParts {
  const flat = (setup: NodeSetup) => {
    const { secret, ...config } = setup.config;
    return { ...config, secret: [...secret], admin: setup.admin };
  };
  const [old, fresh] = [flat(before), flat(after)];
  const keys = Object.keys(fresh) as (keyof typeof fresh)[];
  const restart: string[] = keys.filter((key) => {
    return JSON.stringify(old[key]) !== JSON.stringify(fresh[key]);
  });
  if (before.adminToken === after.adminToken) return { live: [], restart };
  // Without any token the address may have to be another one, which is a matter for a start.
  if (after.adminToken === null) return { live: [], restart: [...restart, "adminToken"] };
  return { live: ["adminToken"], restart };
}
