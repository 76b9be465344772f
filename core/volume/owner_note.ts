/**
 * A volume in a regular file has a note beside it, `FILE.cascade`, which tells whose it is, so that
 * no other node or cluster takes it, and no node another's. A raw device has no place for one.
 *
 *     {"cluster":"payroll","node":"hq","volume":"data"}      one line of JSON
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { Disk } from "../ports.ts";
import type { VolumeExpectation } from "./volume.ts";

const NOTE_BYTES_MAX = 4096;

function notePath(volumePath: string): string {
  return `${volumePath}.cascade`;
}

/**
 * Checks that the volume is this node's. At the first start one that is nobody's becomes so; later
 * one without a note is not the one that was left behind. Throws `wrong-volume`.
 */
export function checkOwner(disk: Disk, want: VolumeExpectation): void {
  const path = notePath(want.path);
  const where = { volume: want.name, file: want.path };
  const mine = `${JSON.stringify({ ...want.owner, volume: want.name })}\n`;
  const found = readNote(disk, path);
  if (found === mine && !want.first) return;
  // A note that was cut short by a crash at the very first start binds nobody.
  if (found !== mine && found.endsWith("\n")) {
    throw new CascadeError("wrong-volume", `the volume belongs to ${found.trim()}`, {
      where,
      hint: `Use another file, or remove ${path} if that owner is gone for good`,
    });
  }
  if (!want.first) {
    const what = disk.exists(path) ? "is damaged" : "is not there any more";
    throw new CascadeError("wrong-volume", `the note of the volume's owner, ${path}, ${what}`, {
      where,
      hint: "Put the volume and its note back as they were. If this is the very file that the " +
        `node ran on last, write the note again: ${mine.trim()}. To fill the node anew, remove ` +
        "the volume and the node's folder",
    });
  }
  // Also one that is there: the flush of it may have failed, and what is read is in memory alone.
  const note = disk.open(path, { create: true });
  try {
    note.truncate(0);
    note.writeAt(new TextEncoder().encode(mine), 0);
  } finally {
    note.close();
  }
}

/** The whole note; empty when there is none. */
function readNote(disk: Disk, path: string): string {
  if (!disk.exists(path)) return "";
  const note = disk.open(path, { readOnly: true });
  try {
    const bytes = new Uint8Array(Math.min(note.size(), NOTE_BYTES_MAX));
    note.readAt(bytes, 0);
    return new TextDecoder().decode(bytes);
  } finally {
    note.close();
  }
}

/** Makes the bytes of a volume's note durable; the flush of the folder is the caller's. */
export async function flushOwnerNote(disk: Disk, volumePath: string): Promise<void> {
  const note = disk.open(notePath(volumePath));
  try {
    await note.flush();
  } finally {
    note.close();
  }
}
