import { assert, assertEquals, assertMatch } from "@std/assert";
import { fio, qemuIo } from "./support/clients.ts";
import { e2e } from "./support/e2e.ts";
import { isStandIn, startExport } from "./support/export.ts";
import { firstDifference } from "./support/images.ts";
import { run } from "./support/programs.ts";

const MIB = 1024 * 1024;

interface NbdInfo {
  protocol: string;
  structured: boolean;
  exports: Record<string, unknown>[];
}

e2e("nbdinfo sees the export, its size and what it can do", ["nbdinfo"], async (cleanup) => {
  const served = await startExport(cleanup);
  assertEquals((await run("nbdinfo", ["--size", served.uri])).stdout, `${64 * MIB}\n`);
  const info = JSON.parse((await run("nbdinfo", ["--json", served.uri])).stdout) as NbdInfo;
  assertEquals(info.protocol, "newstyle-fixed");
  assertEquals(info.structured, true);
  const shown = info.exports[0]!;
  assertEquals(shown["export-size"], 64 * MIB);
  assertEquals(shown["contexts"], ["base:allocation"]);
  assertEquals(shown["is_read_only"], false);
  for (const ability of ["flush", "fua", "multi_conn", "trim", "zero", "df", "cache"]) {
    // The stand-in lacks one or two of these.
    if (!isStandIn) assertEquals(shown[`can_${ability}`], true, `can_${ability}`);
  }
});

e2e("nbdinfo lists every volume as an export", ["nbdinfo"], async (cleanup) => {
  const served = await startExport(cleanup);
  const uri = `nbd+unix://?socket=${served.socket}`;
  const list = JSON.parse((await run("nbdinfo", ["--list", "--json", uri])).stdout) as NbdInfo;
  if (!isStandIn) assertEquals(list.exports.map((one) => one["export-name"]), ["data"]);
});

e2e("nbdinfo maps data and holes", ["nbdinfo", "qemu-io"], async (cleanup) => {
  const served = await startExport(cleanup);
  await qemuIo(served.uri, ["write -P 7 1M 64k", "write -P 8 8M 1M", "flush"]);
  const map = JSON.parse((await run("nbdinfo", ["--map", "--json", served.uri])).stdout) as {
    offset: number;
    length: number;
    type: number;
  }[];
  assertEquals(map.at(-1)!.offset + map.at(-1)!.length, served.sizeBytes);
  const typeAt = (offset: number) =>
    map.find((part) => part.offset <= offset && offset < part.offset + part.length)!.type;
  assertEquals(typeAt(MIB), 0, "written is data");
  assertEquals(typeAt(9 * MIB - 1), 0, "written is data");
  assertEquals(typeAt(32 * MIB), 3, "never written is a hole of zeroes");
});

e2e("nbd-client lists the export", ["nbd-client"], async (cleanup) => {
  const served = await startExport(cleanup);
  const { stdout, stderr } = await run("nbd-client", ["-l", "-unix", served.socket]);
  assertMatch(stdout + stderr, isStandIn ? /Negotiation/ : /^data/m);
});

e2e("nbdcopy brings an image in and out unchanged", ["nbdcopy"], async (cleanup) => {
  const served = await startExport(cleanup);
  const source = `${cleanup.folder}/source`;
  writeNoise(source, served.sizeBytes);
  await run("nbdcopy", ["--flush", source, served.uri]);
  await run("nbdcopy", [served.uri, `${cleanup.folder}/out`]);
  assertEquals(firstDifference(source, `${cleanup.folder}/out`), null);
  await served.settle();
  assertEquals(firstDifference(source, served.image), null);
});

