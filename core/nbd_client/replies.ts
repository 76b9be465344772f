/**
 * What an NBD server answers, read and checked: simple replies and structured chunks. Each is given
 * to the request that it belongs to; anything that does not fit ends the connection.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import {
  Chunk,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  Command,
  ErrorNumber,
  ExtentFlag,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
} from "../nbd/constants.ts";
import type { Bytes } from "../ports.ts";
import type { ByteReader } from "./byte_reader.ts";
import { printable, protocol } from "./client_handshake.ts";

/** A server may tell many extents at once; more than this is no answer but an attack. */
const STATUS_BYTES_MAX = 1024 * 1024;
const ERROR_BYTES_MAX = 8 * 1024;
/** Chunks of one READ: as many as it has 512-byte sectors, and a few. */
const CHUNKS_MAX = 64 * 1024;
const ERROR_CHUNK_BIT = 0x8000;

/** A run of an export; `zero`: it reads as zeroes. */
export interface Extent {
  readonly start: number;
  readonly end: number;
  readonly zero: boolean;
}

/** A request that was sent, or will be, and has no whole answer yet. */
export interface Pending {
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  /** Where the data of a READ goes. */
  readonly into: Bytes | null;
  /** What BLOCK_STATUS told. */
  readonly extents: Extent[];
  /** Parts of a READ that came. */
  readonly parts: { start: number; end: number }[];
  chunks: number;
  error: CascadeError | null;
}

/** Reads one answer or chunk; returns the handle that is wholly answered, or null. */
export async function readReply(
  reader: ByteReader,
  find: (handle: number) => Pending,
  options: { structured: boolean; allocationId: number | null },
): Promise<number | null> {
  const magic = (await reader.head(4)).getUint32(0);
  if (magic === SIMPLE_REPLY_MAGIC) return await readSimple(reader, find, options.structured);
  if (magic === CHUNK_MAGIC && options.structured) {
    return await readChunk(reader, find, options.allocationId);
  }
  throw protocol("a reply begins with a wrong number");
}

async function readSimple(
  reader: ByteReader,
  find: (handle: number) => Pending,
  structured: boolean,
): Promise<number> {
  const head = await reader.head(SIMPLE_REPLY_BYTES - 4);
  const errno = head.getUint32(0);
  const handle = Number(head.getBigUint64(4));
  const pending = find(handle);
  if (structured && (pending.command === Command.READ || pending.chunks > 0)) {
    throw protocol("a simple reply where a structured one was agreed on");
  }
  if (pending.command === Command.BLOCK_STATUS && errno === 0) {
    throw protocol("a status without extents");
  }
  if (errno !== 0) pending.error = serverError(errno, "", pending);
  else if (pending.into !== null) await reader.fill(pending.into);
  return handle;
}

async function readChunk(
  reader: ByteReader,
  find: (handle: number) => Pending,
  allocationId: number | null,
): Promise<number | null> {
  const head = await reader.head(CHUNK_HEADER_BYTES - 4);
  const flags = head.getUint16(0);
  const type = head.getUint16(2);
  const handle = Number(head.getBigUint64(4));
  const length = head.getUint32(12);
  const pending = find(handle);
  if (++pending.chunks > CHUNKS_MAX) throw protocol("a reply of too many chunks");
  if ((type & ERROR_CHUNK_BIT) !== 0) await readError(reader, length, pending);
  else if (type === Chunk.OFFSET_DATA) await readData(reader, length, pending);
  else if (type === Chunk.OFFSET_HOLE) await readHole(reader, length, pending);
  else if (type === Chunk.BLOCK_STATUS) await readStatus(reader, length, pending, allocationId);
  else if (type !== Chunk.NONE || length !== 0) throw protocol(`a chunk of unknown type ${type}`);
  if ((flags & CHUNK_FLAG_DONE) === 0) return null;
  if (pending.error === null) checkWhole(pending);
  return handle;
}

