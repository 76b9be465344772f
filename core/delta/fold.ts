/**
 * Which bytes of the volumes a range of a node's history touched: the log's records, and, where the log
 * goes on behind a delta, that delta's.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { RECOVERY_READ_BYTES } from "../limits.ts";
import type { Log } from "../log/log.ts";
import { RecordReader, RecordType } from "../log/record.ts";
import type { Clock } from "../ports.ts";
import type { Delta, DeltaShelf } from "./delta_shelf.ts";

/** Where a node's history is kept. */
export interface HistorySource {
  readonly log: Pick<Log, "read" | "gapAt" | "nextGap" | "gaps">;
  readonly shelf: DeltaShelf;
  readonly clock: Clock;
}

/** Whether all that follows `lsn` is kept as it came: log, and the deltas that it goes on behind. */
export function goesOnFrom(
  { log, shelf }: HistorySource & { readonly log: { readonly startLsn: number } },
  lsn: number,
): boolean {
  const from = lsn < log.startLsn ? shelf.covering(lsn)?.toLsn ?? lsn : lsn;
  return from >= log.startLsn &&
    log.gaps.every(({ fromLsn, toLsn }) =>
      toLsn <= from || coversGap(shelf, Math.max(fromLsn, from), toLsn)
    );
}

/**
 * Whether the shelf has all of a gap from `fromLsn` on, delta by delta. Where a log was cut back it has a gap that ends
 * where no delta does: the one that led beyond went with what was abandoned.
 */
export function coversGap(shelf: DeltaShelf, fromLsn: number, toLsn: number): boolean {
  for (let lsn = fromLsn; lsn < toLsn;) {
    const delta = shelf.covering(lsn);
    if (delta === null) return false;
    lsn = delta.toLsn;
  }
  return true;
}

/** Called with every range that was touched, in no order. */
export type ExtentVisitor = (volume: number, offset: number, length: number) => void;

/**
 * Visits all that [fromLsn, toLsn) touched, slice by slice: the event loop goes on between. Both ends are
 * where records end, or where a delta does. Throws `log-gone`, and what reading throws.
 */
export async function visitExtents(
  source: HistorySource,
  fromLsn: number,
  toLsn: number,
  visit: ExtentVisitor,
): Promise<void> {
  const slice = new Uint8Array(RECOVERY_READ_BYTES);
  const { log, shelf, clock } = source;
  let lsn = fromLsn;
  while (lsn < toLsn) {
    const gap = log.gapAt(lsn);
    if (gap !== null) {
      const delta = shelf.covering(lsn);
      if (delta === null) throw gone(lsn);
      await visitDelta(delta, clock, visit);
      lsn = delta.toLsn;
      continue;
    }
    const bytes = log.read(lsn, slice, Math.min(toLsn, log.nextGap(lsn)?.fromLsn ?? Infinity));
    assert(bytes > 0, "a slice holds any record, and the range ends where one ends");
    visitRecords(slice.subarray(0, bytes), visit);
    lsn += bytes;
    await new Promise<void>((go) => clock.soon(go));
  }
}

/** The same, of a delta that this node holds. */
export async function visitDelta(delta: Delta, clock: Clock, visit: ExtentVisitor): Promise<void> {
  const slice = new Uint8Array(RECOVERY_READ_BYTES);
  for (let position = 0; position < delta.bodyBytes;) {
    const bytes = delta.read(position, slice);
    visitRecords(slice.subarray(0, bytes), visit);
    position += bytes;
    await new Promise<void>((go) => clock.soon(go));
  }
}

function visitRecords(bytes: Uint8Array, visit: ExtentVisitor): void {
  const record = new RecordReader();
  for (let at = 0; at < bytes.length; at += record.totalBytes) {
    const { type, volume, offset, length } = record.at(bytes, at);
    if (type !== RecordType.MARK && type !== RecordType.EPOCH) visit(volume, offset, length);
  }
}

function gone(lsn: number): CascadeError {
  return new CascadeError("log-gone", "a delta that the log goes on behind is gone", {
    where: { LSN: lsn },
  });
}
