/**
 * The headers of a request for a change; apart, so that whoever asks loads nothing of what answers.
 *
 * @module
 */

/** The header that a request must bear to change anything. */
export const CONTROL_HEADER = "cascade-control";
/** Names the node that is meant, if the request should reach no other. */
export const NODE_HEADER = "cascade-node";
