import { assert, assertEquals, assertRejects, assertThrows } from "@std/assert";
import { CascadeError, type ErrorCode } from "../../core/errors.ts";
import { DenoDisk } from "../../io/disk.ts";
import { holderFromTable } from "../../io/file_lock.ts";
import { libc } from "../../io/libc.ts";
import { makePipe, withFolder } from "./helpers.ts";

const disk = new DenoDisk();

function pattern(length: number, seed = 1): Uint8Array {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + seed) % 251 + 1);
}

function failsWith(code: ErrorCode, call: () => unknown): CascadeError {
  const error = assertThrows(call, CascadeError);
  assertEquals(error.code, code, error.message);
  return error;
}

Deno.test("a file gives back what was written, and zeroes past its end", () =>
  withFolder((folder) => {
    const file = disk.open(`${folder}/a`, { create: true });
    assertEquals(file.size(), 0);
    const bytes = pattern(10_000);
    file.writeAt(bytes, 123);
    assertEquals(file.size(), 10_123);
    const back = new Uint8Array(10_100).fill(7);
    file.readAt(back, 123);
    assertEquals(back.subarray(0, 10_000), bytes);
    assert(back.subarray(10_000).every((byte) => byte === 0));
    const past = new Uint8Array(10).fill(7);
    file.readAt(past, 2 ** 40);
    assert(past.every((byte) => byte === 0));
    file.readAt(new Uint8Array(0), 0);
    file.writeAt(new Uint8Array(0), 0);
    file.close();
    file.close();
    assertEquals(Deno.statSync(`${folder}/a`).mode! & 0o777, 0o600);
  }));

Deno.test("several writes at a time on other threads are all there, and close waits for them", () =>
  withFolder(async (folder) => {
    const file = disk.open(`${folder}/a`, { create: true });
    const piece = 300_000;
    const bytes = new Uint8Array(pattern(8 * piece));
    const writes = Array.from({ length: 8 }, (_, i) => {
      const at = (7 - i) * piece;
      return file.writeAside!(bytes.subarray(at, at + piece), at);
    });
    await Promise.all(writes.slice(0, 4));
    file.close();
    await Promise.all(writes);
    assertEquals(Deno.readFileSync(`${folder}/a`), bytes);
    const error = await assertRejects(() => file.writeAside!(bytes, 0), CascadeError);
    assertEquals(error.code, "disk-failed");
  }));

Deno.test("what another thread could not write is told as if this one had tried", () =>
  withFolder(async (folder) => {
    Deno.writeTextFileSync(`${folder}/a`, "a");
    const file = disk.open(`${folder}/a`, { readOnly: true });
    const code = failsWith("disk-failed", () => file.writeAt(new Uint8Array(1), 0)).code;
    const error = await assertRejects(() => file.writeAside!(new Uint8Array(1), 0), CascadeError);
    assertEquals(error.code, code);
    file.close();
    assertEquals(Deno.readTextFileSync(`${folder}/a`), "a");
  }));

Deno.test("what the page cache was told to forget is read from the disk, flushed or not", () =>
  withFolder(async (folder) => {
    const file = disk.open(`${folder}/data`, { create: true });
    const bytes = new Uint8Array(2 * 1024 * 1024).map((_, i) => i % 251);
    file.writeAt(bytes, 0);
    await file.flush();
    file.writeAt(Uint8Array.of(1, 2, 3), 777_777);
    file.forgetCached?.();
    bytes.set([1, 2, 3], 777_777);
    const into = new Uint8Array(bytes.length);
    file.readAt(into, 0);
    assertEquals(into, bytes);
    file.close();
  }));

Deno.test("offsets beyond four gibibytes are exact on a sparse tebibyte", () =>
  withFolder((folder) => {
    const file = disk.open(`${folder}/a`, { create: true });
    file.truncate(2 ** 40);
    assertEquals(file.size(), 2 ** 40);
    for (const offset of [0, 2 ** 31 - 1, 2 ** 32 - 3, 2 ** 40 - 5]) {
      file.writeAt(pattern(5, offset % 97), offset);
      const back = new Uint8Array(5);
      file.readAt(back, offset);
      assertEquals(back, pattern(5, offset % 97));
    }
    assertEquals(file.size(), 2 ** 40);
    file.zeroAt(0, 2 ** 40, true);
    assertEquals(file.dataRanges(0, 2 ** 40).length, libc() === null ? 1 : 0);
    file.close();
  }));

