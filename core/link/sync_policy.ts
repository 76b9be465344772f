/**
 * What a `sync` link asks of the clients: the one place that tells when a write must wait for the
 * peer, when clients go on without it, and when they get errors. A machine, fed events and time.
 *
 *     state      peer is                       a write waits for it   mode
 *     grace      away, for less than timeout   yes                    both
 *     released   away or catching up           no                     degrade
 *     failed     away or catching up           is refused             fail
 *     joining    sent all up to the switch     yes                    both
 *     joined     has received the switch LSN   yes                    both
 *
 * `async` links are always released.
 *
 * @module
 */
import type { LinkConfig } from "../config.ts";
import { JOIN_WITHIN_BYTES } from "./link_limits.ts";

/** See the module's text. */
export type SyncState = "grace" | "released" | "failed" | "joining" | "joined";

export class SyncPolicy {
  readonly #link: LinkConfig;
  #state: SyncState;
  #switchLsn = 0;
  #deadlineMs: number;
  #receivedLsn = 0;
  #durableLsn = 0;
  #progressMs: number;
  #failures = 0;

  constructor(link: LinkConfig, nowMs: number) {
    this.#link = link;
    this.#state = link.mode === "sync" && !link.paused ? "grace" : "released";
    this.#deadlineMs = nowMs + link.timeoutMs;
    this.#progressMs = nowMs;
  }

  get state(): SyncState {
    return this.#state;
  }

  /** Whether answers to clients wait for this peer. */
  get required(): boolean {
    return this.#state !== "released" && this.#state !== "failed";
  }

  /** Whether clients get errors instead of service. */
  get failed(): boolean {
    return this.#state === "failed";
  }

  /** All that the peer (and its own sync peers) has received, and made durable. */
  get receivedLsn(): number {
    return this.#receivedLsn;
  }

  get durableLsn(): number {
    return this.#durableLsn;
  }

  /** A connection was accepted; what the peer has is counted anew from its acks. */
  connected(nowMs: number): void {
    this.#receivedLsn = 0;
    this.#durableLsn = 0;
    this.#progressMs = nowMs;
  }

  /** All that was appended has been sent: from here on, every new write waits for this peer. */
  caughtUp(appendedLsn: number, nowMs: number): void {
    if (this.#link.mode !== "sync") return;
    if (this.#state === "joining" || this.#state === "joined") return;
    // A group that stands still must not make clients wait again and again.
    if (this.#state !== "grace" && appendedLsn - this.#receivedLsn > JOIN_WITHIN_BYTES) return;
    this.#state = "joining";
    this.#switchLsn = appendedLsn;
    this.#progressMs = nowMs;
  }

  acked(receivedLsn: number, durableLsn: number, nowMs: number): void {
    if (receivedLsn > this.#receivedLsn || durableLsn > this.#durableLsn) this.#progressMs = nowMs;
    this.#receivedLsn = Math.max(this.#receivedLsn, receivedLsn);
    this.#durableLsn = Math.max(this.#durableLsn, durableLsn);
    if (this.#state === "joining" && this.#receivedLsn >= this.#switchLsn) this.#state = "joined";
  }

  /** The connection is gone; what the peer has is not known any more (its log may be cut back). */
  disconnected(nowMs: number): void {
    this.#receivedLsn = 0;
    this.#durableLsn = 0;
    if (this.#state !== "joining" && this.#state !== "joined") return;
    this.#state = "grace";
    this.#deadlineMs = nowMs + this.#link.timeoutMs;
  }

  /** The peer is connected, owes an answer up to `sentLsn`, and has been silent for too long. */
  isSilent(sentLsn: number, nowMs: number): boolean {
    if (this.#state !== "joining" && this.#state !== "joined") return false;
    if (this.#durableLsn >= sentLsn) {
      this.#progressMs = nowMs;
      return false;
    }
    return nowMs - this.#progressMs > this.#link.timeoutMs;
  }

  /** How often clients' writes had to be refused for want of this peer. */
  get failures(): number {
    return this.#failures;
  }

  /** The peer's time begins now: nobody could be asked before. */
  restart(nowMs: number): void {
    if (this.#state === "grace") this.#deadlineMs = nowMs + this.#link.timeoutMs;
  }

  /** The peer is known to be away. Where clients are to get errors for that, it still has its time. */
  doWithout(): void {
    if (this.#state === "grace" && this.#link.onDisconnect === "degrade") this.#state = "released";
  }

  /** Gives the peer up at once: it was given its time already. */
  giveUp(): void {
    if (this.#link.mode !== "sync") return;
    if (this.#link.onDisconnect === "fail") this.#failures++;
    this.#state = this.#link.onDisconnect === "fail" ? "failed" : "released";
  }

  /** The link is paused on purpose: nobody waits for the peer, whatever `onDisconnect` says. */
  pause(): void {
    this.#state = "released";
  }

  /** Lets time pass; true when the state changed. */
  tick(nowMs: number): boolean {
    if (this.#state !== "grace" || nowMs < this.#deadlineMs) return false;
    this.giveUp();
    return true;
  }
}
