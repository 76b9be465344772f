/**
 * A real file system, marked while it works: what a hook finds at the mark, and what a node that applies late
 * shows as of it, are the same bytes, and a clean file system.
 */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { Diary } from "./support/diary.ts";
import { e2e } from "./support/e2e.ts";
import { firstDifference } from "./support/images.ts";
import { attach, MOUNT_NEEDS } from "./support/mount.ts";
import { run } from "./support/programs.ts";
import { until } from "./support/wait.ts";

e2e("a mark is one image everywhere: at a hook, and as an export of a late node", [
  ...MOUNT_NEEDS,
  "nbdcopy",
  "qemu-img",
], async (cleanup) => {
  const copies = join(cleanup.folder, "copies");
  Deno.mkdirSync(copies);
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "96MiB" },
    nodes: ["hq", "late", "copy"],
    links: [{ from: "hq", to: "late", mode: "async" }, { from: "hq", to: "copy", mode: "async" }],
    budget: "256MiB",
    settings: {
      late: { applyDelay: "1h" },
      copy: { onMark: `cp --sparse=always "$CASCADE_VOLUME" ${copies}/$CASCADE_MARK.img` },
    },
  });
  await cluster.start();
  const disk = await attach(cleanup, cluster.uri());
  await run("mkfs.ext4", ["-q", disk.device]);
  await disk.mount();
  const diary = new Diary(disk.mountPoint);
  diary.start(5);
  const mark = async (name: string) => {
    await run("fsfreeze", ["--freeze", disk.mountPoint]);
    const { stdout } = await cluster.cli(["mark", name]);
    await run("fsfreeze", ["--unfreeze", disk.mountPoint]);
    assertMatch(stdout, new RegExp(`mark ${name} is set on hq: LSN \\d+`));
    const told = diary.pages;
    await until("the file system goes on", () => diary.pages > told);
  };
  const hookDone = (name: string) =>
    until(`the hook for ${name} is done`, async () => {
      const last = (await cluster.status("copy")).apply?.lastHook;
      return last?.mark === name && last.outcome === "done";
    });
  await mark("one");
  await hookDone("one");
  await cluster.kill("late");
  await mark("two");
  await cluster.kill("copy");
  await cluster.start("late");
  await cluster.start("copy");
  await mark("three");
  await hookDone("three");
  await diary.stop();

  const again = await cluster.cli(["mark", "two"], { codes: [1] });
  assertMatch(again.stderr, /mark two was set at .* already/);
  const elsewhere = await cluster.cli(["mark", "x", "--node", "late"], { codes: [1] });
  assertMatch(elsewhere.stderr, /the primary, which is hq/);
  await until("all of it has come", async () => {
    const { stdout } = await cluster.cli(["marks", "--node", "late"]);
    return /three .* not yet applied/.test(stdout);
  });
  for (const name of ["one", "two", "three"]) {
    const { stdout } = await cluster.cli(
      ["export", "--node", "late", "--as-of-mark", name, "--detach", "--json"],
    );
    const view = JSON.parse(stdout) as { id: string; uris: string[] };
    const image = join(cleanup.folder, `${name}.img`);
    await run("nbdcopy", [view.uris[0]!, image]);
    await run("qemu-img", ["compare", "-f", "raw", "-F", "raw", view.uris[0]!, image]);
    await cluster.cli(["export", "--node", "late", "--close", view.id]);
    assertEquals(firstDifference(image, join(copies, `${name}.img`)), null, name);
    await run("e2fsck", ["-fn", image]);
  }
  const { apply, lsn } = await cluster.status("late");
  assertEquals([apply?.views, lsn.applied], [[], 0]);
  assert((apply?.heldBytes ?? 0) > 0);
  await disk.unmount();
});
