/**
 * Who may knock: places for strangers, and patience with those who failed before.
 *
 * There are so many places. Where all are taken, the newcomer gets that of another: of one who has said nothing yet
 * rather than of one who speaks as a node does, of the address that holds most of them, the oldest. So a flood from
 * one address drives out itself, and a node, which says all that it has to say in a few round trips, gets through
 * also among strangers of its own address.
 *
 * An address that failed again and again is put off: each time it waits longer before it is listened to, at most
 * {@linkcode PAUSE_MS_MAX}. It is never refused: others may have the same address, and what is right proves itself. Of those
 * who wait the oldest is let in at once when more come than may wait.
 *
 * @module
 */
import type { Clock, Timer } from "../ports.ts";

/** Failures without consequence: a node whose operator corrects a mistake is not to wait. */
const FAILURES_FREE = 5;
const PAUSE_MS_FIRST = 100;
/** Well below what the other end has patience for. */
export const PAUSE_MS_MAX = 3_000;
/** Of one address, so many wait at one time. */
const WAITING_MAX = 8;
/** An address that has not failed for so long is forgotten. */
const FORGET_MS = 600_000;
/** Addresses that failed: when there are more, the one that failed the longest ago is forgotten. */
const FAILED_MAX = 1024;

/** A stranger's place. Each call but `heard` and `failed` may come again without consequence. */
export interface Pass {
  /** Settles when the stranger is to be listened to; false: it went, or its place was taken. */
  readonly admitted: Promise<boolean>;
  /** Whether it has proved itself. */
  readonly isProved: boolean;
  /** It has said what a node says. */
  heard(): void;
  /** It has proved itself: whatever its address did before is forgotten. */
  proved(): void;
  /** It was wrong. */
  failed(): void;
  /** It is gone: its place is free. */
  left(): void;
}

interface Guest {
  readonly address: string;
  readonly turnOut: () => void;
  readonly admit: (isWelcome: boolean) => void;
  timer: Timer | null;
  hasSpoken: boolean;
}

/** See the module's text. */
export class Doorkeeper {
  readonly #clock: Clock;
  readonly #placesMax: number;
  /** In the order in which they came. */
  readonly #guests = new Set<Guest>();
  readonly #failed = new Map<string, { count: number; lastMs: number }>();

  constructor(clock: Clock, placesMax: number) {
    this.#clock = clock;
    this.#placesMax = placesMax;
  }

  get guests(): number {
    return this.#guests.size;
  }

  /** Addresses that failed, and are not forgotten. */
  get remembered(): number {
    return this.#failed.size;
  }

  /** A stranger comes, of that address (see {@linkcode addressOf}); `turnOut` is called when its place is taken. */
  enter(address: string, turnOut: () => void): Pass {
    if (this.#guests.size >= this.#placesMax) this.makePlace();
    let admit: (isWelcome: boolean) => void = () => {};
    const admitted = new Promise<boolean>((tell) => admit = tell);
    const guest: Guest = { address, turnOut, admit, timer: null, hasSpoken: false };
    this.#guests.add(guest);
    this.#putOff(guest);
    let isProved = false;
    return {
      admitted,
      get isProved() {
        return isProved;
      },
      heard: () => guest.hasSpoken = true,
      proved: () => {
        isProved = true;
        this.#failed.delete(address);
        this.#left(guest);
      },
      failed: () => this.#fail(address),
      left: () => this.#left(guest),
    };
  }

  #putOff(guest: Guest): void {
    const pauseMs = this.pauseMs(guest.address);
    if (pauseMs === 0) return guest.admit(true);
    const waiting = [...this.#guests].filter(({ address, timer }) =>
      timer !== null && address === guest.address
    );
    if (waiting.length >= WAITING_MAX) letIn(waiting[0]!);
    guest.timer = this.#clock.after(pauseMs, () => letIn(guest));
  }

  /** How long this address is put off. */
  pauseMs(address: string): number {
    const failed = this.#failed.get(address);
    if (failed === undefined || failed.count < FAILURES_FREE || isLocal(address)) return 0;
    if (this.#clock.monotonicMs() - failed.lastMs > FORGET_MS) return 0;
    return Math.min(PAUSE_MS_MAX, PAUSE_MS_FIRST * 2 ** Math.min(16, failed.count - FAILURES_FREE));
  }

  #fail(address: string): void {
    const nowMs = this.#clock.monotonicMs();
    const before = this.#failed.get(address);
    const isOld = before === undefined || nowMs - before.lastMs > FORGET_MS;
    this.#failed.delete(address);
    this.#failed.set(address, { count: isOld ? 1 : before.count + 1, lastMs: nowMs });
    for (const [oldest, { lastMs }] of this.#failed) {
      if (this.#failed.size <= FAILED_MAX && nowMs - lastMs <= FORGET_MS) break;
      this.#failed.delete(oldest);
    }
  }

  /** Turns one out; false when there is nobody. */
  makePlace(): boolean {
    const silent = [...this.#guests].filter(({ hasSpoken }) => !hasSpoken);
    const candidates = silent.length > 0 ? silent : [...this.#guests];
    const shares = new Map<string, number>();
    for (const { address } of candidates) shares.set(address, (shares.get(address) ?? 0) + 1);
    const most = Math.max(...shares.values());
    const victim = candidates.find(({ address }) => shares.get(address) === most);
    if (victim === undefined) return false;
    this.#left(victim);
    victim.turnOut();
    return true;
  }

  #left(guest: Guest): void {
    if (!this.#guests.delete(guest)) return;
    guest.timer?.cancel();
    guest.admit(false);
  }
}

function letIn(guest: Guest): void {
  guest.timer?.cancel();
  guest.timer = null;
  guest.admit(true);
}

/** Whoever may open a socket file of this host: all have one address, and its file keeps others out. */
function isLocal(address: string): boolean {
  return !address.startsWith("ip:");
}

/**
 * What strangers are told apart by: of `SCHEME://HOST:PORT` the host, whatever the scheme; of IPv6 the network of 64 bits, as
 * each machine has many addresses within one; of a socket its path.
 */
export function addressOf(remote: string): string {
  const found = /^[a-z]+:\/\/(?:\[([^\]]*)\]|([^:/]*)):\d+$/.exec(remote);
  if (found === null) return remote.replace(/#\d+$/, "");
  const [, six, other = ""] = found;
  if (six === undefined) return `ip:${other}`;
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(six);
  if (mapped !== null) return `ip:${mapped[1]}`;
  const [head = "", tail] = six.split("%", 1)[0]!.split("::");
  const groups = head === "" ? [] : head.split(":");
  const behind = tail === undefined || tail === "" ? [] : tail.split(":");
  while (tail !== undefined && groups.length + behind.length < 8) groups.push("0");
  return `ip:${[...groups, ...behind].slice(0, 4).join(":").toLowerCase()}::`;
}
