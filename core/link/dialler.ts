/**
 * Dials the peer of a link for as long as the node runs. Its addresses are tried in order, the preferred one
 * first; a connection over another one is a fallback, and now and then it is looked whether the preferred one
 * answers again. Until then a connection that is lost comes back over that other one at once.
 *
 * @module
 */
import { CascadeError, describeError } from "../errors.ts";
import type { Timer } from "../ports.ts";
import type { DownstreamLink } from "./downstream.ts";
import type { LinkHost } from "./host.ts";
import {
  PREFERRED_RETRY_MAX_MS,
  PREFERRED_RETRY_MS,
  REDIAL_FACTOR,
  REDIAL_FIRST_MS,
  REDIAL_MAX_MS,
  REDIAL_REFUSED_MS,
} from "./link_limits.ts";
import { UpstreamLink } from "./upstream.ts";
import { Wire } from "./wire.ts";

/** Either kind of a node's links. */
export type Link = DownstreamLink | UpstreamLink;

/** How a dial ended: that tells when to dial again. */
export type DialEnd = "served" | "brief" | "refused" | "failed";

/** What a dialler works with. */
export interface DiallerParts {
  readonly host: LinkHost;
  readonly link: Link;
  /** Shakes hands over a connection and serves it to its end. Throws what ends it. */
  readonly meet: (wire: Wire) => Promise<DialEnd>;
  /** Whether the link is not to be dialled any more. */
  readonly isOver: () => boolean;
}

/** See the module's text. */
export class Dialler {
  readonly #parts: DiallerParts;
  #wake: () => void = () => {};
  #preferredTimer: Timer | null = null;
  #preferredMs = PREFERRED_RETRY_MS;
  /** What served in the place of the preferred address, and why. */
  #fallback: { readonly address: string; readonly why: string } | null = null;
  #isPreferredBack = false;

  constructor(parts: DiallerParts) {
    this.#parts = parts;
  }

  /** Dials until it is over. */
  async run(): Promise<void> {
    const { link, host, isOver } = this.#parts;
    let waitMs = REDIAL_FIRST_MS;
    while (!isOver()) {
      if (link.pausedWhy !== null) {
        await this.#sleep(REDIAL_MAX_MS);
        continue;
      }
      const end = await this.#dialAll();
      if (isOver()) return;
      if (end === "served") waitMs = REDIAL_FIRST_MS;
      const patienceMs = end === "refused" ? REDIAL_REFUSED_MS : waitMs;
      const jitter = 0.5 + host.ports.random.fraction() / 2;
      await this.#sleep(patienceMs * jitter);
      waitMs = Math.min(waitMs * REDIAL_FACTOR, REDIAL_MAX_MS);
    }
  }

  /** Goes on at once if it sleeps. */
  wake(): void {
    this.#wake();
  }

  #sleep(ms: number): Promise<void> {
    return new Promise((wake) => {
      const timer = this.#parts.host.ports.clock.after(ms, wake);
      this.#wake = () => {
        timer.cancel();
        wake();
      };
    });
  }

  /** One round: until an address leads to somebody who answers, be it with a refusal. */
  async #dialAll(): Promise<DialEnd> {
    const { link, isOver } = this.#parts;
    const known = this.#fallback;
    this.#fallback = null;
    if (known !== null) {
      const end = await this.#dial(known.address, known.why);
      if (end.kind !== "failed" || isOver() || link.pausedWhy !== null) return end.kind;
    }
    let why: string | null = null;
    for (const address of link.config.addresses) {
      const end = await this.#dial(address, why);
      if (end.kind !== "failed" || isOver() || link.pausedWhy !== null) return end.kind;
      why ??= end.why;
    }
    return "failed";
  }

  /** `fallback`: why the preferred address was not to be had; null: this is the preferred one. */
  async #dial(
    address: string,
    fallback: string | null,
  ): Promise<{ kind: DialEnd; why: string }> {
    const { host, link, meet, isOver } = this.#parts;
    try {
      const connection = await host.ports.network.dial(address, link.peerName);
      if (isOver()) {
        connection.close();
        return { kind: "failed", why: "" };
      }
      const wire = new Wire(connection, host.ports.clock, fallback);
      this.#isPreferredBack = false;
      if (fallback === null) this.#preferredMs = PREFERRED_RETRY_MS;
      else this.#lookForPreferred(wire);
      const kind = await meet(wire);
      if (kind === "served" && fallback !== null && !this.#isPreferredBack) {
        this.#fallback = { address, why: fallback };
      }
      return { kind, why: "" };
    } catch (error) {
      if (link instanceof UpstreamLink) link.failed(error);
      const reason = describeError(error);
      host.ports.journal.write("debug", "cannot connect", { link: link.config.name, reason });
      return { kind: "failed", why: reason };
    } finally {
      this.#preferredTimer?.cancel();
      this.#preferredTimer = null;
    }
  }

  /**
   * While a fallback carries the link, the preferred address is dialled beside it. If that goes through, the
   * link changes over, which is one reconnect; if not, nothing has happened, and it waits for twice as long.
   */
  #lookForPreferred(wire: Wire): void {
    const { host, link, isOver } = this.#parts;
    const [preferred] = link.config.addresses;
    if (preferred === undefined) return;
    const timer = host.ports.clock.after(this.#preferredMs, async () => {
      this.#preferredMs = Math.min(2 * this.#preferredMs, PREFERRED_RETRY_MAX_MS);
      try {
        (await host.ports.network.dial(preferred, link.peerName)).close();
      } catch {
        // It stays as it is: what carries the link goes on to.
        if (this.#preferredTimer === timer && !isOver()) this.#lookForPreferred(wire);
        return;
      }
      if (this.#preferredTimer !== timer || isOver()) return;
      this.#isPreferredBack = true;
      wire.close(new CascadeError("connection-lost", `back to ${preferred}, which answers again`));
    });
    this.#preferredTimer = timer;
  }
}
