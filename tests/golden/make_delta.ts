/**
 * Writes the golden files of deltas that are not there yet:
 *
 *     deno run -A tests/golden/make_delta.ts
 *
 * A file that is there is never written again: it is what nodes of that version have on their disks.
 *
 * @module
 */
import { GOLDEN_DELTA } from "./delta_list.ts";

const folder = new URL("./delta/", import.meta.url);
await Deno.mkdir(folder, { recursive: true });
for (const { name, make } of GOLDEN_DELTA) {
  try {
    await Deno.writeFile(new URL(name, folder), await make(), { createNew: true });
  } catch (error) {
    if (!(error instanceof Deno.errors.AlreadyExists)) throw error;
  }
}
