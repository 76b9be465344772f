/**
 * What a link makes of the line to its peer: how fast it may send, what it compresses, how much is on
 * its way. The settings can change while it runs.
 *
 * @module
 */
import type { CompressSetting, LinkConfig } from "../config.ts";
import type { Bytes, Clock, Ports } from "../ports.ts";
import type { LineStatus } from "../status.ts";
import { RateOfDay } from "./bandwidth.ts";
import { Flight } from "./flight.ts";
import { Pacer } from "./pacer.ts";
import { LEVEL_DEFAULT, Packer } from "./packing.ts";

/** What of a link can be changed while it runs. */
export type LineSettings = Pick<LinkConfig, "bandwidth" | "compress">;

/** A limit that an operator set: it holds in place of the topology's. `rate` null: no limit. */
export interface LimitOverride {
  readonly rate: number | null;
}

/** See the module's text. One for each link to a node below; connections come and go. */
export class Line {
  readonly pacer = new Pacer();
  readonly #clock: Clock;
  readonly #packer: Packer;
  readonly #rates: RateOfDay;
  #compress: CompressSetting;
  #override: LimitOverride | null = null;
  #flight: Flight;
  #throttledMs = 0;

  /** `override`: what an operator had set before. */
  constructor(
    { clock, compress }: Pick<Ports, "clock" | "compress">,
    settings: LineSettings,
    override: LimitOverride | null = null,
  ) {
    this.#clock = clock;
    this.#packer = new Packer(compress ?? null);
    this.#rates = new RateOfDay(settings.bandwidth);
    this.#compress = settings.compress;
    this.#override = override;
    this.#flight = this.#newFlight();
    this.look();
  }

  #newFlight(): Flight {
    return new Flight(this.#clock, () => this.#recordsRate());
  }

  /** Of the present connection. */
  get flight(): Flight {
    return this.#flight;
  }

  /** A connection begins: nothing is known of its way. */
  begin(): Flight {
    this.#flight = this.#newFlight();
    return this.#flight;
  }

  /** Whether frames have to go through {@linkcode pack} and the pacer. Hot path. */
  get isPlain(): boolean {
    return this.pacer.rate === null && this.#level === null;
  }

  /** The level to compress with now; null: not at all. */
  get #level(): number | null {
    if (this.#compress === "auto") return this.pacer.rate === null ? null : LEVEL_DEFAULT;
    return this.#compress === "none" ? null : this.#compress.zstd;
  }

  /** Bytes of records a second that go through at the limit; null: there is none. */
  #recordsRate(): number | null {
    return this.pacer.rate === null ? null : this.pacer.rate * this.#ratio();
  }

  /** How much smaller records became so far. */
  #ratio(): number {
    const { rawBytes, packedBytes } = this.#packer;
    return this.#level === null || packedBytes === 0 ? 1 : rawBytes / packedBytes;
  }

  /** Time passes: a window of the day may have begun. */
  look(): void {
    const ofTopology = this.#rates.at(this.#clock.nowMs());
    this.pacer.rate = this.#override === null ? ofTopology : this.#override.rate;
  }

  /** The topology changed. A limit that an operator set stays. */
  tune({ bandwidth, compress }: LineSettings): void {
    this.#rates.set(bandwidth);
    this.#compress = compress;
    this.look();
  }

  /** An operator sets a limit, or (null) lets the topology's hold again. */
  override(limit: LimitOverride | null): void {
    this.#override = limit;
    this.look();
  }

  /** A whole frame as it goes over the line; see {@linkcode Packer.pack}. */
  pack(frame: Bytes): Promise<Bytes> {
    return this.#packer.pack(frame, this.#level);
  }

  /** The same, when {@linkcode isPlain}: it goes as it is. */
  plain(frame: Bytes): void {
    this.#packer.plain(frame);
  }

  /** What could be sent had to wait for its time. */
  throttled(ms: number): void {
    this.#throttledMs += ms;
  }

  status(connected: boolean): LineStatus {
    const { rawBytes, packedBytes, isShrinking } = this.#packer;
    const level = this.#level;
    return {
      limit: this.pacer.rate,
      limitedBy: this.#override !== null
        ? "operator"
        : this.pacer.rate === null
        ? null
        : "topology",
      compress: level === null ? "none" : "zstd",
      level,
      shrinks: level !== null && isShrinking,
      rawBytes,
      wireBytes: packedBytes,
      throttledMs: Math.round(this.#throttledMs),
      roundTripMs: connected ? rounded(this.#flight.roundTripMs) : null,
      latencyMs: connected ? rounded(this.#flight.latencyMs) : null,
      windowBytes: connected ? this.#flight.windowBytes : null,
      inFlightBytes: connected ? this.#flight.inFlightBytes : null,
    };
  }
}

function rounded(ms: number | null): number | null {
  return ms === null ? null : Math.round(ms * 100) / 100;
}
