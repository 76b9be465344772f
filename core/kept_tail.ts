/**
 * Keeping records that the history went on without: in a folder of their own, `DIR/abandoned/EPOCH-FROM-TO`,
 * that is a log as any other. Nothing removes it but its owner.
 *
 * @module
 */
import { CascadeError } from "./errors.ts";
import { makeDurableFolder } from "./folders.ts";
import { Log } from "./log/log.ts";
import { BATCH_BYTES_MAX } from "./node_limits.ts";
import type { Clock, Disk } from "./ports.ts";

/** How long room for the next records is waited for, in turns of a millisecond. */
const ROOM_TURNS_MAX = 10_000;

/** Where the records come from, and go to. */
export interface Keeping {
  readonly dir: string;
  readonly disk: Disk;
  readonly clock: Clock;
  readonly log: Log;
  readonly segmentBytes: number;
}

/** Where such records are kept. */
export function tailFolder(dir: string, epoch: number, fromLsn: number, endLsn: number): string {
  return `${dir}/abandoned/${epoch}-${fromLsn}-${endLsn}`;
}

/** Makes the folder for such records, durably; what a try before has left in it goes. */
export async function makeTailFolder(
  { dir, disk }: Pick<Keeping, "dir" | "disk">,
  fromLsn: number,
  endLsn: number,
  epoch: number,
): Promise<string> {
  const folder = tailFolder(dir, epoch, fromLsn, endLsn);
  await makeDurableFolder(disk, `${dir}/abandoned`);
  await makeDurableFolder(disk, folder);
  for (const name of disk.list(folder)) disk.remove(`${folder}/${name}`);
  return folder;
}

/**
 * Keeps what the log has of [fromLsn, endLsn), durably; returns the folder, or null: it has nothing of it as
 * records. Done again after a crash, it begins anew. Throws `disk-full`, and what the disk throws.
 */
export async function keepTail(
  keeping: Keeping,
  fromLsn: number,
  endLsn: number,
  epoch: number,
): Promise<string | null> {
  const { clock, log } = keeping;
  const first = Math.max(fromLsn, log.startLsn, log.gapAt(fromLsn)?.toLsn ?? 0);
  if (first >= endLsn) return null;
  const folder = await makeTailFolder(keeping, fromLsn, endLsn, epoch);
  const kept = await openKept(folder, keeping, endLsn - first);
  try {
    // In pieces that there is always room for, before long.
    const buffer = new Uint8Array(Math.min(BATCH_BYTES_MAX, keeping.segmentBytes * 5 / 16));
    for (let lsn = first; lsn < endLsn;) {
      const gap = log.gapAt(lsn);
      if (gap !== null) {
        lsn = gap.toLsn;
        continue;
      }
      if (kept.endLsn < lsn) await kept.jump(lsn);
      const bytes = log.read(lsn, buffer, Math.min(endLsn, log.nextGap(lsn)?.fromLsn ?? Infinity));
      await roomFor(kept, bytes, clock);
      kept.append(buffer.subarray(0, bytes));
      lsn += bytes;
      kept.requestFlush();
      await kept.flushed();
    }
  } finally {
    await kept.close();
  }
  return folder;
}

async function openKept(folder: string, keeping: Keeping, bytes: number): Promise<Log> {
  const { disk, clock, segmentBytes } = keeping;
  const { log } = await Log.open({
    disk,
    clock,
    folder,
    budgetBytes: 2 * bytes + 8 * segmentBytes,
    segmentBytes,
    checkpointLsn: 0,
    // What fails is thrown again at the next append.
    events: { onDurable: () => {}, onRoom: () => {}, onDiskFull: () => {}, onFatal: () => {} },
  });
  return log;
}

/** A new segment is made beside: it is waited for. */
async function roomFor(log: Log, bytes: number, clock: Clock): Promise<void> {
  for (let turn = 0; log.room() < bytes; turn++) {
    if (turn === ROOM_TURNS_MAX) {
      throw new CascadeError("disk-full", "no room to keep the abandoned records", {
        retryable: true,
      });
    }
    await new Promise<void>((go) => clock.after(1, go));
  }
}
