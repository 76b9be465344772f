/**
 * Every bound of the link protocol, with its reason.
 *
 * @module
 */

/** Version of the protocol: the frames, the messages and the order in which they are said. */
export const PROTOCOL_VERSION = 2;

/** Hellos and positions fit many times over; an unproved peer can make us hold no more than this. */
export const CONTROL_BODY_BYTES_MAX = 64 * 1024;

/** Records of a DATA frame: room for one record of the largest size and small ones beside it. */
export const DATA_RECORDS_BYTES_MAX = 1024 * 1024 + 64 * 1024;

/** A DATA frame's body: its tide and its records. */
export const DATA_BODY_BYTES_MAX = DATA_RECORDS_BYTES_MAX + 64;

/**
 * Sent and not yet acknowledged as received: follows the rate and the round trip (flight.ts) between these.
 * The least keeps a line full that is near, the most one of 1 GB/s around the world halfway.
 */
export const WINDOW_BYTES_MIN = 512 * 1024;
export const WINDOW_BYTES_MAX = 128 * 1024 * 1024;

/** The same, before anything is known of the line. */
export const WINDOW_BYTES_FIRST = 4 * 1024 * 1024;

/** What a peer may take to acknowledge, beside the round trip: it gathers, and has a disk. */
export const ACK_DELAY_MS = 30;

/** A frame of a slow line takes about so long: a heartbeat waits for no more. */
export const FRAME_MS = 100;

/** Records of a frame, at the least: what is less costs more than it spares. With a limit, a slow line is meant. */
export const FRAME_BYTES_MIN = 256 * 1024;
export const FRAME_BYTES_LIMITED_MIN = 16 * 1024;

/** Frames of deltas that wait to be written: more would only keep other frames waiting. */
export const DELTA_FRAMES_QUEUED_MAX = 2;

/** A link that has caught up is "catching-up" again when it lags by this. */
export const BEHIND_BYTES = 32 * 1024 * 1024;

/**
 * What nobody waits for, records on an `async` link and acks of them, is gathered for this long:
 * one frame for what many small flushes made stable.
 */
export const GATHER_MS = 10;

/** As much as this is sent at once, whether somebody waits for it or not. */
export const GATHER_BYTES = 256 * 1024;

/** A peer that has not proved itself after this is cut off. */
export const HANDSHAKE_TIMEOUT_MS = 5_000;

/** The same where a command carries the link: it may have to log in somewhere first. */
export const EXEC_HANDSHAKE_TIMEOUT_MS = 30_000;

/** Both ends say something at least this often. */
export const HEARTBEAT_INTERVAL_MS = 1_000;

/** Silence after which a connection counts as half-open and is closed. */
export const SILENCE_MAX_MS = 5_000;

/** A delta that the peer has no room for, or that it refused for another reason, is tried again after this. */
export const DELTA_RETRY_MS = 10_000;

/** A periodic run that failed is tried again after this, and twice as long each time up to the bound. */
export const RUN_RETRY_MS = 1_000;
export const RUN_RETRY_MAX_MS = 60_000;

/** An operator's reason for a pause: a line in the status. */
export const REASON_LENGTH_MAX = 200;

/** Redial: first wait, growth and bound; each wait is drawn from half to the whole of it. */
export const REDIAL_FIRST_MS = 100;
export const REDIAL_FACTOR = 2;
export const REDIAL_MAX_MS = 2_000;

/**
 * While a link runs over a fallback, its preferred address is tried after this, and after twice as long each time
 * up to the bound: a change over is one reconnect, and a line that comes and goes is not to cause many.
 */
export const PREFERRED_RETRY_MS = 60_000;
export const PREFERRED_RETRY_MAX_MS = 30 * 60_000;

/** Wait after a refusal that a retry cannot mend by itself. */
export const REDIAL_REFUSED_MS = 10_000;

/** A peer joins as sync only when its group (its own sync peers too) is no further behind. */
export const JOIN_WITHIN_BYTES = 1024 * 1024;

/** Links that a node tells of upward; those beyond are left out of the status above it. */
export const SUBTREE_LINKS_MAX = 100;

/** Positions of the nodes below go up at most this often. */
export const SUBTREE_INTERVAL_MS = 200;

/** Connections that have not yet proved who they are. */
export const UNPROVED_CONNECTIONS_MAX = 64;