e2e("qemu-io reads back what it wrote, zeroed and discarded", ["qemu-io"], async (cleanup) => {
  const served = await startExport(cleanup);
  await qemuIo(served.uri, [
    "write -P 1 0 4M",
    "write -P 2 512 1024",
    "write -f -P 3 1M 4k",
    "write -z 2M 64k",
    "write -z -u 3M 64k",
    "discard 1536k 64k",
    "aio_write -P 4 10M 1M",
    "aio_write -P 5 11M 1M",
    "aio_flush",
    "flush",
    "read -P 1 0 512",
    "read -P 2 512 1024",
    "read -P 1 1536 510k",
    "read -P 3 1M 4k",
    "read -P 0 1536k 64k",
    "read -P 0 2M 64k",
    "read -P 1 2112k 960k",
    "read -P 0 3M 64k",
    "read -P 4 10M 1M",
    "read -P 5 11M 1M",
    "read -P 0 20M 1M",
    // The very end, and bytes that are no multiple of a sector.
    "write -P 9 67108352 512",
    "read -P 9 67108352 512",
  ]);
  await served.settle();
  const file = Deno.readFileSync(served.image);
  assertEquals(file[600], 2);
  assertEquals(file[2 * MIB + 5], 0);
  assertEquals(file[64 * MIB - 1], 9);
});

e2e("qemu-img converts to and from the export", ["qemu-img"], async (cleanup) => {
  const served = await startExport(cleanup);
  const source = `${cleanup.folder}/source`;
  const qcow = `${cleanup.folder}/image.qcow2`;
  writeNoise(source, served.sizeBytes);
  const info = JSON.parse(
    (await run("qemu-img", ["info", "--output=json", "-f", "raw", served.uri])).stdout,
  ) as { "virtual-size": number };
  assertEquals(info["virtual-size"], served.sizeBytes);
  await run("qemu-img", ["convert", "-n", "-f", "raw", "-O", "raw", source, served.uri]);
  await run("qemu-img", ["convert", "-f", "raw", "-O", "qcow2", served.uri, qcow]);
  await run("qemu-img", ["compare", "-f", "qcow2", "-F", "raw", qcow, source]);
  await run("qemu-img", ["compare", "-f", "raw", "-F", "raw", served.uri, source]);
  const map = JSON.parse(
    (await run("qemu-img", ["map", "--output=json", "-f", "raw", served.uri])).stdout,
  ) as { zero: boolean; data: boolean; length: number }[];
  assert(map.some((part) => part.zero && !part.data), "holes of the source stay holes");
});

for (
  const [what, options] of [
    ["one at a time", { rw: "randwrite", bs: "4k", iodepth: 1, size: "8m" }],
    ["at depth 16", { rw: "randwrite", bs: "4k", iodepth: 16, size: "48m" }],
    ["at depth 64, mixed sizes", {
      rw: "randwrite",
      bsrange: "512-128k",
      iodepth: 64,
      size: "60m",
    }],
    ["with a flush after each", { rw: "randwrite", bs: "4k", iodepth: 4, size: "4m", fsync: 1 }],
    ["mixed reads and writes", { rw: "randrw", bs: "4k", iodepth: 32, size: "32m" }],
    ["large and in order", { rw: "write", bs: "1m", iodepth: 4, size: "64m" }],
  ] as const
) {
  e2e(`fio verifies what it wrote ${what}`, ["fio"], async (cleanup) => {
    const served = await startExport(cleanup);
    await fio(served.uri, { ...options, verify: "crc32c", do_verify: 1, verify_fatal: 1 });
  });
}

/** A file with noise, runs of zeroes and holes. */
function writeNoise(path: string, sizeBytes: number): void {
  using file = Deno.openSync(path, { create: true, write: true });
  file.truncateSync(sizeBytes);
  const piece = new Uint8Array(65536);
  for (let at = 0; at < sizeBytes; at += 3 * MIB) {
    crypto.getRandomValues(piece);
    file.seekSync(at + 4096 * ((at / MIB) % 7), Deno.SeekMode.Start);
    for (let i = 0; i < 12; i++) file.writeSync(piece);
    file.writeSync(new Uint8Array(65536));
    file.writeSync(piece);
  }
}
