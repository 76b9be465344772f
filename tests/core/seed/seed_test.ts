import { assert, assertEquals, assertRejects } from "@std/assert";
import { CascadeError } from "../../../core/errors.ts";
import { Checkpoint } from "../../../core/seed/checkpoint.ts";
import { FileBlocks } from "../../../core/seed/file_blocks.ts";
import { firstData, isAsInSource } from "../../../core/seed/look.ts";
import { freshState, seed, type SeedJob } from "../../../core/seed/seed.ts";
import { DenoClock } from "../../../io/clock.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";

const MIB = 1024 * 1024;
const SIZE = 24 * MIB + 512;
const clock = new DenoClock();
const identity = { source: "s", target: "t", sizeBytes: SIZE, boot: "b" };

/** Data, a hole, zeroes that are written out, a lonely sector, and an end that is no grain. */
function image(): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(SIZE);
  for (let at = 0; at < 8 * MIB; at++) bytes[at] = at % 251 + 1;
  bytes.fill(7, 12 * MIB + 512, 12 * MIB + 1024);
  bytes.fill(9, 16 * MIB);
  return bytes;
}

function world(target = new Uint8Array(SIZE)) {
  const disk = new MemoryDisk();
  disk.place("/s", image());
  disk.place("/t", target);
  return disk;
}

function job(disk: MemoryDisk, extra: Partial<SeedJob> = {}): SeedJob {
  return {
    source: new FileBlocks(disk.open("/s")),
    target: new FileBlocks(disk.open("/t")),
    identity,
    checkpoint: null,
    start: { at: 0, flushed: 0 },
    compare: false,
    verify: false,
    clock,
    prepare() {},
    stopped: () => false,
    state: freshState(0),
    ...extra,
  };
}

Deno.test("a seed makes the target equal, also where it held something else", async () => {
  for (const before of [0, 5]) {
    for (const compare of [false, true]) {
      for (const holes of [true, false]) {
        const disk = world(new Uint8Array(SIZE).fill(before));
        disk.holes = holes;
        const own = job(disk, { compare, verify: true });
        assertEquals(await seed(own), { kind: "done" });
        assertEquals(disk.file("/t").bytes, disk.file("/s").bytes);
        const { writtenBytes, zeroBytes, equalBytes, doneBytes } = own.state;
        assertEquals([doneBytes, writtenBytes + zeroBytes + equalBytes], [SIZE, SIZE]);
      }
    }
  }
});

Deno.test("--compare writes only what differs", async () => {
  const target = image();
  target[3 * MIB]! ^= 1;
  const disk = world(target);
  const own = job(disk, { compare: true });
  assertEquals(await seed(own), { kind: "done" });
  assertEquals(own.state.writtenBytes, 4096);
  assertEquals(disk.file("/t").bytes, disk.file("/s").bytes);
});

Deno.test("what was stopped at any piece goes on from its checkpoint", async () => {
  for (const pieces of [0, 1, 5, 9, 14]) {
    const disk = world();
    disk.folders.add("/f");
    let left = pieces;
    const first = Checkpoint.open(disk, "/f/c", "/f");
    const stopped = await seed(job(disk, { checkpoint: first, stopped: () => left-- <= 0 }));
    first.close();
    assertEquals(stopped, { kind: "stopped" });
    const second = Checkpoint.open(disk, "/f/c", "/f");
    const start = second.resumeAt(identity);
    if (typeof start === "string") throw new Error(`no checkpoint: ${start}`);
    assert(start.at > 0 || pieces < 2);
    const own = job(disk, { checkpoint: second, start, state: freshState(start.at) });
    assertEquals(await seed(own), { kind: "done" });
    assert(own.state.writtenBytes <= SIZE - start.at);
    assertEquals(disk.file("/t").bytes, disk.file("/s").bytes);
    assertEquals(disk.exists("/f/c"), false);
  }
});

