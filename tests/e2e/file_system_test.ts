import { assertEquals } from "@std/assert";
import { join } from "node:path";
import { Cluster } from "./support/cluster.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { isStandIn, startExport } from "./support/export.ts";
import { assertSameImages } from "./support/images.ts";
import { attach, MOUNT_NEEDS } from "./support/mount.ts";
import { run } from "./support/programs.ts";

/** What the test needs of a served volume. */
interface Served {
  readonly uri: string;
  readonly images: readonly string[];
  settle(): Promise<void>;
}

async function serve(cleanup: Cleanup): Promise<Served> {
  if (isStandIn) {
    const served = await startExport(cleanup, 256);
    return { uri: served.uri, images: [served.image], settle: served.settle };
  }
  const cluster = Cluster.create(cleanup, {
    volumes: { data: "256MiB" },
    nodes: ["hq", "dr"],
    links: [{ from: "hq", to: "dr", mode: "async" }],
  });
  await cluster.start();
  return {
    uri: cluster.uri(),
    images: [cluster.image("hq"), cluster.image("dr")],
    settle: async () => {
      await cluster.converged();
      assertSameImages(cluster);
    },
  };
}

e2e("an ext4 on the export is whole on the primary and on the replica", [
  ...MOUNT_NEEDS,
], async (cleanup) => {
  const served = await serve(cleanup);
  const disk = await attach(cleanup, served.uri);
  await run("mkfs.ext4", ["-q", disk.device]);
  await disk.mount();
  const sums = writeFiles(disk.mountPoint);
  await run("sync", ["-f", disk.mountPoint]);
  Deno.removeSync(join(disk.mountPoint, "dir3"), { recursive: true });
  await run("fstrim", [disk.mountPoint], { codes: null });
  await disk.unmount();

  await disk.mount();
  const dirs = Array.from(Deno.readDirSync(disk.mountPoint), (entry) => entry.name);
  assertEquals(dirs.includes("dir3"), false);
  for (const [name, content] of sums) {
    if (name.startsWith("dir3")) continue;
    assertEquals(Deno.readFileSync(join(disk.mountPoint, name)), content, name);
  }
  await disk.unmount();
  await disk.detach();
  await served.settle();
  for (const image of served.images) await run("e2fsck", ["-fn", image]);
});

/** Files of many sizes, written in ways that real programs use. */
function writeFiles(root: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (let i = 0; i < 200; i++) {
    const name = `dir${i % 10}/file${i}`;
    const content = new Uint8Array((i * 7919) % 300_000);
    for (let at = 0; at < content.length; at++) content[at] = (at * 31 + i) & 0xff;
    Deno.mkdirSync(join(root, `dir${i % 10}`), { recursive: true });
    using file = Deno.openSync(join(root, name), { create: true, write: true });
    let written = 0;
    while (written < content.length) written += file.writeSync(content.subarray(written));
    if (i % 20 === 0) file.syncSync();
    files.set(name, content);
  }
  return files;
}