for (const hole of [true, false]) {
  Deno.test(`zeroing (hole: ${hole}) touches exactly its range and never the size`, () =>
    withFolder((folder) => {
      const size = 400_000;
      const ranges = [[0, 1], [1, 4095], [4096, 4096], [4095, 4098], [5000, 200_001]];
      for (const [offset, length] of [...ranges, [399_990, 100], [0, size], [size, 10], [10, 0]]) {
        const file = disk.open(`${folder}/a`, { create: true });
        file.writeAt(pattern(size), 0);
        file.zeroAt(offset!, length!, hole);
        const expected = pattern(size).fill(0, offset, offset! + length!);
        const back = new Uint8Array(size);
        file.readAt(back, 0);
        assertEquals(back, expected, `range ${offset}+${length}`);
        assertEquals(file.size(), size);
        file.close();
        disk.remove(`${folder}/a`);
      }
    }));
}

Deno.test({
  name: "a hole gives its room back, and data ranges are found around it",
  ignore: libc() === null,
  fn: () =>
    withFolder((folder) => {
      const MiB = 2 ** 20;
      const file = disk.open(`${folder}/a`, { create: true });
      file.writeAt(pattern(4 * MiB), 0);
      const blocks = Deno.statSync(`${folder}/a`).blocks!;
      file.zeroAt(MiB, MiB, true);
      assert(Deno.statSync(`${folder}/a`).blocks! < blocks);
      assertEquals(file.dataRanges(0, 4 * MiB), [
        { start: 0, end: MiB },
        { start: 2 * MiB, end: 4 * MiB },
      ]);
      assertEquals(file.dataRanges(MiB, MiB), []);
      assertEquals(file.dataRanges(MiB + 5, MiB), [{ start: 2 * MiB, end: 2 * MiB + 5 }]);
      assertEquals(file.dataRanges(10, 20), [{ start: 10, end: 30 }]);
      assertEquals(file.dataRanges(4 * MiB - 1, 100), [{ start: 4 * MiB - 1, end: 4 * MiB }]);
      assertEquals(file.dataRanges(9 * MiB, 100), []);
      file.truncate(8 * MiB);
      assertEquals(file.dataRanges(3 * MiB, 5 * MiB), [{ start: 3 * MiB, end: 4 * MiB }]);
      file.close();
    }),
});

Deno.test("preallocated room is real and zero, and the event loop goes on meanwhile", () =>
  withFolder(async (folder) => {
    const file = disk.open(`${folder}/a`, { create: true });
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    await file.preallocate(20 * 2 ** 20 + 100);
    clearInterval(timer);
    assert(turns > 0);
    assertEquals(file.size(), 20 * 2 ** 20 + 100);
    assert(Deno.statSync(`${folder}/a`).blocks! * 512 >= 20 * 2 ** 20);
    file.close();
  }));

Deno.test("a flush that runs when the file is closed still ends", () =>
  withFolder(async (folder) => {
    const file = disk.open(`${folder}/lock`, { create: true, lock: true });
    file.writeAt(pattern(100_000), 0);
    const flush = file.flush();
    file.close();
    await flush;
    disk.open(`${folder}/lock`, { lock: true }).close();
  }));

Deno.test("a closed file refuses every call", () =>
  withFolder(async (folder) => {
    const file = disk.open(`${folder}/a`, { create: true });
    file.close();
    failsWith("disk-failed", () => file.readAt(new Uint8Array(1), 0));
    failsWith("disk-failed", () => file.writeAt(new Uint8Array(1), 0));
    failsWith("disk-failed", () => file.size());
    const error = await file.flush().catch((error) => error);
    assertEquals(error.code, "disk-failed");
  }));