async function readData(reader: ByteReader, length: number, pending: Pending): Promise<void> {
  if (length < 9) throw protocol("a chunk of data without data");
  const at = Number((await reader.head(8)).getBigUint64(0)) - pending.offset;
  await reader.fill(partOf(pending, at, length - 8));
}

async function readHole(reader: ByteReader, length: number, pending: Pending): Promise<void> {
  if (length !== 12) throw protocol("a hole of a wrong length");
  const head = await reader.head(12);
  const at = Number(head.getBigUint64(0)) - pending.offset;
  partOf(pending, at, head.getUint32(8)).fill(0);
}

/** The memory of one part of a READ, which must lie within the request and come once. */
function partOf(pending: Pending, start: number, length: number): Bytes {
  const end = start + length;
  const isFree = pending.parts.every((part) => end <= part.start || start >= part.end);
  if (pending.into === null || start < 0 || length === 0 || end > pending.length || !isFree) {
    throw protocol("data that was not asked for");
  }
  // Servers answer in order: neighbours are merged, so that the list stays short.
  const before = pending.parts.at(-1);
  if (before?.end === start) before.end = end;
  else pending.parts.push({ start, end });
  return pending.into.subarray(start, end);
}

async function readStatus(
  reader: ByteReader,
  length: number,
  pending: Pending,
  allocationId: number | null,
): Promise<void> {
  if (
    pending.command !== Command.BLOCK_STATUS || pending.extents.length > 0 || length < 12 ||
    length > STATUS_BYTES_MAX || length % 8 !== 4
  ) throw protocol("a status that does not fit");
  if ((await reader.head(4)).getUint32(0) !== allocationId) {
    throw protocol("a status of another kind");
  }
  const data = new Uint8Array(length - 4);
  await reader.fill(data);
  const view = new DataView(data.buffer);
  let at = pending.offset;
  const limit = pending.offset + pending.length;
  for (let i = 0; i < data.length && at < limit; i += 8) {
    const bytes = view.getUint32(i);
    if (bytes === 0) throw protocol("an extent of no length");
    // The last one may tell of more than was asked.
    const end = Math.min(limit, at + bytes);
    pending.extents.push({ start: at, end, zero: (view.getUint32(i + 4) & ExtentFlag.ZERO) !== 0 });
    at = end;
  }
}

async function readError(reader: ByteReader, length: number, pending: Pending): Promise<void> {
  if (length < 6 || length > ERROR_BYTES_MAX) throw protocol("an error of a wrong length");
  const data = new Uint8Array(length);
  await reader.fill(data);
  const view = new DataView(data.buffer);
  const said = data.subarray(6, 6 + view.getUint16(4));
  pending.error ??= serverError(view.getUint32(0), printable(said), pending);
}

function checkWhole(pending: Pending): void {
  if (pending.command === Command.BLOCK_STATUS && pending.extents.length === 0) {
    throw protocol("a status without extents");
  }
  if (pending.command !== Command.READ) return;
  const bytes = pending.parts.reduce((sum, part) => sum + part.end - part.start, 0);
  if (bytes !== pending.length) throw protocol("a READ whose answer has gaps");
}

const NAMES: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(ErrorNumber).map(([name, number]) => [number, name]),
);
const COMMANDS: Readonly<Record<number, string>> = Object.fromEntries(
  Object.entries(Command).map(([name, number]) => [number, name]),
);

function serverError(errno: number, said: string, pending: Pending): CascadeError {
  const name = NAMES[errno] ?? `error ${errno}`;
  const text = `the NBD server answered ${COMMANDS[pending.command]} with ${name}`;
  const code = errno === ErrorNumber.ENOSPC
    ? "disk-full"
    : errno === ErrorNumber.EPERM
    ? "refused"
    : "disk-failed";
  return new CascadeError(code, said === "" ? text : `${text}: ${said}`, {
    where: { offset: pending.offset, length: pending.length },
  });
}
