/**
 * What comes over a socket: holding it back, and giving its memory back as soon as it was taken.
 *
 * The runtime brings what comes in fresh memory, over TLS twice for each 64 KiB, as it came and as it was meant, and
 * leaves both to the garbage collector. That counts what lies outside of its heap for little: half a gigabyte lay about, and
 * to touch new pages for every byte was two thirds of the work of receiving. And a socket of TLS that is paused reads on
 * beneath, some megabytes, which come as one chunk then. So where the runtime is as it is known to be, what is under
 * TLS is paused, at once and for 20 us, and what that brought is free once TLS has taken it.
 *
 * @module
 */
import type { Duplex } from "node:stream";

/** What is smaller may be a part of memory that others use. */
const GIVEN_BACK_BYTES_MIN = 16 * 1024;

/** See the module's text. */
export interface Intake {
  /** Nothing more is to come for now. */
  hold(): void;
  /** It may come again. */
  go(): void;
}

/** What the runtime has beneath a socket, as far as it matters here. */
interface Handle {
  reading: unknown;
  onread: unknown;
  readStart: unknown;
  readStop: unknown;
}

/** What is under a socket of TLS. */
interface Beneath {
  readonly destroyed?: boolean;
  readonly _handle?: Partial<Handle> | null;
}

/** Nobody looks at a chunk any more: if it is all, or the rest, of a buffer of its own, that is free now. */
export function giveBack({ buffer, byteOffset, length }: Uint8Array): void {
  const isLast = byteOffset + length === buffer.byteLength;
  if (!isLast || buffer.byteLength < GIVEN_BACK_BYTES_MIN) return;
  if (buffer instanceof ArrayBuffer) buffer.transfer(0);
}

/** The intake of a socket; one of TLS has shaken hands. */
export function intakeOf(socket: Duplex): Intake {
  const { _parent: plain } = socket as { _parent?: Beneath };
  const handle = plain?._handle ?? null;
  if (plain === undefined || handle === null || !isKnown(handle)) {
    return { hold: () => void socket.pause(), go: () => void socket.resume() };
  }
  const { onread: take, readStart, readStop } = handle;
  handle.onread = function (this: unknown, came: unknown): void {
    take.call(this, came);
    if (came instanceof ArrayBuffer) giveBack(new Uint8Array(came));
  };
  const isThere = () => plain.destroyed !== true && plain._handle === handle;
  const hold = () => void (isThere() && readStop.call(handle));
  const go = () => void (isThere() && readStart.call(handle));
  // What is to be called is looked up when reading starts.
  if (handle.reading === true) {
    hold();
    go();
  }
  return { hold, go };
}

interface KnownHandle extends Handle {
  onread: (this: unknown, came: unknown) => void;
  readStart: () => void;
  readStop: () => void;
}

function isKnown(handle: Partial<Handle>): handle is KnownHandle {
  const { onread, readStart, readStop } = handle;
  return [onread, readStart, readStop].every((each) => typeof each === "function");
}
