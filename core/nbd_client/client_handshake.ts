/**
 * The client's side of the NBD handshake: fixed newstyle, structured replies and `base:allocation`
 * where they are offered, then GO.
 *
 * Nothing that the server says is believed before it is checked: magics, lengths, numbers of replies.
 *
 * @module
 */
import { assert } from "../assert.ts";
import { CascadeError } from "../errors.ts";
import { VOLUME_BYTES_MAX } from "../limits.ts";
import {
  ALLOCATION_CONTEXT,
  HandshakeFlag,
  Info,
  INIT_MAGIC_HIGH,
  INIT_MAGIC_LOW,
  Option,
  OPTION_HEADER_BYTES,
  OPTION_MAGIC_HIGH,
  OPTION_MAGIC_LOW,
  OPTION_REPLY_HEADER_BYTES,
  OPTION_REPLY_MAGIC_HIGH,
  OPTION_REPLY_MAGIC_LOW,
  OptionReply,
  STRING_BYTES_MAX,
  TransmissionFlag,
} from "../nbd/constants.ts";
import type { Bytes, Connection } from "../ports.ts";
import type { ByteReader } from "./byte_reader.ts";

const NOTHING: Bytes = new Uint8Array(0);
const GREETING_BYTES = 18;
/** Data of one reply: names and messages are at most 4096 bytes. */
const REPLY_BYTES_MAX = 16 * 1024;
/** Replies to one option: GO sends a handful. */
const REPLIES_MAX = 64;
const ERROR_BIT = 0x8000_0000;
/** What is sent and taken at most when the server does not say. */
const PAYLOAD_BYTES_DEFAULT = 32 * 1024 * 1024;
const BLOCK_BYTES_MAX = 64 * 1024;

/** What both sides agreed on. Sizes are bytes. */
export interface Agreed {
  readonly sizeBytes: number;
  readonly readOnly: boolean;
  readonly canFlush: boolean;
  readonly canTrim: boolean;
  readonly canZero: boolean;
  readonly canMultiConn: boolean;
  readonly structured: boolean;
  /** The id of `base:allocation`, or null when it is not offered. */
  readonly allocationId: number | null;
  /** Offsets and lengths are multiples of this. */
  readonly blockBytesMin: number;
  /** Payload of one READ or WRITE. */
  readonly payloadBytesMax: number;
}

interface Reply {
  readonly type: number;
  readonly data: Uint8Array<ArrayBuffer>;
}

/**
 * Agrees on an export, once both ends have greeted each other. Throws `protocol`, `refused` or `connection-lost`.
 */
export async function agree(
  connection: Connection,
  reader: ByteReader,
  exportName: string,
): Promise<Agreed> {
  const name = new TextEncoder().encode(exportName);
  if (name.length > STRING_BYTES_MAX) throw protocol("the export's name is too long");
  const ask = async (option: number, data: Uint8Array) => {
    await connection.write(optionBytes(option, data));
    return await repliesTo(option, reader);
  };
  const structured = last(await ask(Option.STRUCTURED_REPLY, new Uint8Array(0))).type ===
    OptionReply.ACK;
  const allocationId = structured
    ? contextId(await ask(Option.SET_META_CONTEXT, contextQuery(name)))
    : null;
  return agreedOn(await ask(Option.GO, goData(name)), exportName, structured, allocationId);
}

/** Says hello. Throws `protocol` or `connection-lost`. */
export async function greet(connection: Connection, reader: ByteReader): Promise<void> {
  const greeting = await reader.head(GREETING_BYTES);
  if (
    greeting.getUint32(0) !== INIT_MAGIC_HIGH || greeting.getUint32(4) !== INIT_MAGIC_LOW ||
    greeting.getUint32(8) !== OPTION_MAGIC_HIGH || greeting.getUint32(12) !== OPTION_MAGIC_LOW
  ) throw protocol("no NBD server of the fixed newstyle answers there");
  const flags = greeting.getUint16(16);
  if ((flags & HandshakeFlag.FIXED_NEWSTYLE) === 0) {
    throw protocol("it does not speak fixed newstyle");
  }
  const own = new Uint8Array(4);
  own[3] = flags & (HandshakeFlag.FIXED_NEWSTYLE | HandshakeFlag.NO_ZEROES);
  await connection.write(own);
}

/**
 * Goes on over TLS, or not at all. What came in plain behind the answer was not said over TLS, whoever said it: that
 * ends it. Throws `refused`, `protocol` or `connection-lost`.
 */
export async function askForTls(connection: Connection, reader: ByteReader): Promise<Connection> {
  await connection.write(optionBytes(Option.STARTTLS, NOTHING));
  const answer = last(await repliesTo(Option.STARTTLS, reader));
  if (answer.type !== OptionReply.ACK) {
    throw new CascadeError("refused", "the NBD server has no TLS", {
      where: { peer: connection.remote },
      hint: "nbd:// goes on in plain, if that is what you want.",
    });
  }
  if (reader.unread > 0) throw protocol("it sent more in plain where TLS was to begin");
  assert(connection.startTls !== undefined, "it was dialled for TLS");
  return await connection.startTls(NOTHING);
}

function optionBytes(option: number, data: Uint8Array): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(OPTION_HEADER_BYTES + data.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, OPTION_MAGIC_HIGH);
  view.setUint32(4, OPTION_MAGIC_LOW);
  view.setUint32(8, option);
  view.setUint32(12, data.length);
  bytes.set(data, OPTION_HEADER_BYTES);
  return bytes;
}

