/**
 * Reading what is nobody else's business: secrets, tokens, private keys. A file that others may read is refused, rather
 * than used as if it were one.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import { resolvePath } from "../core/topology/paths.ts";

/** Secrets and keys are short; a wrong path may lead to anything. */
export const PRIVATE_BYTES_MAX = 64 * 1024;

/** Bits of a mode that are for others than the owner. */
const OTHERS = 0o077;

/** What is read, and what to do when it is not there. */
export interface PrivateFile {
  readonly path: string;
  /** As in "the WHAT PATH is not there". */
  readonly what: string;
  readonly hint: string;
}

/** All bytes of a file that its owner alone may read or write. Throws `topology`, naming it, never its content. */
export function readPrivateFile({ path, what, hint }: PrivateFile): Uint8Array {
  const place = `the ${what} ${path}`;
  let file: Deno.FsFile;
  try {
    file = Deno.openSync(path);
  } catch (error) {
    throw cannotOpen(place, path, hint, error);
  }
  try {
    // Of the open file: nobody can put another one in its place in between.
    const stats = file.statSync();
    if (stats.isDirectory) throw new CascadeError("topology", `${place} is a folder`);
    refuseOpen(place, path, stats);
    if (stats.size > PRIVATE_BYTES_MAX) {
      throw new CascadeError("topology", `${place} has ${stats.size} bytes: it is none`);
    }
    return readAll(file);
  } finally {
    file.close();
  }
}

/** The same as text. */
export function readPrivateText(file: PrivateFile): string {
  return new TextDecoder().decode(readPrivateFile(file));
}

function refuseOpen(place: string, path: string, { mode, isFile }: Deno.FileInfo): void {
  // A pipe of the shell's, `<(...)`, belongs to the two processes at its ends.
  if (!isFile || mode === null || (mode & OTHERS) === 0) return;
  const octal = (mode & 0o7777).toString(8).padStart(4, "0");
  const whom = (mode & 0o007) === 0 ? "its group" : "everybody on this host";
  throw new CascadeError("topology", `${place} is open to ${whom} (mode ${octal})`, {
    hint: `Let its owner alone read it: chmod 600 ${shellWord(resolvePath(Deno.cwd(), path))}`,
  });
}

/** The path as it can be typed. */
function shellWord(path: string): string {
  return /^[\w./+:@-]+$/.test(path) ? path : `'${path.replaceAll("'", `'\\''`)}'`;
}

function readAll(file: Deno.FsFile): Uint8Array {
  const bytes = new Uint8Array(PRIVATE_BYTES_MAX + 1);
  let length = 0;
  while (length < bytes.length) {
    const count = file.readSync(bytes.subarray(length));
    if (count === null) break;
    length += count;
  }
  return bytes.slice(0, length);
}

/** A name of hexadecimal digits or Base64 that is no file: somebody wrote the secret where its place belongs. */
const SECRET_ITSELF = /(^|\/)(?=[^/]*[0-9])[A-Za-z0-9+]{22,}$|=$/;

function cannotOpen(place: string, path: string, hint: string, cause: unknown): CascadeError {
  if (SECRET_ITSELF.test(path)) {
    // It goes into no journal, and so the error has neither the path nor the system's words.
    return new CascadeError(
      "topology",
      "what is to be the name of a file looks like a secret itself",
      {
        hint:
          "Write it into a file that its owner alone may read, and that file's name where it stood",
      },
    );
  }
  if (cause instanceof Deno.errors.NotFound) {
    return new CascadeError("topology", `${place} is not there`, { hint, cause });
  }
  const reason = cause instanceof Error ? cause.message : String(cause);
  const owner = cause instanceof Deno.errors.PermissionDenied ? ownerOf(path) : null;
  return new CascadeError("topology", `${place} cannot be read: ${reason}`, {
    ...(owner === null ? {} : {
      hint: `It belongs to the user with the number ${owner}, and this runs as another one: ` +
        `run it as that user, or chown USER ${shellWord(resolvePath(Deno.cwd(), path))}`,
    }),
    cause,
  });
}

function ownerOf(path: string): number | null {
  try {
    return Deno.statSync(path).uid;
  } catch {
    return null; // Its folder is closed as well: the reason says enough.
  }
}
