import { assertEquals } from "@std/assert";
import fc from "fast-check";
import type { DiskFile } from "../../../core/ports.ts";
import { openVolumeFile, Volume, type VolumeExpectation } from "../../../core/volume/volume.ts";
import { MemoryDisk } from "../../support/memory_disk.ts";
import { assertCode } from "../../support/small.ts";

const SIZE = 256;

/** A volume over a log that is an array of bytes. */
function makeVolume() {
  const disk = new MemoryDisk();
  disk.place("/data", new Uint8Array(SIZE));
  const log: number[] = [];
  const volume = new Volume("data", SIZE, disk.open("/data"), (lsn, into) => {
    for (let i = 0; i < into.length; i++) into[i] = log[lsn + i] ?? 255;
  });
  return { disk, log, volume };
}

type Step =
  | { kind: "write" | "zero"; offset: number; length: number; value: number }
  | { kind: "apply"; count: number };

const range = { offset: fc.nat(SIZE - 1), length: fc.integer({ min: 1, max: 64 }) };
const steps = fc.array(
  fc.oneof(
    fc.record({
      kind: fc.constantFrom<"write" | "zero">("write", "zero"),
      ...range,
      value: fc.integer({ min: 1, max: 250 }),
    }),
    fc.record({ kind: fc.constant<"apply">("apply"), count: fc.nat(4) }),
  ),
  { maxLength: 40 },
);

Deno.test("a read sees all that was written, however much of it was applied", () => {
  fc.assert(
    fc.property(steps, (list: Step[]) => {
      const { volume, log } = makeVolume();
      const model = new Uint8Array(SIZE);
      const waiting: { lsn: number; end: number; apply: () => void }[] = [];
      for (const step of list) {
        if (step.kind === "apply") {
          for (const { end, apply } of waiting.splice(0, step.count)) {
            apply();
            volume.prune(end);
          }
        } else {
          const { offset, value } = step;
          const length = Math.min(step.length, SIZE - offset);
          const lsn = log.length;
          if (step.kind === "write") {
            const payload = new Uint8Array(length).map((_, index) => value + index);
            log.push(0, 0, ...payload);
            volume.overlayWrite(offset, length, lsn + 2);
            model.set(payload, offset);
            waiting.push({ lsn, end: log.length, apply: () => volume.applyWrite(payload, offset) });
          } else {
            log.push(0, 0);
            volume.overlayZero(offset, length, lsn);
            model.fill(0, offset, offset + length);
            waiting.push({
              lsn,
              end: log.length,
              apply: () => volume.applyZero(offset, length, true),
            });
          }
        }
        const found = new Uint8Array(SIZE);
        volume.read(found, 0);
        assertEquals(found, model);
        const part = new Uint8Array(50);
        volume.read(part, 101);
        assertEquals(part, model.slice(101, 151));
      }
    }),
    { numRuns: 200 },
  );
});

Deno.test("the applied image does not show what is only appended", () => {
  const { volume, log } = makeVolume();
  log.push(...new Array(16).fill(9));
  volume.overlayWrite(0, 16, 0);
  const found = new Uint8Array(16);
  volume.readApplied(found, 0);
  assertEquals(found, new Uint8Array(16));
});

Deno.test("data ranges never miss a byte that is not zero, and know zeroes that wait", () => {
  const { disk, volume, log } = makeVolume();
  disk.file("/data").bytes.fill(1);
  volume.overlayZero(64, 64, 0);
  log.push(...new Array(64).fill(9));
  volume.overlayWrite(96, 16, 16);
  assertEquals(volume.dataRanges(0, SIZE), [{ start: 0, end: 64 }, { start: 96, end: 112 }, {
    start: 128,
    end: SIZE,
  }]);
  assertEquals(volume.dataRanges(70, 20), []);
});

Deno.test("a record past the end of its volume is never applied", () => {
  const { volume } = makeVolume();
  assertCode(() => volume.applyWrite(new Uint8Array(2), SIZE - 1), "bug");
  assertCode(() => volume.applyZero(SIZE - 1, 2, true), "bug");
});

function makeWant(change: Partial<VolumeExpectation> = {}): VolumeExpectation {
  return {
    name: "data",
    path: "/vol",
    sizeBytes: 4096,
    first: true,
    owner: { cluster: "payroll", node: "hq" },
    ...change,
  };
}

