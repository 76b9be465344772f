/**
 * Tells of certificates that end soon: from a month ahead, each once a day.
 *
 * @module
 */
import type { Journal } from "../core/ports.ts";
import type { CertificateStatus } from "../core/status.ts";

const DAY_MS = 86_400_000;
/** So long before its end a certificate is spoken of. */
export const SOON_MS = 30 * DAY_MS;
/** So long before it, somebody has to look. */
export const LATE_MS = 7 * DAY_MS;

/** How long a certificate is good for, at a time. */
export type EndState = "good" | "soon" | "late" | "ended" | "early";

/** See {@linkcode EndState}. */
export function endState(
  { notBeforeMs, notAfterMs }: Pick<CertificateStatus, "notBeforeMs" | "notAfterMs">,
  nowMs: number,
): EndState {
  if (nowMs >= notAfterMs) return "ended";
  if (nowMs < notBeforeMs) return "early";
  const leftMs = notAfterMs - nowMs;
  return leftMs <= LATE_MS ? "late" : leftMs <= SOON_MS ? "soon" : "good";
}

const WHOSE: Record<CertificateStatus["kind"], string> = {
  "node": "its certificate",
  "ca": "the certificate of its CA",
  "nbd": "its certificate for NBD clients",
  "nbd-ca": "the certificate of the CA of its NBD clients",
};

/** What is to be said of it, and done; null: nothing. */
export function endText(
  certificate: Pick<CertificateStatus, "kind" | "notBeforeMs" | "notAfterMs">,
  nowMs: number,
): string | null {
  const { kind, notBeforeMs, notAfterMs } = certificate;
  const whose = WHOSE[kind];
  const day = (ms: number) => new Date(ms).toISOString().slice(0, 10);
  switch (endState(certificate, nowMs)) {
    case "good":
      return null;
    case "early":
      return `${whose} is good from ${
        new Date(notBeforeMs).toISOString()
      } on only: is the clock right?`;
    case "ended":
      return `${whose} ended on ${day(notAfterMs)}, and no peer takes it: cascade certs renew`;
    case "soon":
    case "late": {
      const days = Math.floor((notAfterMs - nowMs) / DAY_MS);
      const left = days === 0 ? "today" : days === 1 ? "in 1 day" : `in ${days} days`;
      return `${whose} ends ${left}, on ${day(notAfterMs)}: cascade certs renew`;
    }
  }
}

/** See the module's text. */
export class CertificateEnds {
  readonly #journal: Journal;
  /** When each was spoken of, by its fingerprint. */
  readonly #toldMs = new Map<string, number>();

  constructor(journal: Journal) {
    this.#journal = journal;
  }

  look(certificates: readonly CertificateStatus[], nowMs: number): void {
    for (const certificate of certificates) {
      const { kind, notAfterMs, fingerprint } = certificate;
      const text = endText(certificate, nowMs);
      const toldMs = this.#toldMs.get(fingerprint);
      // A clock that was set back does not make it silent for long.
      const isTold = toldMs !== undefined && Math.abs(nowMs - toldMs) < DAY_MS;
      if (text === null || isTold) continue;
      this.#toldMs.set(fingerprint, nowMs);
      const isEnded = endState(certificate, nowMs) === "ended";
      const message = isEnded ? "a certificate has ended" : "a certificate ends soon";
      this.#journal.write(isEnded ? "error" : "warn", message, {
        certificate: kind,
        notAfter: new Date(notAfterMs).toISOString(),
        days: Math.floor((notAfterMs - nowMs) / DAY_MS),
        do: "cascade certs renew",
      });
    }
  }
}
