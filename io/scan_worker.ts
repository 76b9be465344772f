/**
 * A worker that hashes a volume: it opens it itself, read-only, and sends digests alone.
 *
 * @module
 */
import { assert } from "../core/assert.ts";
import { CascadeError } from "../core/errors.ts";
import type { Bytes, DiskFile } from "../core/ports.ts";
import { BlockDigester, prepareDigests } from "../core/scan/block_digest.ts";
import { hashRange } from "../core/scan/hasher.ts";
import { SCAN_BLOCK_BYTES } from "../core/scan/map_files.ts";
import { DenoDisk } from "./disk.ts";
import type { ErrorFields, FromWorker, ToWorker } from "./scan_messages.ts";

/** What of the global scope of a worker is used here. */
interface WorkerScope {
  onmessage: ((event: MessageEvent<ToWorker>) => void) | null;
  postMessage(message: FromWorker, transfer: ArrayBuffer[]): void;
}

const scope = globalThis as unknown as WorkerScope;

let file: DiskFile | null = null;
let digester: BlockDigester | null = null;
/** Opening has no answer of its own: what failed is told to whoever asks next. */
let failure: unknown = null;

function answer(message: Exclude<ToWorker, { kind: "open" }>): Bytes {
  if (message.kind === "close") {
    file?.close();
    file = null;
    return new Uint8Array(0);
  }
  if (failure !== null) throw failure;
  assert(file !== null && digester !== null, "a volume is opened before it is hashed");
  return hashRange(file, digester, message.offset, message.length);
}

function fieldsOf(error: unknown): ErrorFields {
  if (error instanceof CascadeError) {
    const { code, message, where, hint, retryable } = error;
    return { code, message, where, hint, retryable };
  }
  const message = error instanceof Error ? error.message : String(error);
  return { code: "bug", message, where: {}, hint: undefined, retryable: false };
}

scope.onmessage = ({ data }) => {
  try {
    if (data.kind === "open") {
      file = new DenoDisk().open(data.path, { readOnly: true });
      digester = new BlockDigester(data);
      return;
    }
    const digests = answer(data);
    scope.postMessage({ kind: "done", digests }, [digests.buffer]);
  } catch (error) {
    if (data.kind === "open") failure = error;
    else scope.postMessage({ kind: "failed", error: fieldsOf(error) }, []);
  }
};

// It is started before there is anything to hash.
prepareDigests(SCAN_BLOCK_BYTES);
