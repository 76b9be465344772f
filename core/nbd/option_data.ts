/**
 * The data of NBD options, from bytes to what was asked. Nothing here acts on it. A `null` means
 * that the data is not of the option's form, which is answered with ERR_INVALID.
 *
 * @module
 */
import { Info, STRING_BYTES_MAX } from "./constants.ts";
import { QUERIES_MAX } from "./nbd_limits.ts";

/** What INFO and GO ask. */
export interface InfoRequest {
  readonly name: Uint8Array;
  readonly wantsName: boolean;
  readonly wantsDescription: boolean;
  readonly wantsBlockSize: boolean;
}

/** What LIST_META_CONTEXT and SET_META_CONTEXT ask. */
export interface ContextRequest {
  readonly name: Uint8Array;
  readonly queries: readonly Uint8Array[];
}

/** Walks over big-endian fields; `failed` once something lies past the end, and ever after. */
class FieldReader {
  failed = false;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  get left(): number {
    return this.#bytes.length - this.#at;
  }

  uint16(): number {
    if (!this.#has(2)) return 0;
    this.#at += 2;
    return this.#view.getUint16(this.#at - 2);
  }

  uint32(): number {
    if (!this.#has(4)) return 0;
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4);
  }

  /** A string as the text has it: within the bound, and without NUL. */
  string(length: number): Uint8Array {
    if (length > STRING_BYTES_MAX || !this.#has(length)) {
      this.failed = true;
      return this.#bytes.subarray(0, 0);
    }
    const string = this.#bytes.subarray(this.#at, this.#at + length);
    this.#at += length;
    if (string.includes(0)) this.failed = true;
    return string;
  }

  #has(count: number): boolean {
    if (count > this.left) this.failed = true;
    return !this.failed;
  }
}

/** The name in an EXPORT_NAME. */
export function parseExportName(data: Uint8Array): Uint8Array | null {
  const fields = new FieldReader(data);
  const name = fields.string(data.length);
  return fields.failed ? null : name;
}

/** 32 bits length of name, name, 16 bits count, that many times 16 bits. Others are ignored. */
export function parseInfoRequest(data: Uint8Array): InfoRequest | null {
  const fields = new FieldReader(data);
  const name = fields.string(fields.uint32());
  const count = fields.uint16();
  if (fields.failed || fields.left !== 2 * count) return null;
  let wanted = 0;
  for (let index = 0; index < count; index++) wanted |= infoBit(fields.uint16());
  return {
    name,
    wantsName: (wanted & infoBit(Info.NAME)) !== 0,
    wantsDescription: (wanted & infoBit(Info.DESCRIPTION)) !== 0,
    wantsBlockSize: (wanted & infoBit(Info.BLOCK_SIZE)) !== 0,
  };
}

function infoBit(info: number): number {
  return info <= Info.BLOCK_SIZE ? 1 << info : 0;
}

/** 32 bits length of name, name, 32 bits count, that many times 32 bits length and query. */
export function parseContextRequest(data: Uint8Array): ContextRequest | "too-big" | null {
  const fields = new FieldReader(data);
  const name = fields.string(fields.uint32());
  const count = fields.uint32();
  if (fields.failed || count * 4 > fields.left) return null;
  if (count > QUERIES_MAX) return "too-big";
  const queries: Uint8Array[] = [];
  for (let index = 0; index < count; index++) {
    queries.push(fields.string(fields.uint32()));
    if (fields.failed) return null;
  }
  return fields.left === 0 ? { name, queries } : null;
}
