/**
 * Commands of the operator, run at certain moments: see *Hooks* in docs/topology.md.
 *
 * A hook leads a process group of its own: a Ctrl-C that stops Cascade does not stop what removes a
 * snapshot, and what is killed since it takes too long takes its own children along.
 *
 * @module
 */
import { CascadeError } from "../core/errors.ts";
import type { Hooks } from "../core/ports.ts";
import { formatDuration } from "../core/topology/units.ts";

/** Of what a command printed, in the message of an error. */
const SAID_LENGTH_MAX = 300;
/** Of what a command printed, the last is kept. */
const SAID_BYTES_MAX = 64 * 1024;
/** Between the word that it has to end, and the end. */
const TERMINATE_MS = 2_000;
/** What it left running may hold its output open: nothing more is expected from that. */
const CLOSE_MS = 200;

/** Runs commands as child processes, without a shell, with `CASCADE_HOOK` set to the hook's name. */
export const hooks: Hooks = {
  async run(name, command, timeoutMs, { env = {}, cancelled } = {}) {
    const [program = "", ...args] = command;
    const fail = (said: string) => failed(name, program, said);
    const child = spawn(name, program, args, env, fail);
    const [stdout, stderr] = [new Said(child.stdout), new Said(child.stderr)];
    let stopped: string | null = null;
    const over = cancelled?.then((why) => stopped ??= why);
    const code = await endOf(child, timeoutMs, over);
    await within(CLOSE_MS, Promise.all([stdout.over, stderr.over]));
    const [printed, told] = await Promise.all([stdout.end(), stderr.end()]);
    const because = told.trim() === "" ? "" : `: ${told.trim()}`;
    if (code === null && stopped !== null) throw fail(`it was killed: ${stopped}`);
    if (code === null) {
      throw fail(`it had not ended after ${formatDuration(timeoutMs)}, and was killed${because}`);
    }
    if (code !== 0) throw fail(`it ended with ${code}${because}`);
    return printed.split("\n").filter((line) => line !== "");
  },
};

function spawn(
  name: string,
  program: string,
  args: string[],
  env: Readonly<Record<string, string>>,
  fail: (said: string) => CascadeError,
) {
  try {
    return new Deno.Command(program, {
      args,
      env: { ...env, CASCADE_HOOK: name },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
      detached: true,
    }).spawn();
  } catch (error) {
    throw fail(error instanceof Error ? error.message : String(error));
  }
}

/** The exit code; null when it did not end in time, and was made to. */
async function endOf(
  child: Deno.ChildProcess,
  timeoutMs: number,
  cancelled: Promise<string> | undefined,
): Promise<number | null> {
  const ended = child.status.then(({ code }) => code);
  const unwanted = cancelled?.then(() => null) ?? ended;
  const code = await within(timeoutMs, Promise.race([ended, unwanted]));
  if (code !== null) return code;
  signal(child, "SIGTERM");
  await within(TERMINATE_MS, ended);
  signal(child, "SIGKILL");
  await ended;
  return null;
}

/** To all of its process group. */
function signal({ pid }: Deno.ChildProcess, name: Deno.Signal): void {
  try {
    Deno.kill(-pid, name);
  } catch {
    // It is gone, which is what was wanted.
  }
}

/** What it settles with; null: not in time. */
async function within<T>(ms: number, promise: Promise<T>): Promise<T | null> {
  const late = Promise.withResolvers<null>();
  const timer = setTimeout(() => late.resolve(null), ms);
  try {
    return await Promise.race([promise, late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** Gathers the last of what a command says. */
class Said {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #bytes = new Uint8Array(0);
  /** Settles when there is no more. */
  readonly over: Promise<void>;

  constructor(stream: ReadableStream<Uint8Array>) {
    this.#reader = stream.getReader();
    this.over = this.#gather();
  }

  async #gather(): Promise<void> {
    for (;;) {
      const { value, done } = await this.#reader.read();
      if (done) return;
      const all = new Uint8Array(this.#bytes.length + value.length);
      all.set(this.#bytes);
      all.set(value, this.#bytes.length);
      this.#bytes = all.slice(-SAID_BYTES_MAX);
    }
  }

  /** What there was; reads no further. */
  async end(): Promise<string> {
    await this.#reader.cancel();
    return new TextDecoder().decode(this.#bytes);
  }
}

function failed(name: string, program: string, said: string): CascadeError {
  const text = said.length > SAID_LENGTH_MAX ? `${said.slice(0, SAID_LENGTH_MAX)}...` : said;
  return new CascadeError("hook-failed", `the hook ${name} failed: ${text}`, {
    where: { command: program },
    hint: "Run the command by hand as the user that cascade runs as",
  });
}
