/**
 * What the NBD server asks of the node: the narrow set of calls between the two.
 *
 * The hot path makes no promise per request. A write returns its **ticket**, the LSN at which its
 * last record ends; it may be answered once `front.acknowledgedLsn` has reached that, a FLUSH or
 * FUA once `front.flushedLsn` has. Both only grow. The server keeps its waiting requests in order
 * of their tickets and looks at the two positions whenever the front calls its listeners.
 *
 * @module
 */
import type { DataRange } from "../ports.ts";

/** Why writes are not served now; each maps to one NBD error. */
export type Refusal = "stopping" | "sync-peer-lost" | "disk-full" | "failed" | "not-primary";

/** What all exports of a node share: the one log behind them. */
export interface Front {
  /** Plain writes that end at or below may be answered. */
  readonly acknowledgedLsn: number;
  /** A FLUSH (or a FUA write) with a ticket at or below may be answered. */
  readonly flushedLsn: number;
  /**
   * False while the node asks its clients to slow down: a connection then takes no more requests
   * until a listener call finds it true again. Nothing is refused for it.
   */
  readonly accepting: boolean;
  /**
   * The ticket of a FLUSH that is asked for now: the end of all that was written so far. Called
   * once for each FLUSH.
   */
  flushTicket(): number;
  /** Counts a write, zero or trim that came with FUA. */
  countFuaWrite(): void;
  /**
   * Tells that somebody waits for `flushedLsn` to reach the present end. Cheap to repeat. The
   * server calls it once for all that a batch brought, and not when nobody is left waiting.
   */
  requestFlush(): void;
  /**
   * Ends a batch: hands what was written since the last call to the log in one write. The server
   * calls it after the last whole request of each socket read, before it answers anything, and
   * within a batch before a read that stands behind a write. When it throws, or a write does,
   * nothing since the last commit counts as written: the server answers all that waits on that
   * connection with the error.
   */
  commit(): void;
  /**
   * `listener.onProgress` is called after positions or `accepting` changed; `listener.onRefused`
   * when everything that waits must be answered with an error now (a sync peer was lost under
   * `onDisconnect: fail`, or the node stops or failed). Returns the function that unsubscribes.
   */
  subscribe(listener: FrontListener): () => void;
}

/** See {@linkcode Front.subscribe}. Called synchronously, never from within a call to the front. */
export interface FrontListener {
  onProgress(): void;
  onRefused(refusal: Refusal): void;
}

/** One volume as an export. All calls are synchronous; ranges were checked by the server. */
export interface ExportBackend {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly front: Front;
  /** Null when writes are welcome. */
  readonly refusal: Refusal | null;
  /** Fills `into` with the bytes from `offset`. Throws a CascadeError (answer: EIO). */
  read(into: Uint8Array, offset: number): void;
  /**
   * Takes a write: copies `payload`, which the caller may then reuse. Returns its ticket. Throws a
   * CascadeError (`disk-full`: ENOSPC; else EIO). At most 1 MiB a call; larger ones in pieces.
   */
  write(payload: Uint8Array, offset: number): number;
  /** WRITE_ZEROES; `hole` unless NO_HOLE was asked. Any length. Returns its ticket. */
  zero(offset: number, length: number, hole: boolean): number;
  /** TRIM; reads as zero afterwards. Returns its ticket. */
  trim(offset: number, length: number): number;
  /**
   * The data ranges for `base:allocation`; what lies between them reads as zero. At most
   * `rangesMax`: when there are as many, what lies past the last is not told.
   */
  dataRanges(offset: number, length: number, rangesMax: number): DataRange[];
}
