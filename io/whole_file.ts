/**
 * Files that are there whole or not at all: a key, a certificate. They are written beside their place, flushed, and
 * then put there under their name.
 *
 * @module
 */
import { basename, dirname } from "node:path";
import { CascadeError } from "../core/errors.ts";

/** What to write, and for whom. */
export interface WholeFile {
  readonly path: string;
  readonly text: string;
  readonly mode: number;
}

/**
 * Writes a file that is not there yet; false, and nothing is changed, when it is. Like its folder it belongs to the
 * folder's owner, where this user may see to that. Throws `usage`.
 */
export function makeWhole(file: WholeFile): boolean {
  const made = writeBeside(file, ownerOf(dirname(file.path)));
  try {
    // Unlike a rename, a link never takes the place of what is there.
    Deno.linkSync(made, file.path);
  } catch (error) {
    if (error instanceof Deno.errors.AlreadyExists) return false;
    throw cannotWrite(file.path, error);
  } finally {
    Deno.removeSync(made);
  }
  flushFolder(dirname(file.path));
  return true;
}

/** Puts a file in the place of one that is there, which stays until this one is whole; it keeps its owner. Throws `usage`. */
export function replaceWhole(file: WholeFile): void {
  const made = writeBeside(file, ownerOf(file.path) ?? ownerOf(dirname(file.path)));
  try {
    Deno.renameSync(made, file.path);
  } catch (error) {
    Deno.removeSync(made);
    throw cannotWrite(file.path, error);
  }
  flushFolder(dirname(file.path));
}

/** A file to be replaced, which stays for whom it is. */
export interface LikeFile {
  readonly path: string;
  readonly text: string;
  /** The file whose mode, owner and group the new one gets. */
  readonly like: string;
}

/** {@linkcode replaceWhole} by a file with the mode, owner and group of another. Throws `usage`, also where that cannot be. */
export function replaceLike({ path, text, like }: LikeFile): void {
  const { mode } = Deno.statSync(like);
  const owner = ownerOf(like);
  const made = writeBeside({ path, text, mode: (mode ?? 0o600) & 0o7777 }, owner);
  try {
    const now = ownerOf(made);
    if (owner?.uid !== now?.uid || owner?.gid !== now?.gid) {
      throw new Error("it would not belong to its user or group any more");
    }
    Deno.renameSync(made, path);
  } catch (error) {
    Deno.removeSync(made);
    throw cannotWrite(path, error);
  }
  flushFolder(dirname(path));
}

/** Removes what a crash has left of {@linkcode replaceLike}: nobody may be at it now. */
export function removeUnfinished(path: string): void {
  const name = basename(path);
  for (const entry of Deno.readDirSync(dirname(path))) {
    const rest = entry.name.startsWith(`${name}.`) ? entry.name.slice(name.length) : "";
    if (/^\.[0-9a-f]{8}\.new$/.test(rest)) Deno.removeSync(`${dirname(path)}/${entry.name}`);
  }
}

/** Makes a folder for its owner alone, if it is not there, and those above it. Throws `usage`. */
export function makePrivateFolder(path: string): void {
  try {
    Deno.statSync(path);
    return;
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw cannotWrite(path, error);
  }
  try {
    const owner = ownerOf(dirname(path));
    Deno.mkdirSync(path, { recursive: true, mode: 0o700 });
    giveTo(path, owner);
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** Who owns a file, by numbers. */
interface Owner {
  readonly uid: number;
  readonly gid: number;
}

function ownerOf(path: string): Owner | null {
  try {
    const { uid, gid } = Deno.statSync(path);
    return uid === null || gid === null ? null : { uid, gid };
  } catch {
    return null; // Not there: there is nobody to give it to.
  }
}

function writeBeside({ path, text, mode }: WholeFile, owner: Owner | null): string {
  const made = `${path}.${crypto.randomUUID().slice(0, 8)}.new`;
  try {
    const file = Deno.openSync(made, { write: true, createNew: true, mode });
    try {
      const bytes = new TextEncoder().encode(text);
      for (let done = 0; done < bytes.length;) done += file.writeSync(bytes.subarray(done));
      file.syncSync();
    } finally {
      file.close();
    }
    // Whatever the umask says: who runs the node reads a certificate.
    Deno.chmodSync(made, mode);
    giveTo(made, owner);
    return made;
  } catch (error) {
    throw cannotWrite(path, error);
  }
}

/** Root makes files for others, in their folders: a service reads its own key. */
function giveTo(path: string, owner: Owner | null): void {
  const now = ownerOf(path);
  if (owner === null || now === null) return;
  if (owner.uid === now.uid && owner.gid === now.gid) return;
  try {
    Deno.chownSync(path, owner.uid, owner.gid);
  } catch {
    // Only root gives files away. It is the folder of another user then: who reads it is theirs to say.
  }
}

function flushFolder(path: string): void {
  const folder = Deno.openSync(path);
  try {
    folder.syncSync();
  } finally {
    folder.close();
  }
}

function cannotWrite(path: string, error: unknown): CascadeError {
  const reason = error instanceof Deno.errors.NotFound
    ? "its folder is not there"
    : error instanceof Error
    ? error.message
    : String(error);
  return new CascadeError("usage", `${path} cannot be written: ${reason}`, { cause: error });
}
