import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CascadeError } from "../../core/errors.ts";
import type { DiskFile } from "../../core/ports.ts";
import { Scheduler } from "./clock.ts";
import { HostDisk, SimDisk } from "./disk.ts";
import { type CrashKind, Life, SimDeath } from "./life.ts";
import { Prng } from "./prng.ts";
import { Trace } from "./trace.ts";

const LIMITS = { until: () => false, timeMsMax: 1e9, stepsMax: 1e6 };

/** A host with a disk, and one process at a time on it. */
class Bench {
  readonly scheduler = new Scheduler();
  readonly host: HostDisk;
  life = new Life("a", 1);
  disk: SimDisk;

  constructor(seed = 1) {
    this.host = new HostDisk("a", this.scheduler, new Trace(), new Prng(seed));
    this.host.placeFolder("/d");
    this.disk = new SimDisk(this.host, this.life);
  }

  crash(kind: CrashKind): void {
    this.life.end();
    this.host.crash(kind);
    this.life = new Life("a", this.life.number + 1);
    this.disk = new SimDisk(this.host, this.life);
  }

  /** Runs the world until `work` has settled. */
  async settle<T>(work: Promise<T>): Promise<T> {
    let over = false;
    const end = () => over = true;
    work.then(end, end);
    await this.scheduler.run({ ...LIMITS, until: () => over });
    return work;
  }

  async run(): Promise<void> {
    await this.scheduler.run(LIMITS);
  }
}

function bytesOf(file: DiskFile): Uint8Array {
  const bytes = new Uint8Array(file.size());
  file.readAt(bytes, 0);
  return bytes;
}

function filled(length: number, value: number): Uint8Array {
  return new Uint8Array(length).fill(value);
}

function codeOf(call: () => unknown): string {
  return assertThrows(call, CascadeError).code;
}

Deno.test("what was written is read, past the end reads as zero", () => {
  const { disk } = new Bench();
  const file = disk.open("/d/f", { create: true });
  file.writeAt(filled(5000, 7), 100);
  assertEquals(file.size(), 5100);
  const into = filled(300, 9);
  file.readAt(into, 4900);
  assertEquals(into, new Uint8Array([...filled(200, 7), ...filled(100, 0)]));
});

Deno.test("a killed process leaves all that it wrote", () => {
  const bench = new Bench();
  bench.disk.open("/d/f", { create: true }).writeAt(filled(600, 7), 0);
  bench.crash("process");
  assertEquals(bytesOf(bench.disk.open("/d/f")), filled(600, 7));
});

Deno.test("a loss of power takes any sectors and names that were not flushed, and no others", async () => {
  const outcomes = new Set<string>();
  for (let seed = 0; seed < 300; seed++) {
    const bench = new Bench(seed);
    const file = bench.disk.open("/d/f", { create: true });
    file.writeAt(filled(1024, 1), 0);
    await bench.settle(file.flush());
    await bench.settle(bench.disk.flushFolder("/d"));
    file.writeAt(filled(1024, 2), 0);
    bench.disk.open("/d/g", { create: true });
    bench.crash("power");
    const bytes = bytesOf(bench.disk.open("/d/f"));
    for (const sector of [bytes.subarray(0, 512), bytes.subarray(512)]) {
      assert(sector.every((byte) => byte === sector[0]), "a sector is whole");
    }
    outcomes.add(`${bytes[0]}${bytes[512]}${bench.disk.exists("/d/g")}`);
  }
  assertEquals(outcomes.size, 8);
});

Deno.test("a flush makes stable what was written before it was called, and only that", async () => {
  const seen = new Set<number>();
  for (let seed = 0; seed < 40; seed++) {
    const bench = new Bench(seed);
    const file = bench.disk.open("/d/f", { create: true });
    await bench.settle(bench.disk.flushFolder("/d"));
    file.writeAt(filled(512, 1), 0);
    const flushed = file.flush();
    file.writeAt(filled(512, 2), 0);
    await bench.settle(flushed);
    bench.crash("power");
    seen.add(bytesOf(bench.disk.open("/d/f"))[0]!);
  }
  assertEquals([...seen].sort(), [1, 2]);
});

Deno.test("a file that is new in a folder that was not flushed may vanish although it was flushed", async () => {
  const seen = new Set<boolean>();
  for (let seed = 0; seed < 40; seed++) {
    const bench = new Bench(seed);
    await bench.settle(bench.disk.open("/d/f", { create: true }).flush());
    bench.crash("power");
    seen.add(bench.disk.exists("/d/f"));
  }
  assertEquals(seen.size, 2);
});

Deno.test("a rename happens as a whole, and for good once its folder was flushed", async () => {
  for (let seed = 0; seed < 40; seed++) {
    const bench = new Bench(seed);
    for (const [path, value] of [["/d/old", 1], ["/d/new", 2]] as const) {
      const file = bench.disk.open(path, { create: true });
      file.writeAt(filled(10, value), 0);
      await bench.settle(file.flush());
    }
    await bench.settle(bench.disk.flushFolder("/d"));
    bench.disk.rename("/d/new", "/d/old");
    if (seed % 2 === 0) await bench.settle(bench.disk.flushFolder("/d"));
    bench.crash("power");
    const value = bytesOf(bench.disk.open("/d/old"))[0];
    assertEquals(bench.disk.exists("/d/new"), value === 1);
    if (seed % 2 === 0) assertEquals(value, 2);
  }
});

Deno.test("a folder that was not flushed takes all in it along", async () => {
  const seen = new Set<boolean>();
  for (let seed = 0; seed < 40; seed++) {
    const bench = new Bench(seed);
    bench.disk.makeFolder("/d/sub");
    await bench.settle(bench.disk.open("/d/sub/f", { create: true }).flush());
    await bench.settle(bench.disk.flushFolder("/d/sub"));
    bench.crash("power");
    assertEquals(bench.disk.exists("/d/sub/f"), bench.disk.exists("/d/sub"));
    seen.add(bench.disk.exists("/d/sub"));
  }
  assertEquals(seen.size, 2);
});

