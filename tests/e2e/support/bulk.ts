/**
 * Much data on a volume, quickly: bytes that neither repeat nor compress, from a seed.
 *
 * @module
 */
import { NbdClient } from "./nbd_client.ts";

const MIB = 1024 * 1024;
/** Requests under way. */
const DEPTH = 8;

/** Writes `mebibytes` of fresh data from `offset` on, and flushes. */
export async function writeBulk(
  socket: string,
  volume: string,
  offset: number,
  mebibytes: number,
): Promise<void> {
  const client = await NbdClient.connect(socket, volume);
  const noise = crypto.getRandomValues(new Uint32Array(16 * 1024));
  let written = 0;
  const writer = async () => {
    while (written < mebibytes) {
      const at = offset + written++ * MIB;
      await client.write(at, fresh(noise, at));
    }
  };
  try {
    await Promise.all(Array.from({ length: DEPTH }, writer));
    await client.flush();
  } finally {
    client.close();
  }
}

/** 1 MiB: the noise over and over, turned a little differently each time. */
function fresh(noise: Uint32Array, salt: number): Uint8Array {
  const words = new Uint32Array(MIB / 4);
  for (let at = 0; at < words.length; at += noise.length) {
    words.set(noise, at);
    words[at] = salt + at;
    words[at + 1024] = ~salt;
  }
  return new Uint8Array(words.buffer);
}
