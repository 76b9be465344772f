/**
 * Emptying a stopped node below the primary, so that it can be filled anew.
 *
 *  1. Its folder and its volumes are locked, and it is made sure that they are its own.
 *  2. The state file goes, durably: from here on nobody takes what is left for an image, and a start is
 *     refused for as long as the log is there.
 *  3. The volumes become holes, durably; their owner's notes stay.
 *  4. The log, the deltas and the maps go.
 *
 * What was cut off is done by the same once more.
 *
 * @module
 */
import type { NodeConfig } from "./config.ts";
import { CascadeError } from "./errors.ts";
import type { Clock, Disk, DiskFile } from "./ports.ts";
import { StateFile } from "./state.ts";
import { openVolumeFile } from "./volume/volume.ts";

const FOLDERS = ["delta", "maps", "log"];
/** Made a hole in one go. */
const SLICE_BYTES = 1024 * 1024 * 1024;

/** Empties it. Throws `locked`, `wrong-folder`, `wrong-volume`, `state-corrupt`, what the disk throws. */
export async function emptyNode(config: NodeConfig, disk: Disk, clock: Clock): Promise<void> {
  const { dir, cluster, name, volumes } = config;
  const opened: DiskFile[] = [];
  try {
    if (disk.exists(dir)) {
      opened.push(disk.open(`${dir}/lock`, { create: true, lock: true }));
      checkMine(config, disk);
    }
    const files = volumes.flatMap(({ name: volume, path, sizeBytes }) => {
      if (path === null || !disk.exists(path)) return [];
      const want = { name: volume, path, sizeBytes, first: true, owner: { cluster, node: name } };
      const file = openVolumeFile(disk, want);
      opened.push(file);
      return [{ file, sizeBytes }];
    });
    const state = new StateFile(disk, dir).path;
    if (disk.exists(state)) {
      disk.remove(state);
      await disk.flushFolder(dir);
    }
    for (const { file, sizeBytes } of files) await makeBlank(file, sizeBytes, clock);
    for (const folder of FOLDERS) await clear(disk, `${dir}/${folder}`);
  } finally {
    for (const file of opened) file.close();
  }
}

function checkMine({ dir, cluster, name }: NodeConfig, disk: Disk): void {
  const file = new StateFile(disk, dir);
  const state = file.load();
  if (state === null || (state.cluster === cluster && state.node === name && !state.reigned)) {
    return;
  }
  const role = state.reigned ? "the primary" : "node";
  throw new CascadeError(
    "wrong-folder",
    `the folder of ${name} belongs to ${role} "${state.node}" of cluster "${state.cluster}"`,
    { where: { file: file.path }, hint: "Give every node a `dir` of its own in the topology." },
  );
}

async function makeBlank(file: DiskFile, sizeBytes: number, clock: Clock): Promise<void> {
  if (file.isDevice) {
    for (let at = 0; at < sizeBytes; at += SLICE_BYTES) {
      file.zeroAt(at, Math.min(SLICE_BYTES, sizeBytes - at), true);
      await new Promise<void>((go) => clock.soon(go));
    }
  } else {
    file.truncate(0);
    file.truncate(sizeBytes);
  }
  await file.flush();
}

async function clear(disk: Disk, folder: string): Promise<void> {
  if (!disk.exists(folder)) return;
  for (const name of disk.list(folder)) disk.remove(`${folder}/${name}`);
  await disk.flushFolder(folder);
}
