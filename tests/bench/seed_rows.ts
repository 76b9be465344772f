/**
 * The rows about copying a whole volume: `cascade seed` beside programs that do that alone. Times of
 * whole processes, data random, page cache warm, everything flushed at the end but `qemu-img convert`
 * and `cp`, which do not flush.
 *
 * @module
 */
import { join } from "node:path";
import type { Cleanup } from "../e2e/support/e2e.ts";
import { Background, run } from "../e2e/support/programs.ts";
import { until } from "../e2e/support/wait.ts";
import { median, type OwnRow } from "./report.ts";

const ROUNDS = 3;
const STEP_BYTES = 1024 * 1024;
const BLOCK_BYTES = 4096;
const CHANGED = 0.01;
const MOD = Deno.env.get("CASCADE_E2E_MOD") ?? new URL("../../mod.ts", import.meta.url).pathname;
const CONFIG = new URL("../../deno.json", import.meta.url).pathname;

type Contest = Readonly<Record<string, readonly string[]>>;

/** `cascade seed` as a command line. */
export function seedLine(...args: string[]): string[] {
  return [Deno.execPath(), "run", "-A", "-c", CONFIG, MOD, "seed", "--quiet", ...args];
}

/** Makes a file of random bytes. */
export function fillRandom(path: string, sizeBytes: number): void {
  using file = Deno.openSync(path, { create: true, write: true });
  const block = new Uint8Array(STEP_BYTES);
  for (let at = 0; at < sizeBytes; at += STEP_BYTES) {
    for (let i = 0; i < STEP_BYTES; i += 65536) {
      crypto.getRandomValues(block.subarray(i, i + 65536));
    }
    file.writeSync(block);
  }
}

/** Writes random bytes over 1 % of the blocks. */
function changeSome(path: string, sizeBytes: number): void {
  using file = Deno.openSync(path, { write: true });
  const block = new Uint8Array(BLOCK_BYTES);
  for (let i = 0; i < sizeBytes / BLOCK_BYTES * CHANGED; i++) {
    crypto.getRandomValues(block);
    const at = Math.floor(Math.random() * sizeBytes / BLOCK_BYTES) * BLOCK_BYTES;
    file.seekSync(at, Deno.SeekMode.Start);
    file.writeSync(block);
  }
}

/** Each contender in turn, several rounds; `prepare` before each, outside of the time. */
async function contest(
  id: string,
  title: string,
  contenders: Contest,
  prepare: () => Promise<void>,
): Promise<OwnRow> {
  const times = Object.keys(contenders).map((name) => [name, [] as number[]] as const);
  for (let round = 0; round < ROUNDS; round++) {
    for (const [name, own] of times) {
      await prepare();
      // What the one before left to be written must not slow this one.
      await run("sync", []);
      const [program, ...args] = contenders[name]!;
      const begun = performance.now();
      await run(program!, args);
      own.push((performance.now() - begun) / 1000);
    }
  }
  const { cascade, ...details } = Object.fromEntries(
    times.map(([name, own]) => [name, median(own)]),
  );
  return { id, title, unit: "s", value: cascade!, details, peaks: {} };
}

/** File to file, file to an NBD server, and comparing two equal files. */
export async function measureSeed(cleanup: Cleanup, bytes: number): Promise<OwnRow[]> {
  const at = (name: string) => join(cleanup.folder, name);
  const [source, target, image] = [at("source"), at("target"), at("image")];
  fillRandom(source, bytes);
  const removeTarget = () => Deno.remove(target).catch(() => {/* the first round has none */});
  const file = await contest("seed-file", "seed, file to file", {
    cascade: seedLine(source, target),
    "nbdcopy --flush": ["nbdcopy", "--flush", source, target],
    "qemu-img convert": convert(source, target),
    cp: ["cp", source, target],
  }, removeTarget);
  const compare = await contest("seed-compare", "seed --compare, two equal files", {
    cascade: seedLine("--compare", source, target),
    cmp: ["cmp", source, target],
  }, () => Promise.resolve());
  await removeTarget();
  const socket = at("nbd.sock");
  const blank = () => {
    Deno.writeFileSync(image, new Uint8Array(0));
    Deno.truncateSync(image, bytes);
    return Promise.resolve();
  };
  await blank();
  const server = new Background(
    "nbdkit",
    "nbdkit",
    ["-f", "-U", socket, "file", image],
    at("nbdkit.out"),
  );
  cleanup.defer(() => server.kill());
  await until("nbdkit listens", () => Deno.statSync(socket).isSocket);
  const uri = `nbd+unix:///?socket=${socket}`;
  const nbd = await contest("seed-nbd", "seed, file to nbdkit", {
    cascade: seedLine(source, uri),
    "nbdcopy --flush": ["nbdcopy", "--flush", source, uri],
    "qemu-img convert": ["qemu-img", "convert", "-n", ...convert(source, uri).slice(2)],
  }, blank);
  await run("cp", [source, image]);
  await run("cp", [source, target]);
  let turn = 0;
  const compared = await contest("seed-compare-nbd", "seed --compare, 1 % changed, to nbdkit", {
    cascade: seedLine("--compare", source, uri),
    rsync: ["rsync", "--inplace", "--no-whole-file", "--ignore-times", source, target],
  }, () => {
    // Both have the same to do: the source changes once for both.
    if (turn++ % 2 === 0) changeSome(source, bytes);
    return Promise.resolve();
  });
  await run("cmp", [source, image]);
  const { value, details: { rsync } } = compared;
  const factor = { "factor (required 2)": rsync! / value };
  return [file, compare, nbd, { ...compared, details: { ...compared.details, ...factor } }];
}

function convert(source: string, target: string): string[] {
  return ["qemu-img", "convert", "-f", "raw", "-O", "raw", "-W", "-m", "8", source, target];
}
