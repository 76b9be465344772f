/**
 * How fast a link may send at a certain time: one rate, or rates by the hours of the day.
 *
 * @module
 */
import type { Bandwidth } from "../config.ts";
import { isWithin } from "./schedule.ts";

const MINUTE_MS = 60_000;

/** The rate that holds at `nowMs`, in bytes a second; null: as fast as it goes. */
export function rateAt(bandwidth: Bandwidth | null, nowMs: number): number | null {
  if (bandwidth === null) return null;
  const { windows, timezone, otherwise } = bandwidth;
  const found = windows.find(({ window }) => isWithin(window, timezone, nowMs));
  return found === undefined ? otherwise : found.rate;
}

/** The same, looked up once a minute: windows begin and end with one. */
export class RateOfDay {
  #bandwidth: Bandwidth | null;
  #minute = -1;
  #rate: number | null = null;

  constructor(bandwidth: Bandwidth | null) {
    this.#bandwidth = bandwidth;
  }

  set(bandwidth: Bandwidth | null): void {
    this.#bandwidth = bandwidth;
    this.#minute = -1;
  }

  at(nowMs: number): number | null {
    const minute = Math.floor(nowMs / MINUTE_MS);
    if (minute !== this.#minute) {
      this.#minute = minute;
      this.#rate = rateAt(this.#bandwidth, nowMs);
    }
    return this.#rate;
  }
}
