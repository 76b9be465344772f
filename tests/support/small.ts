/**
 * Small fakes and makers that many tests share.
 *
 * @module
 */
import type { LinkConfig } from "../../core/config.ts";
import { type ErrorCode, isCascadeError } from "../../core/errors.ts";
import type { Epoch } from "../../core/history.ts";
import type { Bytes, Hooks, Journal, LogLevel, Random } from "../../core/ports.ts";

/** Bytes that count up from a start: distinct, and the same in every run. */
/** Hooks that do nothing. */
export const noHooks: Hooks = { run: () => Promise.resolve([]) };

export class CountingRandom implements Random {
  #next: number;
  constructor(start = 0) {
    this.#next = start;
  }
  bytes(count: number): Bytes {
    const bytes = new Uint8Array(count);
    for (let i = 0; i < count; i++) bytes[i] = this.#next++;
    return bytes;
  }
  fraction(): number {
    return 0.5;
  }
}

/** Keeps what was written. */
export class MemoryJournal implements Journal {
  readonly lines: {
    level: LogLevel;
    message: string;
    fields: Record<string, string | number | boolean>;
  }[] = [];
  write(
    level: LogLevel,
    message: string,
    fields: Record<string, string | number | boolean> = {},
  ): void {
    this.lines.push({ level, message, fields });
  }
}

/** A link as a test wants it. */
export function makeLink(change: Partial<LinkConfig> = {}): LinkConfig {
  return {
    name: "a-b",
    from: "a",
    to: "b",
    mode: "async",
    onDisconnect: "degrade",
    timeoutMs: 1000,
    onOverflow: "map",
    dial: "to",
    addresses: ["tcp://127.0.0.1:1"],
    paused: false,
    bandwidth: null,
    compress: "none",
    schedule: null,
    verify: null,
    ...change,
  };
}

/** An id of 32 digits from a short name. */
export function idOf(name: string): string {
  const hex = [...new TextEncoder().encode(name)].map((byte) => byte.toString(16)).join("");
  return hex.padEnd(32, "f").slice(0, 32);
}

export function makeEpoch(number: number, firstLsn: number, id = `${number}`): Epoch {
  return { number, id: idOf(id), firstLsn, node: "a" };
}

/** Asserts that `act` throws a CascadeError with this code; returns its message. */
export function assertCode(act: () => unknown, code: ErrorCode): string {
  try {
    act();
  } catch (error) {
    if (isCascadeError(error, code)) return error.message;
    throw new Error(`expected ${code}, got ${String(error)}`, { cause: error });
  }
  throw new Error(`expected ${code}, nothing was thrown`);
}

/** The same for a promise. */
export async function assertRejectsCode(
  promise: Promise<unknown>,
  code: ErrorCode,
): Promise<string> {
  try {
    await promise;
  } catch (error) {
    if (isCascadeError(error, code)) return error.message;
    throw new Error(`expected ${code}, got ${String(error)}`, { cause: error });
  }
  throw new Error(`expected ${code}, nothing was thrown`);
}

/** An assertion that the compiler learns from. */
export function must(condition: boolean, message = "it does not hold"): asserts condition {
  if (!condition) throw new Error(message);
}
