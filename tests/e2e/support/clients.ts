/**
 * Debian's NBD clients, as the tests call them.
 *
 * @module
 */
import { type Outcome, run } from "./programs.ts";

/** One fio job and its verdict; figures are of the job's reads or writes, whichever it did. */
export interface FioResult {
  readonly iops: number;
  readonly bytesPerSecond: number;
  readonly bytes: number;
  readonly seconds: number;
  /** Mean time to completion, in microseconds. */
  readonly latencyUs: number;
}

/** Runs one fio job with the nbd engine. `options` are fio's, without dashes. */
export async function fio(
  uri: string,
  options: Readonly<Record<string, string | number>>,
  deadlineMs = 120_000,
): Promise<FioResult> {
  const args = Object.entries(options).map(([key, value]) => `--${key}=${value}`);
  const outcome = await run("fio", [
    "--name=job",
    "--ioengine=nbd",
    `--uri=${uri}`,
    "--output-format=json",
    "--group_reporting",
    "--verify_state_save=0",
    ...args,
  ], { deadlineMs });
  return parseFio(outcome.stdout);
}

interface FioSide {
  iops: number;
  bw_bytes: number;
  io_bytes: number;
  runtime: number;
  clat_ns: { mean: number };
}

function parseFio(text: string): FioResult {
  // The engine prints lines of its own before the document.
  const document = JSON.parse(text.slice(text.indexOf("\n{") + 1)) as {
    jobs: { error: number; read: FioSide; write: FioSide }[];
  };
  const job = document.jobs[0]!;
  if (job.error !== 0) throw new Error(`fio ended with errno ${job.error}`);
  const side = job.write.io_bytes > 0 ? job.write : job.read;
  return {
    iops: side.iops,
    bytesPerSecond: side.bw_bytes,
    bytes: side.io_bytes,
    seconds: side.runtime / 1000,
    latencyUs: side.clat_ns.mean / 1000,
  };
}

/** Runs Python in nbdsh with `h` connected to the export (unless the URI is null). */
export function nbdsh(uri: string | null, script: string): Promise<Outcome> {
  return run("nbdsh", [...(uri === null ? ["-n"] : ["-u", uri]), "-c", script]);
}

/** Runs qemu-io commands, in order, on an export or (with a `{...}` image spec) anything else. */
export async function qemuIo(
  uri: string,
  commands: readonly string[],
  options: { imageOpts?: boolean; deadlineMs?: number } = {},
): Promise<Outcome> {
  const args = commands.flatMap((command) => ["-c", command]);
  const image = options.imageOpts ? ["--image-opts", uri] : ["-f", "raw", uri];
  const outcome = await run("qemu-io", [...image, ...args], {
    deadlineMs: options.deadlineMs ?? 60_000,
  });
  // It ends with 0 even when a pattern does not match.
  if (/failed|error/i.test(outcome.stdout + outcome.stderr)) {
    throw new Error(`qemu-io: ${outcome.stdout}\n${outcome.stderr}`);
  }
  return outcome;
}
