/**
 * The client's half of NBD, for tests: builds what a client says and takes apart what it hears.
 *
 * @module
 */
import {
  Chunk,
  CHUNK_FLAG_DONE,
  CHUNK_HEADER_BYTES,
  CHUNK_MAGIC,
  Command,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC_HIGH,
  OPTION_REPLY_MAGIC_LOW,
  REQUEST_HEADER_BYTES,
  REQUEST_MAGIC,
  SIMPLE_REPLY_BYTES,
  SIMPLE_REPLY_MAGIC,
} from "../../../core/nbd/constants.ts";
import type { Bytes } from "../../../core/ports.ts";

/** Bytes without a short period. */
export function filled(length: number, seed = 1): Bytes {
  const bytes = new Uint8Array(length);
  for (let index = 0; index < length; index++) bytes[index] = index * 7 + seed + (index >>> 8);
  return bytes;
}

/** All parts, one behind the other. */
export function join(...parts: Uint8Array[]): Bytes {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

export function text(string: string): Bytes {
  return new TextEncoder().encode(string);
}

export function u16(value: number): Bytes {
  return new Uint8Array([value >>> 8, value]);
}

export function u32(value: number): Bytes {
  return join(u16(value >>> 16), u16(value & 0xffff));
}

/** `IHAVEOPT`, option, length, data. */
export function option(number: number, data: Uint8Array = new Uint8Array(0)): Bytes {
  return join(text("IHAVEOPT"), u32(number), u32(data.length), data);
}

/** The data of INFO and GO. */
export function infoData(name: string, infos: number[] = []): Bytes {
  const bytes = text(name);
  return join(u32(bytes.length), bytes, u16(infos.length), ...infos.map(u16));
}

/** The data of LIST_META_CONTEXT and SET_META_CONTEXT. */
export function contextData(name: string, queries: string[]): Bytes {
  const bytes = text(name);
  const parts = queries.map((query) => join(u32(text(query).length), text(query)));
  return join(u32(bytes.length), bytes, u32(queries.length), ...parts);
}

/** A request as a client would like to make it. */
export interface RequestFields {
  readonly command: number;
  readonly handle?: bigint;
  readonly flags?: number;
  readonly offset?: number | bigint;
  readonly length?: number;
  readonly payload?: Uint8Array;
  readonly magic?: number;
}

export function request(fields: RequestFields): Bytes {
  const payload = fields.payload ?? new Uint8Array(0);
  const bytes = new Uint8Array(REQUEST_HEADER_BYTES + payload.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, fields.magic ?? REQUEST_MAGIC);
  view.setUint16(4, fields.flags ?? 0);
  view.setUint16(6, fields.command);
  view.setBigUint64(8, fields.handle ?? 0n);
  view.setBigUint64(16, BigInt(fields.offset ?? 0));
  view.setUint32(24, fields.length ?? payload.length);
  bytes.set(payload, REQUEST_HEADER_BYTES);
  return bytes;
}

export const DISC: Bytes = request({ command: Command.DISC });

/** One reply of the handshake. */
export interface ParsedOptionReply {
  readonly option: number;
  readonly type: number;
  readonly data: Uint8Array;
}

/** Takes option replies apart; what is left over (the answer to EXPORT_NAME) comes as `rest`. */
export function parseOptionReplies(
  bytes: Uint8Array,
): { replies: ParsedOptionReply[]; rest: Uint8Array } {
  const replies: ParsedOptionReply[] = [];
  let at = 0;
  while (bytes.length - at >= OPTION_REPLY_HEADER_BYTES) {
    const view = new DataView(bytes.buffer, bytes.byteOffset + at);
    if (view.getUint32(0) !== OPTION_REPLY_MAGIC_HIGH) break;
    if (view.getUint32(4) !== OPTION_REPLY_MAGIC_LOW) break;
    const start = at + OPTION_REPLY_HEADER_BYTES;
    const end = start + view.getUint32(16);
    replies.push({
      option: view.getUint32(8),
      type: view.getUint32(12),
      data: bytes.subarray(start, end),
    });
    at = end;
  }
  return { replies, rest: bytes.subarray(at) };
}

/** A whole reply, put together from its chunks. */
export interface ParsedReply {
  readonly handle: bigint;
  readonly error: number;
  /** What a READ brought; null when it brought nothing. */
  readonly data: Uint8Array | null;
  /** Length and flags of each extent of a BLOCK_STATUS. */
  readonly extents: [number, number][];
  /** The types of its chunks; empty for a simple reply. */
  readonly chunks: number[];
  readonly message: string;
}

interface PendingRead {
  readonly offset: number;
  readonly length: number;
}

/** Takes replies apart as bytes come in; must be told of READs before their replies come. */
export class ReplyParser {
  readonly reads = new Map<bigint, PendingRead>();
  readonly #open = new Map<bigint, { -readonly [K in keyof ParsedReply]: ParsedReply[K] }>();
  #left: Uint8Array = new Uint8Array(0);
  readonly #structured: boolean;

  constructor(structured: boolean) {
    this.#structured = structured;
  }

  /** Bytes that make no whole reply yet. */
  get leftBytes(): number {
    return this.#left.length;
  }

  /** Notes the READs among requests. */
  expect(fields: RequestFields): void {
    if (fields.command !== Command.READ) return;
    this.reads.set(fields.handle ?? 0n, {
      offset: Number(fields.offset ?? 0),
      length: fields.length ?? 0,
    });
  }

  push(bytes: Uint8Array): ParsedReply[] {
    const all = this.#left.length === 0 ? bytes : join(this.#left, bytes);
    const replies: ParsedReply[] = [];
    let at = 0;
    for (;;) {
      const view = new DataView(all.buffer, all.byteOffset + at, all.length - at);
      const taken = this.#takeOne(view, replies);
      if (taken === 0) break;
      at += taken;
    }
    this.#left = all.slice(at);
    return replies;
  }

  #takeOne(view: DataView, replies: ParsedReply[]): number {
    if (view.byteLength < SIMPLE_REPLY_BYTES) return 0;
    const magic = view.getUint32(0);
    if (magic === SIMPLE_REPLY_MAGIC) return this.#takeSimple(view, replies);
    if (magic !== CHUNK_MAGIC) throw new Error(`a reply with magic 0x${magic.toString(16)}`);
    if (!this.#structured) throw new Error("a chunk that was not negotiated");
    return this.#takeChunk(view, replies);
  }

  #takeSimple(view: DataView, replies: ParsedReply[]): number {
    const error = view.getUint32(4);
    const handle = view.getBigUint64(8);
    const read = this.reads.get(handle);
    if (read !== undefined && this.#structured) throw new Error("a simple reply to a READ");
    const length = read === undefined || error !== 0 ? 0 : read.length;
    if (view.byteLength < SIMPLE_REPLY_BYTES + length) return 0;
    const data = read === undefined || error !== 0 ? null : slice(view, SIMPLE_REPLY_BYTES, length);
    this.reads.delete(handle);
    replies.push({ handle, error, data, extents: [], chunks: [], message: "" });
    return SIMPLE_REPLY_BYTES + length;
  }

  #takeChunk(view: DataView, replies: ParsedReply[]): number {
    if (view.byteLength < CHUNK_HEADER_BYTES) return 0;
    const length = view.getUint32(16);
    if (view.byteLength < CHUNK_HEADER_BYTES + length) return 0;
    const type = view.getUint16(6);
    const handle = view.getBigUint64(8);
    const read = this.reads.get(handle);
    const reply = this.#open.get(handle) ?? {
      handle,
      error: 0,
      data: null,
      extents: [],
      chunks: [],
      message: "",
    };
    this.#open.set(handle, reply);
    reply.chunks.push(type);
    const at = CHUNK_HEADER_BYTES;
    if (type === Chunk.ERROR) {
      reply.error = view.getUint32(at);
      reply.message = new TextDecoder().decode(slice(view, at + 6, view.getUint16(at + 4)));
      if (length !== 6 + view.getUint16(at + 4)) throw new Error("an error chunk of odd length");
    } else if (type === Chunk.OFFSET_DATA || type === Chunk.OFFSET_HOLE) {
      if (read === undefined) throw new Error("data that nobody asked for");
      // What no chunk covers shows.
      reply.data ??= new Uint8Array(read.length).fill(0xee);
      const to = Number(view.getBigUint64(at)) - read.offset;
      const isHole = type === Chunk.OFFSET_HOLE;
      const bytes = isHole
        ? new Uint8Array(view.getUint32(at + 8))
        : slice(view, at + 8, length - 8);
      if (bytes.length === 0 || to < 0 || to + bytes.length > read.length) {
        throw new Error("data outside of what was asked for");
      }
      reply.data.set(bytes, to);
    } else if (type === Chunk.BLOCK_STATUS) {
      for (let each = at + 4; each < at + length; each += 8) {
        reply.extents.push([view.getUint32(each), view.getUint32(each + 4)]);
      }
    }
    if ((view.getUint16(4) & CHUNK_FLAG_DONE) !== 0) {
      this.#open.delete(handle);
      this.reads.delete(handle);
      replies.push(reply);
    }
    return CHUNK_HEADER_BYTES + length;
  }
}

function slice(view: DataView, at: number, length: number): Uint8Array {
  return new Uint8Array(view.buffer, view.byteOffset + at, length).slice();
}
