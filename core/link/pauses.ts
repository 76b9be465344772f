/**
 * The links that an operator has paused at this node: remembered across restarts, with the reason that
 * the status shows. A link can be paused at either of its ends.
 *
 * @module
 */
import * as z from "zod";
import { CascadeError } from "../errors.ts";
import type { LinkConfig } from "../config.ts";
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
export class Pauses {
  #list: readonly Pause[];
  /** Settles when the list is durable; null when that failed. */
  #saved: Promise<void> | null = Promise.resolve();
  readonly #save: (list: readonly Pause[]) => Promise<void>;

  /** `save` makes the list durable. */
  constructor(list: readonly Pause[], save: (list: readonly Pause[]) => Promise<void>) {
    this.#list = list;
    this.#save = save;
  }

  of(link: string): Pause | null {
    return this.#list.find((pause) => pause.link === link) ?? null;
  }

  /** Settles when it is durable; it counts at once. Pausing again replaces the reason. */
  async add(pause: Pause): Promise<void> {
    if (pause.reason !== null && pause.reason.length > REASON_LENGTH_MAX) {
      const message = `the reason has more than ${REASON_LENGTH_MAX} characters`;
      throw new CascadeError("usage", message, { where: { link: pause.link } });
    }
    await this.#replace([...this.#list.filter(({ link }) => link !== pause.link), pause]);
  }

  /** Settles when it is durable; it counts at once. Done again after a failure, it is saved again. */
  remove(link: string): Promise<void> {
    if (this.of(link) === null && this.#saved !== null) return this.#saved;
    return this.#replace(this.#list.filter((pause) => pause.link !== link));
  }

  #replace(list: readonly Pause[]): Promise<void> {
    this.#list = list;
    const saved = this.#save(list);
    this.#saved = saved;
    saved.catch(() => {
      if (this.#saved === saved) this.#saved = null;
    });
    return saved;
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
  const pause = host.pauses.of(link.name);
  return pause === null ? null : describePause(pause, host.config.name);
}
