/**
 * Tells the journal of a link's state: once at each change, not once a second.
 *
 * @module
 */
import type { Journal, LogLevel } from "../ports.ts";
import type { LinkState } from "../status.ts";

const LEVELS: Record<LinkState, LogLevel> = {
  "connecting": "info",
  "streaming": "info",
  "catching-up": "info",
  "delta": "info",
  "waiting": "info",
  "paused": "info",
  "disconnected": "warn",
  "degraded": "warn",
  "refused": "error",
  "overflowed": "error",
};

export class StateTeller {
  readonly #journal: Journal;
  readonly #link: string;
  #told = "";

  constructor(journal: Journal, link: string) {
    this.#journal = journal;
    this.#link = link;
  }

  tell(state: LinkState, reason: string | null): void {
    const text = `${state} ${reason ?? ""}`;
    if (text === this.#told) return;
    this.#told = text;
    const fields = reason === null ? { link: this.#link } : { link: this.#link, reason };
    this.#journal.write(LEVELS[state], `link ${state}`, fields);
  }
}
