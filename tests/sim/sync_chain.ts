/**
 * Which nodes must have what a client is told of: the sync peers of the primary, and theirs, as far
 * down as sync links reach.
 *
 * A link below an intermediate counts only for what was written after it was seen to be joined,
 * since acks of what came before may have been on their way up without it.
 *
 * @module
 */
import type { CascadeNode } from "../../core/node.ts";
import type { SyncPolicy } from "../../core/link/sync_policy.ts";
import type { SimHost } from "./sim_host.ts";

/** See the module's text. */
export class SyncChain {
  /** Links that have been joined without a break, and the primary's end when that was first seen. */
  readonly #joined = new Map<SyncPolicy, number>();

  /** To be called before each batch and at each progress; `endLsn` is the primary's end. */
  look(hosts: readonly SimHost[], endLsn: number): void {
    const seen = new Set<SyncPolicy>();
    for (const { node } of hosts) {
      for (const { config, policy } of node?.hub.downstream ?? []) {
        if (config.mode === "sync" && policy.state === "joined") seen.add(policy);
      }
    }
    for (const policy of this.#joined.keys()) if (!seen.has(policy)) this.#joined.delete(policy);
    for (const policy of seen) if (!this.#joined.has(policy)) this.#joined.set(policy, endLsn);
  }

  /** The primary lost a part of its history: LSNs begin anew. */
  reset(): void {
    this.#joined.clear();
  }

  /** The hosts that must have all up to `lsn` before a client of `primary` is told of it. */
  holders(primary: CascadeNode, hosts: readonly SimHost[], lsn: number): SimHost[] {
    const required = primary.hub.downstream.filter(({ config, policy }) =>
      config.mode === "sync" && (policy.required || policy.failed)
    );
    const found: SimHost[] = [];
    const wanted = required.map((link) => link.config.to);
    for (let name = wanted.shift(); name !== undefined; name = wanted.shift()) {
      const host = hosts.find((other) => other.name === name);
      if (host === undefined) continue;
      found.push(host);
      for (const { config, policy } of host.node?.hub.downstream ?? []) {
        if ((this.#joined.get(policy) ?? Infinity) < lsn) wanted.push(config.to);
      }
    }
    return found;
  }
}
