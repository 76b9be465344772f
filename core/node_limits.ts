/**
 * Every bound of the pipeline, the front and the node, with its reason. Those of the log stand in
 * limits.ts, those of the link protocol in link/link_limits.ts.
 *
 * @module
 */

/** Appended in one write at the most: a record of the largest size, and small ones beside it. */
export const BATCH_BYTES_MAX = 1024 * 1024 + 256 * 1024;

/** Unflushed bytes at which the log is flushed although nobody waits. */
export const FLUSH_LAZY_BYTES = 4 * 1024 * 1024;

/** Time after which it is flushed although little came: bounds the lag of async links. */
export const FLUSH_DELAY_MS = 10;

/** Applied in one turn of the event loop: what a client's request may wait for. */
export const APPLY_SLICE_BYTES = 256 * 1024;

/** Less than a slice is applied after this: a few at once, and not while a client is being answered. */
export const APPLY_DELAY_MS = 10;

/** Zeroed in one go: punching a cached hole costs about 1 ms a MiB. */
export const APPLY_ZERO_BYTES = 8 * 1024 * 1024;

/** What is left of a delta is applied at once when somebody reads the image: some 100 ms. */
export const FINISH_BYTES_MAX = 64 * 1024 * 1024;

/** Past this, what is appended and not applied slows clients down. */
export const UNAPPLIED_BYTES_MAX = 256 * 1024 * 1024;

/** Extents in a volume's overlay: bounds its memory (about 32 bytes each). */
export const OVERLAY_EXTENTS_MAX = 128 * 1024;

/** A checkpoint is due when a quarter of the log budget, or this much, was applied since the last. */
export const CHECKPOINT_BYTES_MAX = 1024 * 1024 * 1024;

/** A checkpoint is due when anything was applied and this has passed. */
export const CHECKPOINT_INTERVAL_MS = 30_000;

/** A full disk is tried again after this. */
export const DISK_FULL_RETRY_MS = 1_000;

/** A one-shot sync gives a peer up that is not connected for this long: several redials. */
export const SYNC_CONNECT_MS = 10_000;

/** A verification that could not be done is tried again after this. */
export const VERIFY_RETRY_MS = 60_000;

/** How often a node looks at its clock: deadlines, heartbeats, states. */
export const TICK_INTERVAL_MS = 100;

/**
 * How long a primary that crashed waits at least for its sync peers: one redial, after the longest
 * pause, and a handshake.
 */
export const RECOVERY_WAIT_MS_MIN = 3_000;

/** How long a node that stops gives its peers to take the last records. */
export const DRAIN_TIMEOUT_MS = 5_000;

/** How often, and how many times, a node that turns looks whether its last answers are written, ms. */
export const ANSWER_TURN_MS = 10;
export const ANSWER_TURNS = 100;
