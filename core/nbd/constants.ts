/**
 * The numbers of the NBD protocol, under the names that its text gives them (doc/proto.md of
 * NetworkBlockDevice/nbd) without the `NBD_` in front. All fields are big-endian.
 *
 *     handshake    server: INIT_MAGIC, OPTION_MAGIC, 16 bits of flags; client: 32 bits of flags
 *     option       OPTION_MAGIC, 32 bits option, 32 bits length, data
 *     its replies  64 bits REPLY_MAGIC, 32 bits option, 32 bits type, 32 bits length, data
 *     request      32 bits REQUEST_MAGIC, 16 flags, 16 type, 64 handle, 64 offset, 32 length
 *     simple reply 32 bits SIMPLE_REPLY_MAGIC, 32 error, 64 handle, data of a READ
 *     chunk        32 bits CHUNK_MAGIC, 16 flags, 16 type, 64 handle, 32 length, payload
 *
 * @module
 */

/** ASCII `NBDMAGIC`, in halves of 32 bits. */
export const INIT_MAGIC_HIGH = 0x4e42444d;
export const INIT_MAGIC_LOW = 0x41474943;

/** ASCII `IHAVEOPT`. */
export const OPTION_MAGIC_HIGH = 0x49484156;
export const OPTION_MAGIC_LOW = 0x454f5054;

export const OPTION_REPLY_MAGIC_HIGH = 0x0003e889;
export const OPTION_REPLY_MAGIC_LOW = 0x045565a9;

export const REQUEST_MAGIC = 0x25609513;
export const SIMPLE_REPLY_MAGIC = 0x67446698;
export const CHUNK_MAGIC = 0x668e33ef;

/** magic (8), option (4), length (4). */
export const OPTION_HEADER_BYTES = 16;
/** magic (8), option (4), type (4), length (4). */
export const OPTION_REPLY_HEADER_BYTES = 20;
/** magic (4), flags (2), type (2), handle (8), offset (8), length (4). */
export const REQUEST_HEADER_BYTES = 28;
/** magic (4), error (4), handle (8). */
export const SIMPLE_REPLY_BYTES = 16;
/** magic (4), flags (2), type (2), handle (8), length (4). */
export const CHUNK_HEADER_BYTES = 20;
/** Zeroes after the answer to EXPORT_NAME, unless NO_ZEROES was agreed. */
export const EXPORT_NAME_ZEROES_BYTES = 124;

/** Of the server and, with the same values, of the client. */
export const HandshakeFlag = { FIXED_NEWSTYLE: 1 << 0, NO_ZEROES: 1 << 1 } as const;

export const TransmissionFlag = {
  HAS_FLAGS: 1 << 0,
  READ_ONLY: 1 << 1,
  SEND_FLUSH: 1 << 2,
  SEND_FUA: 1 << 3,
  SEND_TRIM: 1 << 5,
  SEND_WRITE_ZEROES: 1 << 6,
  SEND_DF: 1 << 7,
  CAN_MULTI_CONN: 1 << 8,
  SEND_CACHE: 1 << 10,
  SEND_FAST_ZERO: 1 << 11,
} as const;

export const Option = {
  EXPORT_NAME: 1,
  ABORT: 2,
  LIST: 3,
  STARTTLS: 5,
  INFO: 6,
  GO: 7,
  STRUCTURED_REPLY: 8,
  LIST_META_CONTEXT: 9,
  SET_META_CONTEXT: 10,
} as const;

export const OptionReply = {
  ACK: 1,
  SERVER: 2,
  INFO: 3,
  META_CONTEXT: 4,
  ERR_UNSUP: 0x80000001,
  ERR_INVALID: 0x80000003,
  ERR_TLS_REQD: 0x80000005,
  ERR_UNKNOWN: 0x80000006,
  ERR_SHUTDOWN: 0x80000007,
  ERR_TOO_BIG: 0x80000009,
} as const;

export const Info = { EXPORT: 0, NAME: 1, DESCRIPTION: 2, BLOCK_SIZE: 3 } as const;

export const Command = {
  READ: 0,
  WRITE: 1,
  DISC: 2,
  FLUSH: 3,
  TRIM: 4,
  CACHE: 5,
  WRITE_ZEROES: 6,
  BLOCK_STATUS: 7,
} as const;

export const CommandFlag = {
  FUA: 1 << 0,
  NO_HOLE: 1 << 1,
  DF: 1 << 2,
  REQ_ONE: 1 << 3,
  FAST_ZERO: 1 << 4,
} as const;

export const Chunk = {
  NONE: 0,
  OFFSET_DATA: 1,
  OFFSET_HOLE: 2,
  BLOCK_STATUS: 5,
  ERROR: 0x8001,
} as const;

/** On the last chunk of a reply. */
export const CHUNK_FLAG_DONE = 1 << 0;

export const ErrorNumber = {
  EPERM: 1,
  EIO: 5,
  EINVAL: 22,
  ENOSPC: 28,
  EOVERFLOW: 75,
  ESHUTDOWN: 108,
} as const;

/** The one metadata context that is served. */
export const ALLOCATION_CONTEXT = "base:allocation";
/** Asks LIST_META_CONTEXT for all of the namespace. */
export const BASE_WILDCARD = "base:";
/** The id under which SET_META_CONTEXT selects it. */
export const ALLOCATION_CONTEXT_ID = 1;

/** Flags of an extent of `base:allocation`. */
export const ExtentFlag = { HOLE: 1 << 0, ZERO: 1 << 1 } as const;

/** The text's bound on names, queries and messages. */
export const STRING_BYTES_MAX = 4096;
