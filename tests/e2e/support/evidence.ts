/**
 * Finding in a node's files the bytes that a client wrote: proof that does not ask the node.
 *
 * @module
 */
import { Buffer } from "node:buffer";

/** Where some bytes are. */
export interface Place {
  readonly path: string;
  readonly offset: number;
}

/** Bytes that occur nowhere else: 64 of them, from a number. */
export function mark(number: number): Uint8Array {
  const bytes = new Uint8Array(64);
  const view = new DataView(bytes.buffer);
  for (let at = 0; at < 64; at += 4) {
    view.setUint32(at, Math.imul(number + at * 7 + 1, 0x9e3779b1) >>> 0);
  }
  return bytes;
}

/** A block of 4 KiB that begins with a mark. */
export function markedBlock(number: number): Uint8Array {
  const block = new Uint8Array(4096).fill(number & 0xff);
  block.set(mark(number));
  return block;
}

/** All files below a folder. */
export function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory ? filesIn(path) : [path];
  });
}

/** The first place of each mark in the files of a folder; null where there is none. */
export function findMarks(folder: string, numbers: readonly number[]): (Place | null)[] {
  const found = numbers.map((): Place | null => null);
  for (const path of filesIn(folder)) {
    const bytes = Buffer.from(Deno.readFileSync(path).buffer);
    numbers.forEach((number, i) => {
      if (found[i] !== null) return;
      const offset = bytes.indexOf(mark(number));
      if (offset >= 0) found[i] = { path, offset };
    });
  }
  return found;
}

/** Flips one bit of a file. */
export function flipBit({ path, offset }: Place, bit = 3): void {
  using file = Deno.openSync(path, { read: true, write: true });
  const byte = new Uint8Array(1);
  file.seekSync(offset, Deno.SeekMode.Start);
  file.readSync(byte);
  byte[0] = byte[0]! ^ (1 << bit);
  file.seekSync(offset, Deno.SeekMode.Start);
  file.writeSync(byte);
}
