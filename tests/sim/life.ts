/**
 * One life of a simulated process: from its start to its crash or exit.
 *
 * Everything that a process holds of the world (timers, files, connections) belongs to its life.
 * When the life ends, nothing of it acts any more: events of it are skipped, promises that wait for
 * the world never settle, and whatever code still runs meets {@linkcode SimDeath} at its next
 * call to a port. So a zombie can never touch the next life of the same host.
 *
 * @module
 */

/** Thrown by the ports of a process that is dead. No part of core may see it and live. */
export class SimDeath extends Error {
  constructor(name: string) {
    super(`${name} is dead`);
    this.name = "SimDeath";
  }
}

/** How a process ends: alone, or with its machine. */
export type CrashKind = "process" | "power";

/** See the module's text. */
export class Life {
  readonly host: string;
  readonly number: number;
  #alive = true;
  /** Operations on the disk until the fuse burns down; 0 while there is none. */
  #fuse = 0;
  #explode: () => void = () => {};

  constructor(host: string, number: number) {
    this.host = host;
    this.number = number;
  }

  get name(): string {
    return `${this.host}#${this.number}`;
  }

  get alive(): boolean {
    return this.#alive;
  }

  end(): void {
    this.#alive = false;
    this.#fuse = 0;
  }

  /** Throws {@linkcode SimDeath} when the life has ended. */
  check(): void {
    if (!this.#alive) throw new SimDeath(this.name);
  }

  /**
   * Lets the process crash in the midst of its `operations`-th change of the disk from now:
   * the only way to die between two steps of one event. `explode` must end this life.
   */
  light(operations: number, explode: () => void): void {
    this.#fuse = operations;
    this.#explode = explode;
  }

  /** Whether the change of the disk that begins now is the one that never ends. */
  burnt(): boolean {
    this.check();
    return this.#fuse > 0 && --this.#fuse === 0;
  }

  /** Crashes as was asked for; throws {@linkcode SimDeath}. */
  die(): never {
    this.#explode();
    this.end();
    throw new SimDeath(this.name);
  }
}

/** Whether `error` came, directly or as a cause, of the end of a life. */
export function isDeath(error: unknown): boolean {
  for (let at: unknown = error; at instanceof Error; at = at.cause) {
    if (at instanceof SimDeath) return true;
  }
  return false;
}
