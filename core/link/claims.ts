/**
 * What a peer below can know: nobody has more of this log than was sent, and what the peer came with.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";

/** See the module's text. One for each link; connections come and go. */
export class PeerClaims {
  #endLsn = 0;
  #sentLsn: () => number = () => 0;

  /** A connection begins: where the peer's log ends, and what it was sent. */
  begin(endLsn: number, sentLsn: () => number): void {
    this.#endLsn = endLsn;
    this.#sentLsn = sentLsn;
  }

  /** The peer `says` something of `lsn`. Throws `protocol` when it cannot. */
  check(says: string, lsn: number): void {
    const sentLsn = Math.max(this.#endLsn, this.#sentLsn());
    if (lsn <= sentLsn) return;
    const message = `the peer ${says} LSN ${lsn}, and was sent nothing beyond LSN ${sentLsn}`;
    throw new CascadeError("protocol", message, { retryable: true });
  }
}
