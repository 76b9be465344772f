/**
 * The volumes as of an LSN between what is applied and the end of the stable log: the files, and over them what
 * the log holds from there to that LSN. Nothing is written. It stays right while the node goes on applying up to
 * that LSN, and no further: what was applied is the same as what the overlay says, or has become the file's.
 *
 * @module
 */
import { CascadeError } from "../errors.ts";
import type { ExportBackend, Front } from "../nbd/backend.ts";
import type { Pipeline } from "../pipeline.ts";
import type { Clock, DataRange } from "../ports.ts";
import { overlayLog } from "../volume/log_overlay.ts";
import type { Volume } from "../volume/volume.ts";

/** Extents of a volume of one view: some 64 MiB of memory. */
const VIEW_EXTENTS_MAX = 2 * 1024 * 1024;

/** See the module's text. */
export class ImageView {
  readonly lsn: number;
  readonly volumes: readonly Volume[];
  readonly #pipeline: Pipeline;
  readonly #spoilt: () => string | null;
  #ended: string | null = null;

  /** `spoilt` tells why the files are not what they should be any more, if so. */
  constructor(pipeline: Pipeline, lsn: number, spoilt: () => string | null) {
    this.#spoilt = spoilt;
    this.#pipeline = pipeline;
    this.lsn = lsn;
    this.volumes = pipeline.volumes.map((volume) => volume.view());
  }

  /** Why it shows nothing any more, or null. */
  get ended(): string | null {
    return this.#ended;
  }

  /** It shows nothing any more. */
  end(why: string): void {
    this.#ended ??= why;
  }

  /** Reads the log. Nothing may be applied past its LSN from before this is called. Throws `refused`. */
  async build(clock: Clock): Promise<void> {
    const { log, appliedLsn } = this.#pipeline;
    const { end, lsn } = await overlayLog(
      {
        log,
        volumes: this.volumes,
        appliedLsn: () => this.#pipeline.appliedLsn,
        clock,
        extentsMax: VIEW_EXTENTS_MAX,
        wanted: () => this.#ended === null,
      },
      appliedLsn,
      this.lsn,
    );
    if (this.#ended !== null) throw new CascadeError("refused", this.#ended);
    if (end === "delta") throw inDelta(lsn);
    if (end === "too-many") throw tooMany();
  }

  /** To be called before the volumes are read: what was applied is in the files. */
  settle(): void {
    this.#ended ??= this.#spoilt();
    if (this.#ended !== null) throw new CascadeError("refused", this.#ended);
    for (const volume of this.volumes) volume.prune(this.#pipeline.appliedLsn);
  }
}

function tooMany(): CascadeError {
  return new CascadeError(
    "refused",
    "too many writes lie between the image and what is asked for",
    { hint: "Ask for an earlier LSN, or wait until more of it is applied" },
  );
}

function inDelta(lsn: number): CascadeError {
  return new CascadeError("refused", `what follows LSN ${lsn} came as a delta, not as a history`, {
    hint: "Within a delta there is no image: ask for an LSN before it, or wait until it is applied",
    retryable: true,
  });
}

/** One volume of a view, read-only. */
export class ViewExport implements ExportBackend {
  readonly readOnly = true;
  readonly refusal = null;
  readonly front: Front;
  readonly description: string;
  readonly #view: ImageView;
  readonly #volume: Volume;

  constructor(view: ImageView, volume: Volume, front: Front, description: string) {
    this.#view = view;
    this.#volume = volume;
    this.front = front;
    this.description = description;
  }

  get name(): string {
    return this.#volume.name;
  }

  get sizeBytes(): number {
    return this.#volume.sizeBytes;
  }

  read(into: Uint8Array, offset: number): void {
    this.#view.settle();
    this.#volume.read(into, offset);
  }

  write(): number {
    throw new CascadeError("not-primary", "an image of the past is read-only");
  }

  zero(): number {
    return this.write();
  }

  trim(): number {
    return this.write();
  }

  dataRanges(offset: number, length: number, rangesMax: number): DataRange[] {
    this.#view.settle();
    return this.#volume.dataRanges(offset, length, rangesMax);
  }
}