Deno.test("the checkpoint is flushed before the target is touched, and goes after its last flush", async () => {
  const disk = world();
  disk.folders.add("/f");
  let firstWrite = -1;
  disk.beforeWrite = (path) => {
    if (path === "/t" && firstWrite < 0) firstWrite = disk.events.length;
  };
  await seed(job(disk, { checkpoint: Checkpoint.open(disk, "/f/c", "/f") }));
  assertEquals(disk.events.slice(0, firstWrite), ["flush /f/c", "flush /f"]);
  assertEquals(disk.events.slice(-4), ["flush /t", "flush /f/c", "remove /f/c", "flush /f"]);
});

Deno.test("after a restart of the machine only what was flushed counts", () => {
  const disk = world();
  disk.folders.add("/f");
  const checkpoint = Checkpoint.open(disk, "/f/c", "/f");
  checkpoint.save(identity, 100, 40);
  checkpoint.save(identity, 200, 50);
  assertEquals(checkpoint.resumeAt(identity), { at: 200, flushed: 50 });
  assertEquals(checkpoint.resumeAt({ ...identity, boot: "c" }), { at: 50, flushed: 50 });
  assertEquals(checkpoint.resumeAt({ ...identity, source: "x" }), "other-source");
  assertEquals(checkpoint.resumeAt({ ...identity, target: "x" }), "other-target");
  // A torn slot leaves the one before.
  disk.file("/f/c").bytes.fill(0, 4096 + 100, 4096 + 120);
  assertEquals(checkpoint.resumeAt(identity), { at: 100, flushed: 40 });
});

Deno.test("a file that holds something else is never taken for a checkpoint", () => {
  const disk = world();
  disk.place("/f/c", new TextEncoder().encode("my diary"));
  assertEquals(
    (() => {
      try {
        return Checkpoint.open(disk, "/f/c", "/f");
      } catch (error) {
        return (error as CascadeError).code;
      }
    })(),
    "usage",
  );
});

Deno.test("a write or a flush that fails ends the seed, and the checkpoint stays behind it", async () => {
  const disk = world();
  disk.folders.add("/f");
  let writes = 0;
  disk.beforeWrite = (path) => {
    if (path === "/t" && ++writes === 6) throw new CascadeError("disk-full", "no room");
  };
  const checkpoint = Checkpoint.open(disk, "/f/c", "/f");
  await assertRejects(() => seed(job(disk, { checkpoint })), CascadeError, "no room");
  const start = checkpoint.resumeAt(identity);
  assert(typeof start === "object" && start.at <= 5 * MIB);
});

Deno.test("--verify finds what the target did not keep, and lets nothing of it count", async () => {
  const disk = world();
  disk.folders.add("/f");
  disk.beforeFlush = (path) => {
    if (path === "/t") disk.file("/t").bytes[5 * MIB + 77] = 0;
    return Promise.resolve();
  };
  const checkpoint = Checkpoint.open(disk, "/f/c", "/f");
  const end = await seed(job(disk, { checkpoint, verify: true }));
  const start = 5 * MIB;
  assertEquals(end, {
    kind: "differs",
    difference: { start, end: start + 4096, firstByte: start + 77 },
  });
  assertEquals(checkpoint.resumeAt(identity), { at: 0, flushed: 0 });
});

Deno.test("a blank target is told from one that holds a byte", async () => {
  const disk = world();
  const look = () =>
    firstData(new FileBlocks(disk.open("/t")), { clock, stopped: () => false, onDone() {} });
  assertEquals(await look(), null);
  disk.file("/t").bytes[SIZE - 1] = 1;
  assertEquals(await look(), SIZE - 512);
});

Deno.test("a target that was made anew under the same name is found out", async () => {
  const disk = world(image());
  const same = () =>
    isAsInSource(new FileBlocks(disk.open("/s")), new FileBlocks(disk.open("/t")), 20 * MIB);
  assertEquals(await same(), true);
  disk.file("/t").bytes.fill(0);
  assertEquals(await same(), false);
});
