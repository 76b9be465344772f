/**
 * Writes the roles and links as they are by now into a topology file: it is replaced as a whole, or not at all, and
 * kept beside as it was (`FILE.before`).
 *
 *  1. Where the path leads to a file over symbolic links, that file is the one, and the links stay.
 *  2. It is locked, since nodes of one host may be served with one file: whoever comes second finds all done.
 *  3. What a crash has left is removed.
 *  4. It is read, and what is to stand there made and checked (core/topology/rewrite.ts). If it stands there: done.
 *  5. The old text is written to `FILE.before`, durably, and the new one beside it.
 *  6. Unless somebody has changed the file meanwhile, the new one takes its name.
 *
 * @module
 */
import { CascadeError, describeError } from "../core/errors.ts";
import { resolvePath } from "../core/topology/paths.ts";
import { rewriteTopology } from "../core/topology/rewrite.ts";
import { failedOutcome, type FileOutcome } from "../core/tree/file_report.ts";
import type { View } from "../core/tree/view.ts";
import { readTopology } from "./topology_file.ts";
import { removeUnfinished, replaceLike } from "./whole_file.ts";

/** How long others may be at the file: each holds it for some milliseconds. */
const LOCK_TURNS = 200;
const LOCK_TURN_MS = 10;

/** Writes what `view` says into the file at `path`. Never rejects: what is in the way is in the outcome. */
export async function writeTopology(path: string, view: View): Promise<FileOutcome> {
  const shown = resolvePath(Deno.cwd(), path);
  try {
    const target = Deno.realPathSync(path);
    if (!Deno.statSync(target).isFile) throw new CascadeError("usage", "it is no regular file");
    const lock = await locked(target);
    if (lock === null) return failedOutcome(shown, "another process has locked it");
    try {
      return write(shown, target, view);
    } finally {
      lock.close();
    }
  } catch (error) {
    return failedOutcome(shown, reasonOf(error));
  }
}

function write(path: string, target: string, view: View): FileOutcome {
  const before = stampOf(target);
  const { text } = readTopology(path);
  const next = rewriteTopology(text, path, resolvePath(path, ".."), view);
  if (next === text) return { outcome: "unchanged", file: path, before: null, reason: null };
  removeUnfinished(target);
  removeUnfinished(`${target}.before`);
  const kept = `${target}.before`;
  replaceLike({ path: kept, text, like: target });
  if (stampOf(target) !== before) {
    return failedOutcome(path, "somebody else has just changed it: say it again");
  }
  replaceLike({ path: target, text: next, like: target });
  return { outcome: "written", file: path, before: kept, reason: null };
}

/** Of a file that was changed it is another one. */
function stampOf(path: string): string {
  const { ino, size, mtime } = Deno.statSync(path);
  return `${ino} ${size} ${mtime?.getTime()}`;
}

/** Locks the file that has the name once it is locked, until what is returned is closed; null: others are at it. */
async function locked(path: string): Promise<Deno.FsFile | null> {
  for (let turn = 0; turn < LOCK_TURNS; turn++) {
    const file = Deno.openSync(path);
    if (file.tryLockSync(true) && file.statSync().ino === Deno.statSync(path).ino) {
      return file;
    }
    file.close();
    await new Promise<void>((go) => setTimeout(go, LOCK_TURN_MS));
  }
  return null;
}

/** Why it cannot be written, and what lets it be. */
function reasonOf(error: unknown): string {
  const cause = error instanceof CascadeError && error.cause !== undefined ? error.cause : error;
  const reason = describeError(error);
  const message = cause instanceof Error ? cause.message : "";
  if (/os error 30/.test(message)) {
    return `${reason}. The service may not write there: run the command on that host as root, or let it ` +
      "(ReadWritePaths= for that folder)";
  }
  if (/os error 16/.test(message)) {
    return `${reason}. It is mounted by itself, as into a container: run the command where it comes from`;
  }
  if (cause instanceof Deno.errors.PermissionDenied) {
    return `${reason}. Run the command on that host as the user whose file it is`;
  }
  return reason;
}
