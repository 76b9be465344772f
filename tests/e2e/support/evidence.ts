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

/** What every mark begins with: bytes that occur nowhere else. */
const MAGIC = Buffer.from("a mark of a test\u0007");

/** A block of 4 KiB that begins with a mark: the magic and a number. */
export function markedBlock(number: number): Uint8Array {
  const block = new Uint8Array(4096).fill(number & 0xff);
  block.set(MAGIC);
  new DataView(block.buffer).setUint32(MAGIC.length, number);
  return block;
}

/** All files below a folder. */
export function filesIn(folder: string): string[] {
  return [...Deno.readDirSync(folder)].flatMap((entry) => {
    const path = `${folder}/${entry.name}`;
    return entry.isDirectory ? filesIn(path) : [path];
  });
}

/** The marks in the files of a folder, by number: the first place of each. */
export function findMarks(folder: string): Map<number, Place> {
  const found = new Map<number, Place>();
  for (const path of filesIn(folder)) {
    const bytes = Buffer.from(Deno.readFileSync(path).buffer);
    for (let at = bytes.indexOf(MAGIC); at >= 0; at = bytes.indexOf(MAGIC, at + 1)) {
      const number = bytes.readUInt32BE(at + MAGIC.length);
      if (!found.has(number)) found.set(number, { path, offset: at });
    }
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