Deno.test("a full disk refuses what needs room, and takes it once there is some", () => {
  const bench = new Bench();
  bench.host.conditions.roomBytes = 8192;
  const file = bench.disk.open("/d/f", { create: true });
  file.writeAt(filled(4096, 1), 0);
  assertEquals(codeOf(() => file.writeAt(filled(8192, 2), 4096)), "disk-full");
  file.writeAt(filled(4096, 3), 0);
  assertEquals(bytesOf(file).subarray(0, 4096), filled(4096, 3));
  file.zeroAt(0, 4096, true);
  bench.host.conditions.roomBytes = 65536;
  file.writeAt(filled(8192, 4), 4096);
  assertEquals(bench.host.usedBytes(), 8192);
});

Deno.test("a hole gives room back and reads as zero", () => {
  const { disk, host } = new Bench();
  const file = disk.open("/d/f", { create: true });
  file.writeAt(filled(5 * 4096, 1), 0);
  file.zeroAt(100, 3 * 4096, true);
  assertEquals(host.usedBytes(), 3 * 4096);
  assertEquals(file.dataRanges(0, 1e9), [
    { start: 0, end: 4096 },
    { start: 3 * 4096, end: 5 * 4096 },
  ]);
  const bytes = bytesOf(file);
  assertEquals(bytes.indexOf(0), 100);
  assertEquals(bytes.lastIndexOf(0), 100 + 3 * 4096 - 1);
});

Deno.test("a failed flush leaves some of what it had, and throws once", async () => {
  const seen = new Set<string>();
  for (let seed = 0; seed < 40; seed++) {
    const bench = new Bench(seed);
    const file = bench.disk.open("/d/f", { create: true });
    await bench.settle(bench.disk.flushFolder("/d"));
    file.writeAt(filled(1024, 1), 0);
    bench.host.conditions.flushesToFailure = 1;
    const error = await assertRejects(() => bench.settle(file.flush()), CascadeError);
    assertEquals(error.code, "disk-failed");
    const shown = bytesOf(file).subarray(0, 1024).slice();
    await bench.settle(file.flush());
    bench.crash("power");
    const left = bench.disk.open("/d/f");
    const kept = filled(1024, 0);
    left.readAt(kept, 0);
    assertEquals(kept, shown, "without phantoms the cache shows what is on the disk");
    seen.add(`${kept[0]}${kept[512]}`);
  }
  assertEquals(seen.size, 4);
});

Deno.test("after a failed flush a phantom shows what the next loss of power takes away", async () => {
  const bench = new Bench(2);
  const file = bench.disk.open("/d/f", { create: true });
  file.truncate(64 * 1024);
  await bench.settle(file.flush());
  await bench.settle(bench.disk.flushFolder("/d"));
  file.writeAt(filled(64 * 1024, 1), 0);
  Object.assign(bench.host.conditions, { flushesToFailure: 1, phantom: true });
  await assertRejects(() => bench.settle(file.flush()));
  assert(bytesOf(file).every((byte) => byte === 1));
  await bench.settle(file.flush());
  bench.crash("power");
  const bytes = bytesOf(bench.disk.open("/d/f"));
  assert(bytes.includes(0) && bytes.includes(1));
});

Deno.test("a locked file stays locked until its process closes it or dies", () => {
  const bench = new Bench();
  const file = bench.disk.open("/d/f", { create: true, lock: true });
  assertEquals(codeOf(() => bench.disk.open("/d/f", { lock: true })), "locked");
  file.close();
  bench.disk.open("/d/f", { lock: true });
  bench.crash("process");
  bench.disk.open("/d/f", { lock: true });
});

Deno.test("a dead process can neither change nor hear anything", async () => {
  const bench = new Bench();
  const { disk } = bench;
  const file = disk.open("/d/f", { create: true });
  file.writeAt(filled(10, 1), 0);
  let heard = false;
  file.flush().finally(() => heard = true);
  bench.crash("process");
  await bench.run();
  assertEquals(heard, false);
  assertThrows(() => file.writeAt(filled(10, 2), 0), SimDeath);
  assertThrows(() => disk.exists("/d/f"), SimDeath);
  file.close();
  const again = bench.disk.open("/d/f");
  await bench.settle(again.flush());
  assertEquals(bytesOf(again), filled(10, 1));
});

Deno.test("a lit fuse kills the process in the midst of a write", () => {
  const lengths = new Set<number>();
  for (let seed = 0; seed < 20; seed++) {
    const bench = new Bench(seed);
    const file = bench.disk.open("/d/f", { create: true });
    bench.life.light(2, () => bench.crash("process"));
    file.writeAt(filled(100, 1), 0);
    assertThrows(() => file.writeAt(filled(100, 2), 0), SimDeath);
    const bytes = bytesOf(bench.disk.open("/d/f"));
    const torn = bytes.indexOf(1);
    lengths.add(torn);
    assert(bytes.subarray(0, torn).every((byte) => byte === 2));
  }
  assert(lengths.size > 5);
});

Deno.test("a device has its size and no more", () => {
  const bench = new Bench();
  bench.host.place("/d/dev", filled(8192, 5), true);
  const device = bench.disk.open("/d/dev");
  assert(device.isDevice);
  assertEquals(device.size(), 8192);
  assertEquals(codeOf(() => device.writeAt(filled(2, 1), 8191)), "disk-failed");
  bench.crash("power");
  assertEquals(bytesOf(bench.disk.open("/d/dev")), filled(8192, 5));
});
