/**
 * Exit codes, the contract with scripts, and how a command asks for one. Only `cli/main.ts` ends
 * the process.
 *
 * @module
 */
import { isCascadeError } from "../core/errors.ts";

/** What a command's end means to a script. */
export const EXIT = {
  done: 0,
  failed: 1,
  /** The command line or the topology is wrong. */
  usage: 2,
  /** Two sides that should be equal are not. */
  differences: 3,
  /** Nobody answered, or not in time. */
  unreachable: 4,
} as const;

export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/**
 * Thrown by a command that has told everything itself and only wants to end with `code`. With a
 * message, `cli/main.ts` prints that to stderr first.
 */
export class ExitWith extends Error {
  readonly code: ExitCode;

  constructor(code: ExitCode, message = "") {
    super(message);
    this.name = "ExitWith";
    this.code = code;
  }
}

/** The exit code that a thrown thing stands for. */
export function exitCodeOf(error: unknown): ExitCode {
  if (error instanceof ExitWith) return error.code;
  if (!isCascadeError(error)) return EXIT.failed;
  switch (error.code) {
    case "usage":
    case "topology":
      return EXIT.usage;
    case "unreachable":
    case "timed-out":
      return EXIT.unreachable;
    default:
      return EXIT.failed;
  }
}
