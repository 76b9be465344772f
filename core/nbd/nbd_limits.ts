/**
 * Every bound of the NBD server, with its reason.
 *
 * @module
 */
import { assert } from "../assert.ts";
import {
  CHUNK_HEADER_BYTES,
  OPTION_HEADER_BYTES,
  REQUEST_HEADER_BYTES,
  STRING_BYTES_MAX,
} from "./constants.ts";

/** Clients at once, over all addresses. */
export const CONNECTIONS_MAX = 128;

/** Of these, clients that have not chosen an export: strangers must not take all places. */
export const HANDSHAKES_MAX = 64;

/** A client that has not chosen an export after this is cut off. */
export const HANDSHAKE_TIMEOUT_MS = 10_000;

/** Time that a stop gives clients to take the answers to what is in flight. */
export const DRAIN_TIMEOUT_MS = 5_000;

/** Options of one handshake: clients send about five, and one INFO for each export they list. */
export const OPTIONS_MAX = 1024;

/** Data of an option that is looked at; of a longer one it is skipped and TOO_BIG answered. */
export const OPTION_BYTES_MAX = 64 * 1024;

/** Data of an option that is skipped; a longer one is an attack, and the client is cut off. */
export const OPTION_SKIP_BYTES_MAX = 16 * 1024 * 1024;

/** Queries of one option for metadata contexts: there is one context to ask for. */
export const QUERIES_MAX = 1024;

/** Advertised: payload of one READ or WRITE. */
export const PAYLOAD_BYTES_MAX = 64 * 1024 * 1024;

/** Advertised: the smallest request, and the size that works without read-modify-write. */
export const BLOCK_BYTES_MIN = 1;
export const BLOCK_BYTES_PREFERRED = 4096;

/** A larger WRITE is given to the back end, and a larger READ asked of it, in pieces of this. */
export const PIECE_BYTES_MAX = 1024 * 1024;

/** A connection's own receive buffer when it has grown: many small requests at a time. */
export const RECEIVE_BYTES = 256 * 1024;

/** Each of a connection's two own reply buffers when grown: sixteen READs of 4 KiB and more. */
export const REPLY_BYTES = 128 * 1024;

/** Own buffers as they begin: what an idle client costs. They grow with what it sends and asks for. */
export const OWN_BYTES_FIRST = 4 * 1024;

/** By which own buffers grow: from the first size to the last in three steps. */
export const OWN_BYTES_FACTOR = 4;

/**
 * A buffer that is lent to a connection for a large request: a piece, the next header and some of
 * what follows it.
 */
export const LARGE_BUFFER_BYTES = PIECE_BYTES_MAX + 64 * 1024;

/** Large buffers of a server. Without one a connection works in smaller pieces, in its own. */
export const LARGE_BUFFERS_MAX = 24;

/** Requests of one connection that wait for an acknowledgement, and as many that wait for a flush. */
export const WAITING_MAX = 4096;

/** Room for any reply but READ and BLOCK_STATUS. */
export const SMALL_REPLY_BYTES_MAX = 256;

/** Extents in one answer to BLOCK_STATUS; the client asks again from where it ends. */
export const EXTENTS_MAX = 4096;

/** What is first looked at for BLOCK_STATUS: bounds the work where data and holes alternate. */
export const STATUS_WINDOW_BYTES = 16 * 1024 * 1024;

/** Ranges in a window below which the next one is larger by the factor. */
export const STATUS_WINDOW_RANGES = 64;
export const STATUS_WINDOW_FACTOR = 8;

assert(OPTION_HEADER_BYTES + OPTION_BYTES_MAX <= RECEIVE_BYTES, "an option fits the buffer");
assert(OPTION_BYTES_MAX > 2 * STRING_BYTES_MAX, "a name and a query of full length fit an option");
assert(PIECE_BYTES_MAX + REQUEST_HEADER_BYTES < LARGE_BUFFER_BYTES, "a piece and a header fit");
assert(SMALL_REPLY_BYTES_MAX <= OWN_BYTES_FIRST, "a small reply fits the first buffer");
assert(CHUNK_HEADER_BYTES + 4 + 8 * EXTENTS_MAX <= REPLY_BYTES, "all extents fit a reply");
