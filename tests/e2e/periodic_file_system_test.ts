/**
 * A file system under load above a periodic link: what a node below holds after any stop is a file
 * system as it was at one moment.
 */
import { assert } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { Diary, readDiary } from "./support/diary.ts";
import { e2e } from "./support/e2e.ts";
import { assertSameImages } from "./support/images.ts";
import { attach, MOUNT_NEEDS } from "./support/mount.ts";
import { run } from "./support/programs.ts";
import { recover } from "./support/recovered.ts";
import { pause, until } from "./support/wait.ts";

e2e("a periodic replica of a busy ext4 is whole after any stop", [...MOUNT_NEEDS], async (
  cleanup,
) => {
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "96MiB" },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "periodic", every: "1s" }],
    budget: "64MiB",
  });
  await cluster.start();
  const disk = await attach(cleanup, cluster.uri());
  await run("mkfs.ext4", ["-q", disk.device]);
  await disk.mount();
  const diary = new Diary(disk.mountPoint);
  diary.start(5);
  let before = 0;
  for (const how of ["kill", "stop", "kill", "kill", "kill"] as const) {
    const told = diary.pages;
    const startedMs = Date.now();
    await until("two runs go through", async () => {
      if (diary.pages <= told) return false;
      const last = (await cluster.link("hq-dr")).schedule?.lastRun;
      return last?.outcome === "done" && last.startedAtMs > startedMs;
    });
    await pause(Math.random() * 1000);
    await cluster[how]("dr");
    // A node that was stopped left its image whole; one that was killed makes it good first.
    const image = how === "stop" ? join(cluster.folder, "stopped.img") : "";
    if (how === "stop") await run("cp", ["--sparse=always", cluster.image("dr"), image]);
    const copy = image || (await recover(cluster, "dr")).images[0]!;
    const pages = await readWhole(copy, cleanup.folder);
    assert(pages > before, `the diary went from ${before} to ${pages} pages`);
    before = pages;
    await cluster.start("dr");
  }
  await diary.stop();
  await disk.unmount();
  await disk.detach();
  await cluster.converged();
  assertSameImages(cluster);
  await run("e2fsck", ["-fn", cluster.image("dr")]);
});

/** Lets the file system go over its journal, reads the diary in it, and has it checked. */
async function readWhole(image: string, folder: string): Promise<number> {
  const mountPoint = join(folder, "replica");
  Deno.mkdirSync(mountPoint, { recursive: true });
  await run("mount", ["-o", "loop", image, mountPoint]);
  let pages: number;
  try {
    pages = readDiary(mountPoint);
  } finally {
    await run("umount", [mountPoint]);
  }
  await run("e2fsck", ["-fn", image]);
  return pages;
}
