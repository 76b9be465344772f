import { assertEquals, assertMatch } from "@std/assert";
import {
  checkBody,
  openSeedFile,
  partialPath,
  SeedFileWriter,
} from "../../../core/delta/seed_file.ts";
import { isCascadeError } from "../../../core/errors.ts";
import { PAGE_BYTES } from "../../../core/limits.ts";
import { goldenDelta, goldenSeed } from "../../golden/delta_list.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";
import { assertCode, must } from "../../support/small.ts";
import { quickClock } from "./made_up_log.ts";

const PATH = "/media/payroll.seed";
const CHECK = { clock: quickClock, stopped: () => false, onDone() {} };

function diskWith(bytes: Uint8Array): MemoryDisk {
  const disk = new MemoryDisk();
  disk.place(PATH, Uint8Array.from(bytes));
  return disk;
}

/** Opens and checks a file as a load does; returns what is told of damage, or null. */
async function faultOf(bytes: Uint8Array): Promise<string | null> {
  try {
    const { delta } = openSeedFile(diskWith(bytes), PATH);
    await checkBody(delta, CHECK);
    return null;
  } catch (error) {
    must(isCascadeError(error, "state-corrupt"), String(error));
    assertEquals(error.where.file, PATH);
    must(error.hint !== null);
    return error.message;
  }
}

Deno.test("a seed file of version 1 is read from the golden bytes", async () => {
  const bytes = Deno.readFileSync(new URL("../../golden/delta/seed-v1.seed", import.meta.url));
  const { delta, note } = openSeedFile(diskWith(bytes), PATH);
  assertEquals([note.node, note.base, delta.toLsn], ["a", { data: "blank", wal: "blank" }, 4800]);
  assertEquals(await checkBody(delta, CHECK), 133);
});

Deno.test("a seed file that is cut short anywhere is refused", async () => {
  const bytes = goldenSeed();
  for (let length = 0; length < bytes.length; length++) {
    must(await faultOf(bytes.subarray(0, length)) !== null, `cut at ${length}`);
  }
  must(await faultOf(Uint8Array.from([...bytes, 0])) !== null, "a byte too many");
});

Deno.test("a flipped bit anywhere is found, and its place is told", async () => {
  const bytes = goldenSeed();
  const bodyAt = PAGE_BYTES;
  // Behind the header's text the page is filled up: nobody reads that.
  const fillFrom = 16 + new DataView(bytes.buffer).getUint32(8, true);
  for (let at = 0; at < bytes.length; at++) {
    if (at >= fillFrom && at < bodyAt) continue;
    const flipped = Uint8Array.from(bytes);
    flipped[at] = (flipped[at] ?? 0) ^ (1 << at % 8);
    const fault = await faultOf(flipped);
    must(fault !== null, `bit ${at % 8} of byte ${at}`);
    if (at === bodyAt) assertMatch(fault, /at byte 0$/);
  }
});

Deno.test("a delta of a node's folder is no seed file", () => {
  assertCode(() => openSeedFile(diskWith(goldenDelta()), PATH), "usage");
});

Deno.test("a file under its name is whole: until then it is another one, and is gone on with", async () => {
  const bytes = goldenSeed();
  const disk = new MemoryDisk();
  disk.makeFolder("/media");
  const open = () => SeedFileWriter.open(disk, PATH, quickClock);
  const first = await open();
  assertEquals(first.staged, null);
  first.append(bytes.subarray(0, PAGE_BYTES + 250));
  await first.pause();
  first.close();
  assertEquals([disk.exists(PATH), disk.exists(partialPath(PATH))], [false, true]);
  const second = await open();
  // Two records are whole, of the third there is a part.
  assertEquals(second.staged?.position, 208);
  assertEquals(second.bytes, PAGE_BYTES + 208);
  second.append(bytes.subarray(second.bytes));
  await second.finish(async (delta) => void await checkBody(delta, CHECK));
  second.close();
  assertEquals([disk.exists(PATH), disk.exists(partialPath(PATH))], [true, false]);
  assertEquals(await faultOf(disk.file(PATH).bytes), null);
});

Deno.test("what an earlier run left is dropped where it is of no use", async () => {
  const disk = new MemoryDisk();
  disk.place(partialPath(PATH), goldenDelta());
  const writer = await SeedFileWriter.open(disk, PATH, quickClock);
  // It is no seed: another program's, or of another kind.
  assertEquals(writer.staged, null);
  writer.restart();
  assertEquals([writer.bytes, disk.file(partialPath(PATH)).bytes.length], [0, 0]);
  writer.close();
  assertEquals(disk.exists(partialPath(PATH)), false);
});
