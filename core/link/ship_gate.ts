/**
 * Whether a link ships: by itself, or, in a process that is the node for one sync alone, once that asks
 * for it.
 *
 * @module
 */

/** See the module's text. */
export class ShipGate {
  #open: () => void = () => {};
  #isOpen: boolean;
  /** Settles once the link ships. */
  readonly opened: Promise<void>;
  /** Called each time that somebody waits for what it ships. */
  onAsk: () => void = () => {};

  /** `onRequest`: closed until it is asked for. */
  constructor(onRequest: boolean) {
    this.#isOpen = !onRequest;
    this.opened = onRequest ? new Promise((open) => this.#open = open) : Promise.resolve();
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  /** Ships from now on; and what waits to be tried again is tried at once. */
  ask(): void {
    this.#isOpen = true;
    this.#open();
    this.onAsk();
  }
}
