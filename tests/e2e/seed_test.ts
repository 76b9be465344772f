/**
 * `cascade seed` between files and real NBD servers.
 */
import { assert, assertEquals, assertStringIncludes } from "@std/assert";
import { join } from "node:path";
import { cascadeArgs } from "./support/cascade_args.ts";
import { type Cleanup, e2e } from "./support/e2e.ts";
import { bytesOnDisk, firstDifference } from "./support/images.ts";
import { Background, type Outcome, run } from "./support/programs.ts";
import { until } from "./support/wait.ts";

const MIB = 1024 * 1024;

function seed(...args: string[]): Promise<Outcome> {
  return run(Deno.execPath(), cascadeArgs("seed", ...args), { codes: null });
}

/** An image of `mebibytes`: random data, holes, and zeroes that are written out. */
function makeImage(path: string, mebibytes: number): void {
  using file = Deno.openSync(path, { create: true, write: true });
  file.truncateSync(mebibytes * MIB);
  const block = new Uint8Array(64 * 1024);
  for (let at = 0; at < mebibytes * MIB; at += MIB) {
    if (at / MIB % 4 === 3) continue;
    file.seekSync(at, Deno.SeekMode.Start);
    for (let i = 0; i < 16; i++) {
      if (at / MIB % 4 === 2) block.fill(0);
      else crypto.getRandomValues(block);
      file.writeSync(block);
    }
  }
}

function blank(path: string, bytes: number): void {
  Deno.writeFileSync(path, new Uint8Array(0));
  Deno.truncateSync(path, bytes);
}

async function serve(
  cleanup: Cleanup,
  name: string,
  program: string,
  args: (socket: string) => string[],
): Promise<string> {
  const socket = join(cleanup.folder, `${name}.sock`);
  const server = new Background(name, program, args(socket), join(cleanup.folder, `${name}.out`));
  cleanup.defer(() => server.kill());
  await until(`${name} listens`, () => Deno.statSync(socket).isSocket);
  return `nbd+unix:///?socket=${socket}`;
}

e2e(
  "seed copies a file with its holes, verifies it, and brings it up to date",
  [],
  async ({ folder }) => {
    const [source, target] = [join(folder, "a"), join(folder, "b")];
    makeImage(source, 32);
    const made = await seed("--verify", "--json", source, target);
    assertEquals(made.code, 0, made.stderr);
    assertEquals(firstDifference(source, target), null);
    assert(bytesOnDisk(target) <= 17 * MIB, "zeroes and holes are holes");
    const document = JSON.parse(made.stdout);
    assertEquals([document.result, document.verified, document.writtenBytes], [
      "done",
      true,
      16 * MIB,
    ]);
    assertEquals([...Deno.readDirSync(folder)].map(({ name }) => name).sort(), ["a", "b"]);

    const again = await seed(source, target);
    assertEquals(again.code, 1);
    assertStringIncludes(again.stderr, "not empty");
    using file = Deno.openSync(source, { write: true });
    file.seekSync(5 * MIB, Deno.SeekMode.Start);
    file.writeSync(new Uint8Array(5000).fill(1));
    const compared = await seed("--compare", "--json", source, target);
    assertEquals([compared.code, JSON.parse(compared.stdout).writtenBytes], [0, 8192]);
    assertEquals(firstDifference(source, target), null);
  },
);

const servers = {
  nbdkit: (image: string) => (socket: string) => ["-f", "-U", socket, "file", image],
  "qemu-nbd": (image: string) => (socket: string) => [
    ...["-t", "-f", "raw", "--discard=unmap", "--detect-zeroes=off", "-k", socket, image],
  ],
};

for (const [program, args] of Object.entries(servers)) {
  e2e(
    `seed reads from and writes to ${program}`,
    [program, "qemu-img", "nbdcopy"],
    async (cleanup) => {
      const at = (name: string) => join(cleanup.folder, name);
      makeImage(at("a"), 32);
      blank(at("b"), 32 * MIB);
      const source = await serve(cleanup, "from", program, args(at("a")));
      const target = await serve(cleanup, "to", program, args(at("b")));
      const there = await seed("--verify", at("a"), target);
      assertEquals(there.code, 0, there.stderr);
      assertEquals((await run("qemu-img", ["compare", "-U", at("a"), target])).code, 0);
      assert(bytesOnDisk(at("b")) <= 17 * MIB, "zeroes and holes are holes");
      const back = await seed(source, at("c"));
      assertEquals(back.code, 0, back.stderr);
      assertEquals(firstDifference(at("a"), at("c")), null);
      const across = await seed("--compare", "--verify", "--json", source, target);
      assertEquals([across.code, JSON.parse(across.stdout).writtenBytes], [0, 0], across.stderr);
      await run("nbdcopy", [target, at("d")]);
      assertEquals(firstDifference(at("a"), at("d")), null);
    },
  );
}

