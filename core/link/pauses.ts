/**
 * The links that an operator has paused at this node: remembered across restarts, with the reason that
 * the status shows. A link can be paused at either of its ends.
 *
 * @module
 */
import * as z from "zod";
import { CascadeError } from "../errors.ts";
import type { LinkConfig } from "../config.ts";
import { ByLink } from "./by_link.ts";
import type { LinkHost } from "./host.ts";
import { REASON_LENGTH_MAX } from "./link_limits.ts";

/** One paused link. */
export const pauseSchema = z.object({
  link: z.string(),
  reason: z.string().nullable(),
  /** By this node's clock, ms since 1970. */
  sinceMs: z.number(),
});

/** See {@linkcode pauseSchema}. */
export type Pause = z.infer<typeof pauseSchema>;

/** See the module's text. */
export class Pauses extends ByLink<Pause> {
  /** The same as {@linkcode ByLink.set}. Throws `usage` when the reason is too long. */
  async add(pause: Pause): Promise<void> {
    if (pause.reason !== null && pause.reason.length > REASON_LENGTH_MAX) {
      const message = `the reason has more than ${REASON_LENGTH_MAX} characters`;
      throw new CascadeError("usage", message, { where: { link: pause.link } });
    }
    await this.set(pause);
  }
}

/** What the status says of a pause. */
function describePause(pause: Pause, node: string): string {
  const since = new Date(pause.sinceMs).toISOString().slice(0, 16).replace("T", " ");
  return `paused at ${node} since ${since} UTC${pause.reason === null ? "" : `: ${pause.reason}`}`;
}

/** Why a link is paused at this node, or null when it is not. */
export function pausedWhy(host: LinkHost, link: LinkConfig): string | null {
  if (link.paused) return `paused by the topology of ${host.config.name}`;
  const pause = host.byHand.pauses.of(link.name);
  return pause === null ? null : describePause(pause, host.config.name);
}
