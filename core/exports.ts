/**
 * The exports of a node: its volumes for writing where it reigns, else their applied images.
 *
 * @module
 */
import type { NodeConfig } from "./config.ts";
import { CascadeError } from "./errors.ts";
import { type NodeFront, WritableExport } from "./front.ts";
import type { ExportBackend } from "./nbd/backend.ts";
import type { NodeDeltas } from "./node_deltas.ts";
import type { Pipeline } from "./pipeline.ts";
import type { DataRange } from "./ports.ts";
import type { Volume } from "./volume/volume.ts";

/** A node, as its exports see it. */
export interface Exporting {
  readonly config: NodeConfig;
  readonly pipeline: Pipeline;
  readonly front: NodeFront;
  readonly deltas: NodeDeltas;
}

/** One export a volume. */
export function makeExports(node: Exporting, volumes: readonly Volume[]): ExportBackend[] {
  const { config, pipeline, front } = node;
  const description = `${config.cluster}/${config.name}`;
  return volumes.map((volume, number) =>
    pipeline.reigns
      ? new WritableExport(front, volume, number, description)
      : new AppliedExport(node, volume, description)
  );
}

/** The applied image of a volume below the primary, read-only. */
export class AppliedExport implements ExportBackend {
  readonly readOnly = true;
  readonly refusal = null;
  readonly description: string;
  readonly front: NodeFront;
  readonly #node: Exporting;
  readonly #volume: Volume;

  constructor(node: Exporting, volume: Volume, description: string) {
    this.#node = node;
    this.front = node.front;
    this.#volume = volume;
    this.description = description;
  }

  get name(): string {
    return this.#volume.name;
  }

  get sizeBytes(): number {
    return this.#volume.sizeBytes;
  }

  read(into: Uint8Array, offset: number): void {
    this.#checkWhole();
    const { counters } = this.front;
    counters.reads++;
    counters.readBytes += into.length;
    this.#volume.readApplied(into, offset);
  }

  /** Nobody is shown an image that never existed. */
  #checkWhole(): void {
    const { pipeline, deltas } = this.#node;
    if (pipeline.wholeImage() && !deltas.isInPlace) return;
    throw new CascadeError("refused", "the volumes are no image that existed just now", {
      hint: "A delta is being applied: read again when `cascade status` shows that it is",
      retryable: true,
    });
  }

  write(): number {
    throw new CascadeError("not-primary", "this node serves its volumes read-only");
  }

  zero(): number {
    return this.write();
  }

  trim(): number {
    return this.write();
  }

  dataRanges(offset: number, length: number, rangesMax: number): DataRange[] {
    return this.#volume.dataRanges(offset, length, rangesMax);
  }
}