e2e(
  "a seed that is killed again and again goes on, and ends whole",
  [],
  async ({ folder, defer }) => {
    const [source, target] = [join(folder, "a"), join(folder, "b")];
    makeImage(source, 512);
    let resumed = 0;
    for (let round = 0;; round++) {
      const seeding = new Background(
        "seed",
        Deno.execPath(),
        cascadeArgs("seed", source, target),
        join(folder, `out${round}`),
      );
      defer(() => seeding.kill());
      const before = allocated(target);
      // Killed as soon as it has written some more; the last rounds are let go to their end.
      await until(
        "it writes or ends",
        () => seeding.status !== null || round < 6 && allocated(target) > before + 8 * MIB,
        { pollMs: 1 },
      );
      if (seeding.status === null) {
        await seeding.kill();
        assert(Deno.statSync(`${target}.seeding`).isFile, "what is not whole says so");
      }
      if (/going on at byte/.test(seeding.output())) resumed++;
      if ((await seeding.ended).code === 0) break;
    }
    assert(resumed > 0, "no run went on where another was killed");
    assertEquals(firstDifference(source, target), null);
    assertEquals(
      [...Deno.readDirSync(folder)].some(({ name }) => name.endsWith(".seeding")),
      false,
    );
  },
);

function allocated(path: string): number {
  try {
    return bytesOnDisk(path);
  } catch {
    return 0;
  }
}

e2e("Ctrl-C stops in good order and says how to go on", ["nbdkit"], async (cleanup) => {
  const at = (name: string) => join(cleanup.folder, name);
  makeImage(at("a"), 64);
  blank(at("b"), 64 * MIB);
  const slow = await serve(cleanup, "to", "nbdkit", (socket) => [
    ...["-f", "-U", socket, "--filter=rate", "file", at("b"), "rate=64M"],
  ]);
  const args = ["--resume-file", at("count"), at("a"), slow];
  const seeding = new Background(
    "seed",
    Deno.execPath(),
    cascadeArgs("seed", ...args),
    at("out"),
  );
  cleanup.defer(() => seeding.kill());
  await until("it writes", () => seeding.status !== null || allocated(at("b")) > 4 * MIB);
  seeding.signal("SIGINT");
  assertEquals((await seeding.ended).code, 1);
  assertStringIncludes(seeding.output(), "Run the same command again");
  const rest = await seed("--json", ...args);
  assertEquals(rest.code, 0, rest.stderr);
  assert(JSON.parse(rest.stdout).resumedAt > 0);
  assertEquals(firstDifference(at("a"), at("b")), null);
});

e2e("seed refuses what it must not overwrite, in words", ["qemu-nbd", "flock"], async (cleanup) => {
  const at = (name: string) => join(cleanup.folder, name);
  makeImage(at("a"), 4);
  blank(at("short"), MIB);
  blank(at("owned"), 4 * MIB);
  Deno.writeTextFileSync(at("owned.cascade"), "{}\n");
  blank(at("flocked"), 4 * MIB);
  const holder = new Background("flock", "flock", [at("flocked"), "sleep", "60"], at("out"));
  cleanup.defer(() => holder.kill());
  blank(at("served"), 4 * MIB);
  await serve(cleanup, "qemu", "qemu-nbd", servers["qemu-nbd"](at("served")));
  await until(
    "flock holds it",
    async () => (await run("flock", ["-n", at("flocked"), "true"], { codes: null })).code !== 0,
  );
  const cases: [args: string[], code: number, words: string][] = [
    [[at("a"), at("short")], 2, "must be equal"],
    [[at("a"), at("a")], 2, "the same"],
    [[at("a"), at("owned")], 1, "volume of a cascade node"],
    [["--force", at("a"), at("flocked")], 1, "locked"],
    [["--force", at("a"), at("served")], 1, "locked"],
    [[at("nothing"), at("b")], 1, "no such file"],
    [[at("a"), "nbd+unix:///?socket=/nowhere/s"], 4, "nobody answers"],
    [[at("a"), "nbds://host/x"], 2, "over tls it needs ?tls-certificates="],
  ];
  for (const [args, code, words] of cases) {
    const { stderr, ...ended } = await seed(...args);
    assertEquals([args, ended.code], [args, code], stderr);
    assertStringIncludes(stderr.toLowerCase(), words);
  }
  assertEquals((await seed("--force", "--quiet", at("a"), at("owned"))).stdout, "");
});
