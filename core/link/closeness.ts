/**
 * Whether a link follows closely: `streaming`, else `catching-up`. Under load there is always
 * something on its way, so a link that has caught up once counts as close until it lags far behind.
 *
 * @module
 */
import { BEHIND_BYTES } from "./link_limits.ts";

/** See the module's text. Asked at both ends of a link, each with what it knows. */
export class Closeness {
  #isClose = false;

  get isClose(): boolean {
    return this.#isClose;
  }

  /** A new connection has yet to show that it is close. */
  reset(): void {
    this.#isClose = false;
  }

  /** `caughtUp`: nothing that could be sent is missing. `behindBytes`: what is missing. */
  look(caughtUp: boolean, behindBytes: number): boolean {
    return this.#isClose = (this.#isClose || caughtUp) && behindBytes < BEHIND_BYTES;
  }
}