Deno.test("a lock is exclusive, names its holder and ends with the file", () =>
  withFolder((folder) => {
    for (const name of ["lock", "volume.img"]) {
      const path = `${folder}/${name}`;
      const first = disk.open(path, { create: true, lock: true });
      const error = failsWith("locked", () => disk.open(path, { lock: true }));
      assert(error.hint?.includes(`Process ${Deno.pid}`), error.hint);
      // Without asking for the lock it can be opened: locks are among those who ask.
      disk.open(path, { readOnly: true }).close();
      first.close();
      disk.open(path, { lock: true, readOnly: name !== "lock" }).close();
    }
    assertEquals(Deno.readTextFileSync(`${folder}/lock`), `${Deno.pid}\n`);
    assertEquals(Deno.statSync(`${folder}/volume.img`).size, 0);
  }));

Deno.test("the lock of a killed process is free at once, and its pid is told before", () =>
  withFolder(async (folder) => {
    const script = `
      import { DenoDisk } from ${JSON.stringify(import.meta.resolve("../../io/disk.ts"))};
      new DenoDisk().open(${JSON.stringify(`${folder}/lock`)}, { create: true, lock: true });
      Deno.stdout.writeSync(new Uint8Array(1));
      setInterval(() => {}, 1000);`;
    await Deno.writeTextFile(`${folder}/holder.ts`, script);
    const child = new Deno.Command(Deno.execPath(), {
      args: ["run", "-A", "--no-config", `${folder}/holder.ts`],
      stdout: "piped",
    }).spawn();
    await child.stdout.getReader().read();
    const error = failsWith("locked", () => disk.open(`${folder}/lock`, { lock: true }));
    assertEquals(error.where.pid, child.pid);
    child.kill("SIGKILL");
    await child.status;
    disk.open(`${folder}/lock`, { lock: true }).close();
  }));

Deno.test("the holder of a lock is found by device and inode, else by inode alone", () => {
  const table = [
    "1: POSIX  ADVISORY  WRITE 11 fe:00:77 128 128",
    "2: FLOCK  ADVISORY  READ 12 fe:00:77 0 EOF",
    "3: FLOCK  ADVISORY  WRITE 13 08:01:77 0 EOF",
    "4: FLOCK  ADVISORY  WRITE 14 fe:00:77 0 EOF",
    "5: FLOCK  ADVISORY  WRITE 0 fe:00:78 0 EOF",
    "",
  ].join("\n");
  assertEquals(holderFromTable(table, 0xfe00, 77), 14);
  assertEquals(holderFromTable(table, 0x0801, 77), 13);
  assertEquals(holderFromTable(table, 0x0099, 77), 13);
  assertEquals(holderFromTable(table, 0xfe00, 78), null);
  assertEquals(holderFromTable("", 0xfe00, 77), null);
});

Deno.test("folders and special files are refused, saying what they are", () =>
  withFolder(async (folder) => {
    await makePipe(`${folder}/pipe`);
    const kinds = [[folder, "folder"], ["/dev/zero", "character device"], [
      `${folder}/pipe`,
      "named pipe",
    ]];
    for (const [path, kind] of kinds) {
      const error = failsWith("disk-failed", () => disk.open(path!, { create: true }));
      assert(error.message.includes(kind!), error.message);
      assertEquals(error.where.path, path);
    }
  }));

Deno.test("what is missing, forbidden or too large has its code and its place", () =>
  withFolder((folder) => {
    failsWith("not-found", () => disk.open(`${folder}/none`));
    failsWith("not-found", () => disk.open(`${folder}/none/a`, { create: true }));
    failsWith("not-found", () => disk.list(`${folder}/none`));
    failsWith("not-found", () => disk.remove(`${folder}/none`));
    failsWith("not-found", () => disk.rename(`${folder}/none`, `${folder}/b`));
    const file = disk.open(`${folder}/a`, { create: true });
    const error = failsWith("disk-failed", () => file.writeAt(new Uint8Array(9), 2 ** 52));
    assertEquals(error.where, { path: `${folder}/a`, offset: 2 ** 52 });
    file.close();
    const readOnly = disk.open(`${folder}/a`, { readOnly: true });
    failsWith("disk-failed", () => readOnly.writeAt(new Uint8Array(9), 0));
    readOnly.close();
  }));

