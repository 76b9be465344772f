/**
 * What a seed reads from and writes to: files, devices and NBD exports behind two small interfaces.
 *
 * Offsets, lengths and sizes are bytes. Errors are {@linkcode CascadeError}s.
 *
 * @module
 */
import type { Bytes } from "../ports.ts";

/** A run of a volume; `zero`: it is known to read as zeroes, without looking at its bytes. */
export interface Extent {
  readonly start: number;
  readonly end: number;
  readonly zero: boolean;
}

/** Something that can be read in any order, several reads at a time. */
export interface BlockSource {
  /** For messages: the path or URI. */
  readonly name: string;
  readonly sizeBytes: number;
  /** The largest read or write at a time. */
  readonly pieceBytesMax: number;
  /** Reads, writes and zeroed ranges begin and end at multiples of this, or at the end. */
  readonly grainBytes: number;
  /** How much may be in flight at a time before more brings nothing. */
  readonly depth: number;
  /** The runs of [offset, offset + length), in order and without gaps. */
  extents(offset: number, length: number): Promise<readonly Extent[]>;
  /** Fills `into` from `offset`. */
  read(into: Bytes, offset: number): Promise<void>;
  close(): Promise<void>;
}

/** Something that can be written as well. */
export interface BlockTarget extends BlockSource {
  /** Whether what was written outlives the death of this process before any flush. */
  readonly outlivesUs: boolean;
  write(bytes: Bytes, offset: number): Promise<void>;
  /** Makes a range read as zeroes, as a hole where that is possible. */
  zero(offset: number, length: number): Promise<void>;
  /** Brings all that was written to stable storage. Never called twice at a time. */
  flush(): Promise<void>;
}
