/**
 * Why a client is gone.
 *
 * @module
 */
import type { ErrorCode } from "../errors.ts";

/** Of which kind the reason is: the journal tells of each kind, however many there are of another. */
export type Parting = ErrorCode | "done" | "hung-up" | "crowded" | "no-tls";

/** Of one who is sent away. */
export const WITHOUT_TLS = "it did not ask for TLS, as it has to";
