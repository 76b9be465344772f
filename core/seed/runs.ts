/**
 * Looking at bytes: which grains are zero, which differ.
 *
 * @module
 */
import { Buffer } from "node:buffer";
import type { Bytes } from "../ports.ts";

const ZEROES = new Uint8Array(64 * 1024);

/** Neighbouring grains of one kind, offsets within what was looked at. */
export interface Run {
  readonly start: number;
  readonly end: number;
  /** What the look was for: zero, or different. */
  readonly yes: boolean;
}

/** Whether all bytes are zero. Most that are not say so with their first or last byte. */
export function isZero(bytes: Bytes): boolean {
  if (bytes.length === 0) return true;
  if (bytes[0] !== 0 || bytes[bytes.length - 1] !== 0) return false;
  for (let at = 0; at < bytes.length; at += ZEROES.length) {
    const piece = bytes.subarray(at, at + ZEROES.length);
    if (Buffer.compare(piece, ZEROES.subarray(0, piece.length)) !== 0) return false;
  }
  return true;
}

/** The runs of zero and other grains. */
export function zeroRuns(bytes: Bytes, grainBytes: number): Run[] {
  return runs(bytes.length, grainBytes, (start, end) =>
    // Without a call or a view for the most frequent case.
    bytes[start] === 0 && bytes[end - 1] === 0 && isZero(bytes.subarray(start, end)));
}

/** The runs of different and equal grains of two pieces of one length. */
export function differentRuns(left: Bytes, right: Bytes, grainBytes: number): Run[] {
  if (Buffer.compare(left, right) === 0) return [{ start: 0, end: left.length, yes: false }];
  return runs(
    left.length,
    grainBytes,
    (start, end) => Buffer.compare(left.subarray(start, end), right.subarray(start, end)) !== 0,
  );
}

function runs(length: number, grain: number, look: (start: number, end: number) => boolean): Run[] {
  const found: Run[] = [];
  let start = 0;
  let yes = false;
  for (let at = 0; at < length; at += grain) {
    const is = look(at, Math.min(at + grain, length));
    if (at > 0 && is !== yes) {
      found.push({ start, end: at, yes });
      start = at;
    }
    yes = is;
  }
  if (length > start) found.push({ start, end: length, yes });
  return found;
}