/** Name; one query: `base:allocation`. */
function contextQuery(name: Uint8Array): Uint8Array {
  const query = new TextEncoder().encode(ALLOCATION_CONTEXT);
  const bytes = new Uint8Array(4 + name.length + 8 + query.length);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, name.length);
  bytes.set(name, 4);
  view.setUint32(4 + name.length, 1);
  view.setUint32(8 + name.length, query.length);
  bytes.set(query, 12 + name.length);
  return bytes;
}

/** Name; one wish: the block sizes. */
function goData(name: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + name.length + 4);
  const view = new DataView(bytes.buffer);
  view.setUint32(0, name.length);
  bytes.set(name, 4);
  view.setUint16(4 + name.length, 1);
  view.setUint16(6 + name.length, Info.BLOCK_SIZE);
  return bytes;
}

/** All replies to one option, up to the ACK or the error that ends them. */
async function repliesTo(option: number, reader: ByteReader): Promise<Reply[]> {
  const replies: Reply[] = [];
  while (replies.length < REPLIES_MAX) {
    const head = await reader.head(OPTION_REPLY_HEADER_BYTES);
    if (
      head.getUint32(0) !== OPTION_REPLY_MAGIC_HIGH || head.getUint32(4) !== OPTION_REPLY_MAGIC_LOW
    ) throw protocol("a reply to an option begins with a wrong number");
    if (head.getUint32(8) !== option) throw protocol("a reply to an option that was not asked");
    const type = head.getUint32(12);
    const length = head.getUint32(16);
    if (length > REPLY_BYTES_MAX) throw protocol(`a reply to an option has ${length} bytes`);
    const data = new Uint8Array(length);
    await reader.fill(data);
    replies.push({ type, data });
    if (type === OptionReply.ACK || type >= ERROR_BIT) return replies;
  }
  throw protocol("an option has too many replies");
}

function last(replies: readonly Reply[]): Reply {
  return replies[replies.length - 1]!;
}

function contextId(replies: readonly Reply[]): number | null {
  if (last(replies).type !== OptionReply.ACK) return null;
  const found = replies.find(({ type, data }) =>
    type === OptionReply.META_CONTEXT && data.length > 4 &&
    new TextDecoder().decode(data.subarray(4)) === ALLOCATION_CONTEXT
  );
  return found === undefined ? null : new DataView(found.data.buffer).getUint32(0);
}

function agreedOn(
  replies: readonly Reply[],
  exportName: string,
  structured: boolean,
  allocationId: number | null,
): Agreed {
  const end = last(replies);
  if (end.type !== OptionReply.ACK) throw refused(end, exportName);
  let size: number | null = null;
  let flags = 0;
  let blockBytesMin = 1;
  let payloadBytesMax = PAYLOAD_BYTES_DEFAULT;
  for (const { type, data } of replies) {
    if (type !== OptionReply.INFO || data.length < 2) continue;
    const view = new DataView(data.buffer);
    if (view.getUint16(0) === Info.EXPORT && data.length === 12) {
      size = Number(view.getBigUint64(2));
      flags = view.getUint16(10);
    } else if (view.getUint16(0) === Info.BLOCK_SIZE && data.length === 14) {
      blockBytesMin = view.getUint32(2);
      payloadBytesMax = Math.min(PAYLOAD_BYTES_DEFAULT, view.getUint32(10));
    }
  }
  if (size === null) throw protocol("it did not tell the export's size");
  if (size > VOLUME_BYTES_MAX) throw protocol(`it tells a size of ${size} bytes`);
  checkBlocks(blockBytesMin, payloadBytesMax);
  const has = (flag: number) => (flags & flag) !== 0;
  return {
    sizeBytes: size,
    readOnly: has(TransmissionFlag.READ_ONLY),
    canFlush: has(TransmissionFlag.SEND_FLUSH),
    canTrim: has(TransmissionFlag.SEND_TRIM),
    canZero: has(TransmissionFlag.SEND_WRITE_ZEROES),
    canMultiConn: has(TransmissionFlag.CAN_MULTI_CONN),
    structured,
    allocationId,
    blockBytesMin,
    payloadBytesMax,
  };
}

function checkBlocks(min: number, max: number): void {
  const isPower = min > 0 && (min & (min - 1)) === 0;
  if (isPower && min <= BLOCK_BYTES_MAX && max >= min) return;
  throw protocol(`it tells block sizes from ${min} to ${max} bytes`);
}

function refused({ type, data }: Reply, exportName: string): CascadeError {
  const said = printable(data);
  const reason = type === OptionReply.ERR_UNKNOWN
    ? "there is no such export"
    : `the server refused the export (reply 0x${type.toString(16)})`;
  if (type === OptionReply.ERR_TLS_REQD) {
    return new CascadeError("refused", "the NBD server speaks over TLS alone", {
      hint: "Write nbds://HOST/EXPORT?tls-certificates=FOLDER.",
    });
  }
  return new CascadeError("refused", reason + (said === "" ? "" : `: ${said}`), {
    where: { export: exportName === "" ? '""' : exportName },
    hint: "See what it serves with `nbdinfo --list`.",
  });
}

/** What a server says is shown on a terminal: nothing that could steer it. */
export function printable(data: Uint8Array): string {
  return new TextDecoder().decode(data.subarray(0, 200)).replace(/[^\x20-\x7e]+/g, " ").trim();
}

/** The server does not keep to the protocol. */
export function protocol(message: string): CascadeError {
  return new CascadeError("protocol", `the NBD server breaks the protocol: ${message}`);
}
