/**
 * A real file system on an export without the kernel's NBD driver: nbdfuse shows the export as a
 * file, a loop device makes a disk of it.
 *
 * @module
 */
import { join } from "node:path";
import type { Cleanup } from "./e2e.ts";
import { Background, run } from "./programs.ts";
import { until } from "./wait.ts";

/** What mounting needs of the machine. */
export const MOUNT_NEEDS = [
  "root",
  "/dev/fuse",
  "/dev/loop-control",
  "nbdfuse",
  "losetup",
  "mkfs.ext4",
] as const;

/** A file system of so many MiB in memory; returns its folder. Gone with the test. */
export async function smallDisk(cleanup: Cleanup, mebibytes: number): Promise<string> {
  const folder = join(cleanup.folder, "small");
  Deno.mkdirSync(folder);
  await run("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", folder]);
  cleanup.defer(async () => void await run("umount", ["-l", folder]));
  return folder;
}

/** An export as a block device, with a folder to mount it on. */
export interface LoopDisk {
  readonly device: string;
  readonly mountPoint: string;
  mount(): Promise<void>;
  unmount(): Promise<void>;
  /** Gives up the device and hangs up. */
  detach(): Promise<void>;
  /** The server is gone: lets go of everything, whatever it still holds. */
  abandon(): Promise<void>;
}

/** Attaches an export, under a name of its own if there are several; all is undone when the test ends. */
export async function attach(cleanup: Cleanup, uri: string, name = ""): Promise<LoopDisk> {
  const fuse = join(cleanup.folder, `fuse${name}`);
  const mountPoint = join(cleanup.folder, `mnt${name}`);
  Deno.mkdirSync(fuse);
  Deno.mkdirSync(mountPoint);
  const nbdfuse = new Background(
    "nbdfuse",
    "nbdfuse",
    [fuse, uri],
    join(cleanup.folder, `f${name}.out`),
  );
  const anyway = { codes: null };
  cleanup.defer(async () => {
    await run("umount", ["-l", fuse], anyway);
    await nbdfuse.kill();
  });
  await until("nbdfuse shows the export", () => Deno.statSync(join(fuse, "nbd")).isFile);
  const shown = await run("losetup", ["--direct-io=on", "-f", "--show", join(fuse, "nbd")]);
  const device = shown.stdout.trim();
  let attached = true;
  const detach = async () => {
    if (attached) await run("losetup", ["-d", device], anyway);
    attached = false;
  };
  cleanup.defer(async () => {
    await run("umount", [mountPoint], anyway);
    await detach();
  });
  return {
    device,
    mountPoint,
    mount: async () => void await run("mount", [device, mountPoint]),
    unmount: async () => void await run("umount", [mountPoint]),
    abandon: async () => {
      await run("umount", ["-l", mountPoint], anyway);
      await detach();
      await run("umount", ["-l", fuse], anyway);
      await nbdfuse.kill();
    },
    detach: async () => {
      await detach();
      await run("umount", [fuse]);
      await nbdfuse.ended;
    },
  };
}