Deno.test("names are listed in order, and come and go by rename and removal", () =>
  withFolder(async (folder) => {
    disk.makeFolder(`${folder}/x/y`);
    disk.makeFolder(`${folder}/x/y`);
    for (const name of ["b", "a", "c"]) disk.open(`${folder}/x/${name}`, { create: true }).close();
    await disk.flushFolder(`${folder}/x`);
    assertEquals(disk.list(`${folder}/x`), ["a", "b", "c", "y"]);
    disk.rename(`${folder}/x/a`, `${folder}/x/c`);
    disk.remove(`${folder}/x/b`);
    assertEquals(disk.list(`${folder}/x`), ["c", "y"]);
    assert(disk.exists(`${folder}/x/c`));
    assert(!disk.exists(`${folder}/x/a`));
    assert(!disk.exists(`${folder}/x/c/under-a-file`));
    failsWith("disk-failed", () => disk.remove(`${folder}/x/y`));
  }));

Deno.test({
  name: "a full disk is told as such, and goes on once there is room",
  ignore: Deno.uid() !== 0,
  fn: () =>
    withFolder(async (folder) => {
      const mount = await new Deno.Command("mount", {
        args: ["-t", "tmpfs", "-o", "size=1M", "tmpfs", folder],
        stderr: "null",
      }).output();
      if (!mount.success) return; // A container without that right.
      try {
        const file = disk.open(`${folder}/a`, { create: true });
        const error = failsWith("disk-full", () => file.writeAt(pattern(2 ** 21), 0));
        assert(error.retryable);
        file.truncate(0);
        file.writeAt(pattern(2 ** 19), 0);
        file.close();
      } finally {
        await new Deno.Command("umount", { args: [folder] }).output();
      }
    }),
});

async function command(name: string, ...args: string[]): Promise<string | null> {
  try {
    const { success, stdout } = await new Deno.Command(name, { args, stderr: "null" }).output();
    return success ? new TextDecoder().decode(stdout).trim() : null;
  } catch {
    return null; // Not there.
  }
}

Deno.test({
  name: "a block device has its capacity, takes zeroes in any alignment, and one holder",
  ignore: Deno.uid() !== 0 || libc() === null,
  fn: () =>
    withFolder(async (folder) => {
      const size = 4 * 2 ** 20 + 512;
      await Deno.writeFile(`${folder}/image`, pattern(size));
      const device = await command("losetup", "--show", "-f", `${folder}/image`);
      if (device === null) return; // A container without loop devices.
      try {
        const file = disk.open(device, { lock: true });
        assert(file.isDevice);
        assertEquals(file.size(), size);
        failsWith("locked", () => disk.open(device, { lock: true }));
        const expected = pattern(size);
        for (
          const [offset, length] of [[1, 10], [4000, 9000], [2 ** 20, 2 ** 20], [size - 700, 700]]
        ) {
          file.zeroAt(offset!, length!, true);
          expected.fill(0, offset!, offset! + length!);
        }
        file.zeroAt(3 * 2 ** 20 + 7, 200_000, false);
        expected.fill(0, 3 * 2 ** 20 + 7, 3 * 2 ** 20 + 200_007);
        await file.flush();
        const back = new Uint8Array(size);
        file.readAt(back, 0);
        assertEquals(back, expected);
        assertEquals(file.dataRanges(5, 100), [{ start: 5, end: 105 }]);
        failsWith("disk-full", () => file.writeAt(pattern(1024), size - 512));
        file.close();

        assert(await command("mkfs.ext4", "-q", device) !== null);
        await Deno.mkdir(`${folder}/mounted`);
        if (await command("mount", device, `${folder}/mounted`) === null) return;
        try {
          const error = failsWith("locked", () => disk.open(device, { lock: true }));
          assert(error.hint?.includes("Unmount"), error.hint);
        } finally {
          await command("umount", `${folder}/mounted`);
        }
        disk.open(device, { lock: true }).close();
      } finally {
        await command("losetup", "-d", device);
      }
    }),
});
