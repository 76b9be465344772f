/**
 * Writes the golden files of the link's frames that are not there yet:
 *
 *     deno run -A tests/golden/make_frames.ts
 *
 * A file that is there is never written again: it is what peers of that version send.
 *
 * @module
 */
import { GOLDEN_FRAMES } from "./frames_list.ts";

const folder = new URL("./frames/", import.meta.url);
await Deno.mkdir(folder, { recursive: true });
for (const { name, make } of GOLDEN_FRAMES) {
  try {
    await Deno.writeFile(new URL(name, folder), make(), { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}