/** Opens and closes at once; the size found. */
function openOnce(disk: MemoryDisk, change: Partial<VolumeExpectation> = {}): number {
  const file: DiskFile = openVolumeFile(disk, makeWant(change));
  const size = file.size();
  file.close();
  return size;
}

Deno.test("the first start makes a missing volume, and adopts one of the right size", () => {
  const disk = new MemoryDisk();
  assertEquals(openOnce(disk), 4096);
  const adopted = new MemoryDisk();
  adopted.place("/vol", new Uint8Array(4096).fill(1));
  assertEquals(openOnce(adopted), 4096);
  assertEquals(adopted.file("/vol").bytes[0], 1);
});

Deno.test("a first start that was cut short can be done again", () => {
  const disk = new MemoryDisk();
  openOnce(disk);
  assertEquals(openOnce(disk), 4096);
  // The note's bytes did not make it.
  disk.place("/vol.cascade", new Uint8Array(0));
  assertEquals(openOnce(disk), 4096);
});

Deno.test("a volume that is gone after the first start is missed, not made anew", () => {
  const disk = new MemoryDisk();
  assertCode(() => openOnce(disk, { first: false }), "wrong-volume");
  assertEquals(disk.exists("/vol"), false);
});

Deno.test("after the first start a volume without a whole note is refused, and left as it is", () => {
  for (const cut of [null, 0, 10]) {
    const disk = new MemoryDisk();
    openOnce(disk);
    const note = Uint8Array.from(disk.file("/vol.cascade").bytes);
    if (cut === null) disk.remove("/vol.cascade");
    else disk.place("/vol.cascade", note.subarray(0, cut));
    assertCode(() => openOnce(disk, { first: false }), "wrong-volume");
    assertEquals([disk.exists("/vol.cascade"), disk.openCount], [cut !== null, 0]);
    if (cut !== null) assertEquals(disk.file("/vol.cascade").bytes.length, cut);
    disk.place("/vol.cascade", note);
    assertEquals(openOnce(disk, { first: false }), 4096);
  }
});

Deno.test("another size is refused, at the first start too", () => {
  for (const first of [true, false]) {
    for (const size of [4095, 4097, 8192]) {
      const disk = new MemoryDisk();
      openOnce(disk);
      disk.place("/vol", new Uint8Array(size));
      assertCode(() => openOnce(disk, { first }), "wrong-volume");
      assertEquals(disk.openCount, 0);
    }
  }
});

Deno.test("a device may be larger than the volume, not smaller, and gets no note", () => {
  for (const [size, fits] of [[4096, true], [8192, true], [2048, false]] as const) {
    const disk = new MemoryDisk();
    disk.place("/vol", new Uint8Array(size)).isDevice = true;
    if (fits) openOnce(disk);
    else assertCode(() => openOnce(disk), "wrong-volume");
    assertEquals(disk.exists("/vol.cascade"), false);
  }
});

Deno.test("a volume of another node, cluster or name is refused, and left as it is", () => {
  const others: Partial<VolumeExpectation>[] = [
    { owner: { cluster: "payroll", node: "dr" } },
    { owner: { cluster: "other", node: "hq" } },
    { name: "log" },
  ];
  for (const other of others) {
    const disk = new MemoryDisk();
    openOnce(disk);
    const note = Uint8Array.from(disk.file("/vol.cascade").bytes);
    assertCode(() => openOnce(disk, other), "wrong-volume");
    assertEquals([disk.file("/vol.cascade").bytes, disk.openCount], [note, 0]);
  }
});

Deno.test("a volume is locked while it is open", () => {
  const disk = new MemoryDisk();
  const file = openVolumeFile(disk, makeWant());
  assertCode(() => openOnce(disk), "locked");
  file.close();
  openOnce(disk);
});

Deno.test("a file that an interrupted seed has left is not taken for a volume", () => {
  const disk = new MemoryDisk();
  disk.place("/data", new Uint8Array(SIZE));
  disk.place("/data.seeding", new Uint8Array(1));
  const want = {
    ...{ name: "data", path: "/data", sizeBytes: SIZE, first: true },
    owner: { cluster: "c", node: "n" },
  };
  assertCode(() => openVolumeFile(disk, want), "wrong-volume");
});
