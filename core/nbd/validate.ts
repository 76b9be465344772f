/**
 * Checks a whole request before anything acts on it.
 *
 * @module
 */
import { Command, CommandFlag } from "./constants.ts";
import { type Fault, Faults } from "./faults.ts";
import { PAYLOAD_BYTES_MAX } from "./nbd_limits.ts";

/** What a request is checked against; fixed for a session. */
export interface RequestRules {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  /** Structured replies were negotiated. */
  readonly structured: boolean;
  /** `base:allocation` was selected. */
  readonly blockStatus: boolean;
}

/** The flags of each command, by its number. FUA goes with all: clients are known to send it. */
const FLAGS_ALLOWED: readonly number[] = [
  CommandFlag.FUA | CommandFlag.DF, // READ; DF needs structured replies
  CommandFlag.FUA, // WRITE
  CommandFlag.FUA, // DISC
  CommandFlag.FUA, // FLUSH
  CommandFlag.FUA, // TRIM
  CommandFlag.FUA, // CACHE
  CommandFlag.FUA | CommandFlag.NO_HOLE | CommandFlag.FAST_ZERO, // WRITE_ZEROES
  CommandFlag.FUA | CommandFlag.REQ_ONE, // BLOCK_STATUS
];

/**
 * Why a request is refused, or null. `offset` may have lost its low bits above 2^53: no export is
 * that large. DISC is not asked about: it has no answer. Hot path: allocates nothing.
 */
export function validateRequest(
  rules: RequestRules,
  command: number,
  flags: number,
  offset: number,
  length: number,
): Fault | null {
  const allowed = FLAGS_ALLOWED[command];
  if (allowed === undefined) return Faults.UNKNOWN_COMMAND;
  if ((flags & ~allowed) !== 0) return Faults.BAD_FLAGS;
  const inside = offset <= rules.sizeBytes && length <= rules.sizeBytes - offset;
  switch (command) {
    case Command.READ:
      if ((flags & CommandFlag.DF) !== 0 && !rules.structured) return Faults.BAD_FLAGS;
      if (!inside) return Faults.READ_PAST_END;
      if (length <= PAYLOAD_BYTES_MAX) return null;
      return rules.structured ? Faults.READ_TOO_LARGE : Faults.PAYLOAD_TOO_LARGE;
    case Command.WRITE:
      if (rules.readOnly) return Faults.READ_ONLY;
      if (!inside) return Faults.WRITE_PAST_END;
      return length <= PAYLOAD_BYTES_MAX ? null : Faults.PAYLOAD_TOO_LARGE;
    case Command.WRITE_ZEROES:
      if (rules.readOnly) return Faults.READ_ONLY;
      return inside ? null : Faults.WRITE_PAST_END;
    case Command.TRIM:
      if (rules.readOnly) return Faults.READ_ONLY;
      return inside ? null : Faults.READ_PAST_END;
    case Command.FLUSH:
      return offset === 0 && length === 0 ? null : Faults.NOT_ZERO;
    case Command.CACHE:
      return inside ? null : Faults.READ_PAST_END;
    case Command.BLOCK_STATUS:
      if (!rules.blockStatus) return Faults.NO_CONTEXT;
      if (!inside) return Faults.READ_PAST_END;
      return length > 0 ? null : Faults.NO_LENGTH;
    default:
      return Faults.UNKNOWN_COMMAND;
  }
}
