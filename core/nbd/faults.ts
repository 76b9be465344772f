/**
 * Why a request fails: the protocol's error number, and a message for the error chunk.
 *
 * @module
 */
import { unreachable } from "../assert.ts";
import { isCascadeError } from "../errors.ts";
import type { Refusal } from "./backend.ts";
import { ErrorNumber } from "./constants.ts";

/** One way for a request to fail. The message is shorter than a small reply. */
export interface Fault {
  readonly errorNumber: number;
  readonly message: Uint8Array;
}

const UTF8 = new TextEncoder();

function fault(errorNumber: number, message: string): Fault {
  return { errorNumber, message: UTF8.encode(message) };
}

/** All of them, made once. */
export const Faults = {
  UNKNOWN_COMMAND: fault(ErrorNumber.EINVAL, "unknown command"),
  BAD_FLAGS: fault(ErrorNumber.EINVAL, "a flag that this command does not take"),
  READ_ONLY: fault(ErrorNumber.EPERM, "the export is read-only"),
  READ_PAST_END: fault(ErrorNumber.EINVAL, "the range ends past the end of the export"),
  WRITE_PAST_END: fault(ErrorNumber.ENOSPC, "the range ends past the end of the export"),
  PAYLOAD_TOO_LARGE: fault(ErrorNumber.EINVAL, "more than the maximum payload"),
  READ_TOO_LARGE: fault(ErrorNumber.EOVERFLOW, "more than the maximum payload"),
  NOT_ZERO: fault(ErrorNumber.EINVAL, "a flush takes no offset and no length"),
  NO_CONTEXT: fault(ErrorNumber.EINVAL, "no metadata context was selected"),
  NO_LENGTH: fault(ErrorNumber.EINVAL, "the status of no bytes"),
  IO: fault(ErrorNumber.EIO, "input/output error"),
  DISK_FULL: fault(ErrorNumber.ENOSPC, "no space left"),
  STOPPING: fault(ErrorNumber.ESHUTDOWN, "the server stops"),
  PEER_LOST: fault(ErrorNumber.EIO, "a synchronous peer is lost"),
  FAILED: fault(ErrorNumber.EIO, "the node has failed"),
  NOT_PRIMARY: fault(ErrorNumber.EPERM, "this node is not the primary"),
} as const;

/** What a client is told when writes are not welcome. */
export function faultOfRefusal(refusal: Refusal): Fault {
  switch (refusal) {
    case "stopping":
      return Faults.STOPPING;
    case "sync-peer-lost":
      return Faults.PEER_LOST;
    case "disk-full":
      return Faults.DISK_FULL;
    case "failed":
      return Faults.FAILED;
    case "not-primary":
      return Faults.NOT_PRIMARY;
    default:
      return unreachable(refusal);
  }
}

/** What a client is told when the back end threw. */
export function faultOfError(error: unknown): Fault {
  if (isCascadeError(error, "disk-full")) return Faults.DISK_FULL;
  if (isCascadeError(error, "stopping")) return Faults.STOPPING;
  if (isCascadeError(error, "not-primary")) return Faults.NOT_PRIMARY;
  return Faults.IO;
}
